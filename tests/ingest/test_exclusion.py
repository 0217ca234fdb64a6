"""What ingest leaves out of folders: usual names, patterns of a person, and trashes."""

import json
import shutil
import zipfile

import pytest
from folders import failures, paint, spellings, stored

from imgdb.errors import UsageError
from imgdb.ingest.exclusion import USUAL, Exclusion
from imgdb.trashes import RECORD

# Of each usual pattern a folder; of the one for files a file.
USUAL_FOLDERS = (
    "@eaDir/a.jpg",
    ".@__thumb",
    ".thumbnails/large",
    ".git/annex",
    ".Trash/files",
    ".Trash-1000/files",
    ".Trashes/501",
    ".local/share/Trash/files",
    "$Recycle.Bin",
    "#recycle/2024",
)


@pytest.fixture
def ingest(cli, database):
    def run(*args, code=0, **options):
        result = cli("ingest", "--jobs", "1", "--format", "json", *args, dsn=database, **options)
        assert result.code == code, result.stderr
        summary = json.loads(result.stdout)
        return summary, result.stderr

    return run


def test_a_pattern_is_a_name_or_the_end_of_a_path():
    exclusion = Exclusion(["*.tmp", "cache/", "2019/raw", "/home/ann/private*"])
    for path in ("/a/b.tmp", "/a/B.TMP", "/cache", "/a/Cache", "/x/2019/raw", "/home/ann/private2"):
        assert exclusion.excludes(path), path
    for path in ("/a/b.tmpx", "/a/mycache", "/x/12019/raw", "/2020/raw", "/x/home/ann/private"):
        assert not exclusion.excludes(path), path
    assert exclusion.hides("/a/cache/b.jpg", "/a") and exclusion.hides("/cache/b.jpg", "/")
    # The folder that was named, and those above it, were wanted.
    assert not exclusion.hides("/a/cache/b.jpg", "/a/cache")
    assert not exclusion.hides("/a/cache/b.jpg", "/a/cache/b.jpg")
    assert not USUAL.excludes("/a/.gitignore") and not USUAL.excludes("/a/Trash")
    for nothing in ("", "/"):
        with pytest.raises(UsageError, match="--exclude"):
            Exclusion([nothing])


def test_what_systems_put_into_folders_is_left_out(ingest, database, tmp_path):
    paths = paint(tmp_path / "photos", 2)
    for number, folder in enumerate(USUAL_FOLDERS):
        paint(tmp_path / "photos" / folder, 1, first=10 + number)
    # AppleDouble: the resource fork of 0000.png, which is no picture.
    (tmp_path / "photos" / "._0000.png").write_bytes(b"\0\5\26\7" + bytes(100))
    summary, _ = ingest(tmp_path / "photos")
    assert (summary["added"], summary["failed"]) == (2, 0)
    assert summary["skipped"] == len(USUAL_FOLDERS) + 1
    assert stored(database).keys() == spellings(*paths)
    # Whoever names such a folder wants it.
    summary, _ = ingest(tmp_path / "photos" / ".git")
    assert summary["added"] == 1


def test_patterns_hold_for_lists_archives_and_prune_alike(ingest, database, tmp_path):
    folder = tmp_path / "photos"
    kept, out = paint(folder, 1), paint(folder / "previews", 2, first=1)
    (folder / "._0000.png").write_bytes(bytes(100))
    with zipfile.ZipFile(folder / "album.zip", "w") as archive:
        archive.write(kept[0], "a.png")
        archive.write(kept[0], "previews/b.png")
        archive.writestr("__MACOSX/._a.png", bytes(100))
    summary, _ = ingest(folder, "--archives")
    assert (summary["added"], summary["failed"], summary["skipped"]) == (5, 0, 2)
    members = [f"{folder}/album.zip!/a.png", f"{folder}/album.zip!/previews/b.png"]
    assert stored(database) == dict.fromkeys([*spellings(*kept, *out), *members], False)
    # A list that a program wrote, with a file in it that is none, and a folder.
    given = f"{folder}/._0000.png\n{folder}\n"
    summary, _ = ingest("--files-from", "-", "--exclude", "previews", stdin=given)
    assert (summary["unchanged"], summary["failed"]) == (1, 0)
    summary, _ = ingest(folder, "--archives", "--prune", "--exclude", "Previews")
    assert (summary["missing"], summary["unchanged"]) == (2, 3)
    gone = {path for path, missing in stored(database).items() if missing}
    # Members stay as they are while their archive does: it is not read again.
    assert gone == spellings(*out)
    # Nothing was lost: they are found again, and not hashed again.
    summary, _ = ingest(folder, "--archives")
    assert (summary["updated"], summary["added"]) == (2, 0)
    # An archive that is read is read without them.
    summary, _ = ingest(
        folder, "--archives", "--exclude", "previews", "--collection", "second", "--retry"
    )
    assert stored(database, "second").keys() == {*spellings(*kept), members[0]}


def test_a_failure_of_what_is_left_out_is_forgotten(ingest, database, tmp_path):
    paint(tmp_path, 1)
    (tmp_path / "lie.jpg").write_text("words")
    ingest(tmp_path, code=3)
    assert failures(database) == {f"{tmp_path}/lie.jpg": "unknown-format"}
    ingest(tmp_path, "--exclude", "lie.*", "--prune")
    assert failures(database) == {}


def test_a_trash_is_left_out_and_said(ingest, database, tmp_path):
    paths = paint(tmp_path / "photos", 2)
    inside = paint(tmp_path / "photos" / "bin" / "home" / "ann", 1, first=5)
    ingest(tmp_path / "photos")
    # From now on it is a trash: what the database knew of it is no image any more.
    trash = tmp_path / "photos" / "bin"
    (trash / RECORD).touch()
    said = f"imgdb: {trash} is a trash of imgdb apply: left out\n"
    summary, stderr = ingest(tmp_path / "photos", "--prune")
    assert (summary["unchanged"], summary["missing"], stderr.count(said)) == (2, 1, 1)
    assert stored(database) == {
        **dict.fromkeys(spellings(*paths), False),
        **dict.fromkeys(spellings(*inside), True),
    }
    # Not even if it is named, or in a list.
    listed = "\n".join(map(str, inside))
    for args, stdin in (
        ([trash], ""),
        ([trash / "home"], ""),
        (inside, ""),
        (["--files-from", "-"], listed),
    ):
        summary, stderr = ingest(*args, stdin=stdin)
        assert summary["updated"] == summary["unchanged"] == summary["added"] == 0
        assert stderr.count(said) == 1
    shutil.rmtree(trash)
    assert ingest(tmp_path / "photos", "--prune")[1] == ""


def test_an_empty_pattern_is_wrong_usage(cli, tmp_path):
    result = cli("ingest", tmp_path, "--exclude", "")
    assert (result.code, result.stderr) == (
        2,
        "imgdb: --exclude takes a pattern, such as '*.tmp'\n",
    )
