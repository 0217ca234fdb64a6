"""`imgdb ingest`: what it stores, what it leaves alone, and what it says."""

import json
import os
import secrets
import shutil
import zipfile
from pathlib import Path

import psycopg
import pytest
from folders import (
    failures,
    paint,
    picture,
    replace_at_same_time,
    row_versions,
    spellings,
    stored,
)

from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import pdq_to_hex
from imgdb.ingest.store import COLUMNS


@pytest.fixture
def ingest(cli, database):
    """Run `imgdb ingest ... --format json` and return exit code and summary."""

    def run(*args, code=0, **options):
        # One worker is enough for a few pictures, and the machine has other tests to run.
        result = cli("ingest", "--jobs", "1", "--format", "json", *args, dsn=database, **options)
        assert result.code == code, result.stderr
        return json.loads(result.stdout)

    return run


def counts(summary):
    names = ("added", "updated", "unchanged", "failed", "skipped")
    return tuple(summary[name] for name in names)


def test_new_changed_and_unchanged_files(ingest, database, tmp_path):
    paths = paint(tmp_path / "pictures", 5)
    assert counts(ingest(tmp_path)) == (5, 0, 0, 0, 0)
    picture(100).save(paths[0])
    os.utime(paths[1], (1, 1))
    extra = paint(tmp_path / "more" / "below", 1, first=5)
    assert counts(ingest(tmp_path)) == (1, 2, 3, 0, 0)
    assert stored(database).keys() == spellings(*paths, *extra)


@pytest.mark.parametrize("options", [[], ["--regions"]])
def test_another_size_is_a_change_though_the_time_is_the_same(ingest, database, tmp_path, options):
    folder, later = tmp_path / "pictures", tmp_path / "later.png"
    path, _ = paint(folder, 2)
    lie = folder / "lie.png"
    lie.write_bytes(path.read_bytes()[:200])
    ingest(folder, *options, code=3)
    picture(10, (90, 70)).save(later)
    replace_at_same_time(path, later)
    assert counts(ingest(folder, *options, code=3)) == (0, 1, 1, 1, 0)
    # A file that failed, too.
    picture(11).save(later)
    replace_at_same_time(lie, later)
    assert counts(ingest(folder, *options)) == (1, 0, 2, 0, 0)
    with psycopg.connect(database) as conn:
        sizes = dict(conn.execute("SELECT path, width FROM imgdb.image").fetchall())
    assert (sizes[str(path)], sizes[str(lie)]) == (90, 64)


def test_rows_say_what_the_file_is(ingest, database, tmp_path):
    path = tmp_path / "a.jpg"
    picture(1, (90, 70)).save(path)
    ingest(path)
    found = fingerprint(path)
    names = COLUMNS
    with psycopg.connect(database) as conn:
        row = conn.execute(f"SELECT {', '.join(names)} FROM imgdb.image").fetchone()
        assert row == tuple(getattr(found, name) for name in names)
        matches = conn.execute(
            "SELECT path, distance FROM imgdb.similar_images('phash', %s, 0)", (found.phash,)
        ).fetchall()
    assert matches == [(str(path), 0)]


def test_running_twice_changes_nothing(ingest, database, tmp_path):
    paint(tmp_path, 4)
    (tmp_path / "broken.png").write_bytes((tmp_path / "0000.png").read_bytes()[:200])
    (tmp_path / "readme.txt").write_text("no picture")
    first = ingest(tmp_path, code=3)
    before = row_versions(database)
    second = ingest(tmp_path, "--prune", code=3)
    assert row_versions(database) == before
    assert counts(first) == (4, 0, 0, 1, 1)
    assert counts(second) == (0, 0, 4, 1, 1)
    assert second["failures"] == first["failures"]


def test_a_failure_is_remembered_until_the_file_changes(ingest, database, tmp_path):
    _, bad = paint(tmp_path, 2)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-100])
    summary = ingest(tmp_path, code=3)
    [failure] = summary["failures"]
    assert failure["path"] == str(bad)
    assert failure["kind"] == "truncated"
    assert failures(database) == {str(bad): "truncated"}
    assert ingest(tmp_path, "--retry", code=3)["failed"] == 1
    bad.write_bytes(whole)
    assert counts(ingest(tmp_path)) == (1, 0, 1, 0, 0)
    assert failures(database) == {}


def test_what_would_fail_again_is_not_tried_again(ingest, database, tmp_path):
    lasting = ["truncated", "broken", "crashed", "timeout", "no-memory", "encrypted", "bomb"]
    passing = ["denied", "io-error", "changed", "too-large", "unsupported-format"]
    # Good pictures, so that one that is tried again is added.
    reasons = dict(zip(map(str, paint(tmp_path, 12)), lasting + passing, strict=True))
    ingest(tmp_path, "--max-pixels", "100", code=1)
    with psycopg.connect(database) as conn:
        for path, reason in reasons.items():
            conn.execute(
                "UPDATE imgdb.ingest_failure SET reason = %s, detail = %s WHERE path = %s",
                (reason, f"it was {reason}", path),
            )
    summary = ingest(tmp_path, code=3)
    assert counts(summary) == (len(passing), 0, 0, len(lasting), 0)
    assert [(one["path"], one["reason"], one["kind"]) for one in summary["failures"]] == [
        (path, f"it was {reason}", reason) for path, reason in reasons.items() if reason in lasting
    ]
    assert sorted(failures(database).values()) == sorted(lasting)
    assert ingest(tmp_path, "--retry")["added"] == len(lasting)


def test_what_fails_by_an_option_is_tried_again(ingest, tmp_path):
    paint(tmp_path, 2)
    assert ingest(tmp_path, "--max-pixels", "100", code=1)["failed"] == 2
    assert ingest(tmp_path)["added"] == 2


def test_a_picture_that_breaks_counts_as_missing(ingest, database, tmp_path):
    paths = paint(tmp_path, 2)
    ingest(tmp_path)
    whole = paths[0].read_bytes()
    modified = paths[0].stat()
    paths[0].write_text("now something else")
    assert ingest(tmp_path, code=3)["failed"] == 1
    assert stored(database) == {str(paths[0]): True, str(paths[1]): False}
    # As it was, to the microsecond: nothing is hashed again.
    paths[0].write_bytes(whole)
    os.utime(paths[0], ns=(modified.st_atime_ns, modified.st_mtime_ns))
    assert counts(ingest(tmp_path)) == (0, 1, 1, 0, 0)
    assert not any(stored(database).values())
    assert failures(database) == {}


def test_what_is_no_picture_is_skipped_unless_it_is_named_or_says_it_is_one(ingest, tmp_path):
    paint(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "nothing").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    assert counts(ingest(tmp_path)) == (1, 0, 0, 0, 5)
    for name, kind in [
        ("notes.txt", "unknown-format"),
        ("nothing", "empty"),
        ("fifo", "not-a-file"),
    ]:
        [failure] = ingest(tmp_path / name, code=1)["failures"]
        assert (failure["path"], failure["kind"]) == (str(tmp_path / name), kind)
    (tmp_path / "lie.jpg").write_text("words")
    (tmp_path / "void.png").touch()
    found = ingest(tmp_path, code=3)["failures"]
    assert {Path(failure["path"]).name: failure["kind"] for failure in found} == {
        "lie.jpg": "unknown-format",
        "void.png": "empty",
        # These two are known, because they were named once.
        "notes.txt": "unknown-format",
        "nothing": "empty",
    }


def test_nothing_at_a_path_is_wrong_usage_and_nothing_is_done(cli, database, tmp_path):
    paint(tmp_path, 1)
    result = cli("ingest", tmp_path, tmp_path / "gone", dsn=database)
    assert result.code == 2
    assert result.stderr == f"imgdb: no such file or folder: {tmp_path}/gone\n"
    assert stored(database) == {}


def test_an_empty_folder_gets_a_word(cli, database, tmp_path):
    result = cli("ingest", tmp_path, dsn=database)
    assert (result.code, result.stderr) == (0, f"imgdb: no pictures found in {tmp_path}\n")


@pytest.mark.parametrize("null", [False, True])
def test_a_list_on_stdin(ingest, database, tmp_path, null):
    paths = paint(tmp_path / "named", 3)
    below = paint(tmp_path / "folder", 2)
    if null:
        strange = tmp_path / "new\nline.png"
        paths.append(paths[0].rename(strange))
        del paths[0]
    end = "\0" if null else "\n"
    given = end.join(str(path) for path in [*paths, tmp_path / "folder", tmp_path / "gone"])
    option = ["--null"] if null else []
    summary = ingest("--files-from", "-", *option, stdin=given, code=3)
    assert summary["added"] == 5
    assert [failure["kind"] for failure in summary["failures"]] == ["missing"]
    assert stored(database).keys() == spellings(*paths, *below)


def test_names_that_are_no_text(ingest, database, tmp_path):
    names = [b"new\nline.png", b"caf\xe9.png", "café 🐈.png".encode(), b"back\\slash.png"]
    for number, name in enumerate(names):
        picture(number).save(tmp_path / os.fsdecode(name), "PNG")
    assert ingest(tmp_path)["added"] == 4
    assert stored(database).keys() == {
        f"{tmp_path}/{name}"
        for name in ("new\\nline.png", "caf\\xe9.png", "café 🐈.png", "back\\\\slash.png")
    }
    assert ingest(tmp_path)["unchanged"] == 4


def test_the_same_file_named_in_several_ways_is_one(ingest, database, tmp_path):
    paths = paint(tmp_path / "a", 2) + paint(tmp_path / "a" / "b", 2)
    summary = ingest(tmp_path, tmp_path / "a", paths[0], paths[0], "a/../a/b", cwd=tmp_path)
    assert counts(summary) == (4, 0, 0, 0, 0)
    assert stored(database).keys() == spellings(*paths)


def test_links_to_files_count_and_links_to_folders_do_not(ingest, database, tmp_path):
    [path] = paint(tmp_path / "pictures", 1)
    (tmp_path / "pictures" / "again").symlink_to(path)
    (tmp_path / "pictures" / "around").symlink_to(tmp_path)
    assert ingest(tmp_path)["added"] == 2
    assert stored(database).keys() == spellings(path, tmp_path / "pictures" / "again")
    # A folder that is named is followed, under the name that was given.
    assert ingest(tmp_path / "pictures" / "around" / "pictures", "--collection", "x")["added"] == 2
    assert (
        spellings(tmp_path / "pictures" / "around" / "pictures" / "again")
        < stored(database, "x").keys()
    )


def test_collections_are_apart(ingest, database, tmp_path):
    paths = paint(tmp_path, 2)
    ingest(tmp_path)
    assert ingest(tmp_path, "--collection", "second")["added"] == 2
    assert stored(database) == stored(database, "second") == dict.fromkeys(spellings(*paths), False)


def test_prune_marks_what_is_gone_below_the_given_folders(ingest, database, tmp_path):
    here, there = paint(tmp_path / "here", 4), paint(tmp_path / "there", 1)
    beside = paint(tmp_path / "here2", 1)
    ingest(tmp_path)
    for path in (here[0], there[0], beside[0]):
        path.unlink()
    (tmp_path / "here" / "sub").mkdir()
    assert ingest(tmp_path / "here")["missing"] == 0
    assert ingest(tmp_path / "here", "--prune")["missing"] == 1
    gone = [path for path, missing in stored(database).items() if missing]
    assert gone == [str(here[0])]
    # It comes back, and no other row is touched.
    paint(tmp_path / "here", 1)
    assert ingest(tmp_path / "here", "--prune")["updated"] == 1
    assert not any(stored(database).values())


def test_prune_forgets_failures_of_files_that_are_gone(ingest, database, tmp_path):
    paint(tmp_path, 1)
    (tmp_path / "lie.jpg").write_text("words")
    ingest(tmp_path, code=3)
    (tmp_path / "lie.jpg").unlink()
    assert ingest(tmp_path, "--prune")["failed"] == 0
    assert failures(database) == {}


def test_prune_does_not_take_an_empty_mount_point_for_deleted_files(
    cli, ingest, database, tmp_path
):
    paint(tmp_path / "disks" / "disk" / "2024", 3)
    others = paint(tmp_path / "others", 2, first=3)
    ingest(tmp_path)
    shutil.move(tmp_path / "disks" / "disk", tmp_path.parent / f"away from {tmp_path.name}")
    (tmp_path / "disks" / "disk").mkdir()
    others[0].unlink()
    # However far above it the folder is that was named, and while the rest is pruned.
    for folder, missing in (("disks/disk", 0), ("disks", 0), ("", 1)):
        result = cli("ingest", tmp_path / folder, "--prune", "--json", dsn=database)
        assert (result.code, json.loads(result.stdout)["missing"]) == (3, missing)
        said = f"nothing was marked as missing in {tmp_path}/disks/disk: it is empty"
        assert said in result.stderr
    assert [path for path, gone in stored(database).items() if gone] == [str(others[0])]
    # A folder that is not there is no mount point: what was in it is surely gone.
    (tmp_path / "disks" / "disk").rmdir()
    (tmp_path / "disks" / "other").touch()
    assert ingest(tmp_path, "--prune")["missing"] == 3


def test_prune_does_not_take_links_to_an_absent_disk_for_deleted_files(
    cli, ingest, database, tmp_path
):
    photos, disk = tmp_path / "photos", tmp_path / "disk"
    [path], [_, on_disk] = paint(photos, 1), paint(disk, 2, first=1)
    (photos / "linked.png").symlink_to(on_disk)
    (photos / "folder").symlink_to(disk)
    ingest(photos)
    ingest(photos / "folder")
    shutil.rmtree(disk)
    disk.mkdir()
    result = cli("ingest", photos, "--prune", dsn=database)
    assert result.code == 3
    assert f"nothing was marked as missing in {disk}: it is empty" in result.stderr
    assert not any(stored(database).values())
    # The disk is there, and the files are not.
    (disk / "other").touch()
    assert ingest(photos, "--prune")["missing"] == 3
    assert [path for path, gone in stored(database).items() if not gone] == [str(path)]


def test_many_empty_folders_are_not_all_told(cli, ingest, database, tmp_path):
    for number in range(7):
        paint(tmp_path / str(number), 1, first=number)
    ingest(tmp_path)
    for path in tmp_path.glob("*/*.png"):
        path.unlink()
    stderr = cli("ingest", tmp_path, "--prune", dsn=database).stderr
    assert stderr.count("nothing was marked as missing in") == 5
    assert "imgdb: nor in 2 more folders that are empty or cannot be read\n" in stderr


def test_some_hashes_only(ingest, database, tmp_path):
    paint(tmp_path, 1)
    ingest(tmp_path, "--hashes", "phash,dhash")
    with psycopg.connect(database) as conn:
        [row] = conn.execute("SELECT ahash, whash, phash IS NULL, dhash IS NULL FROM imgdb.image")
    assert row == (None, None, False, False)


def test_scaled_is_another_recipe(ingest, database, tmp_path):
    picture(3, (1400, 1200)).save(tmp_path / "a.jpg")
    ingest(tmp_path, "--decode", "scaled")
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT recipe, width FROM imgdb.image").fetchall() == [
            ("scaled-1", 1400)
        ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hashes", "phash,xhash"], "no such hash: xhash"),
        (["--hashes", ","], "no hash to make"),
        (["--collection", " "], "a collection needs a name"),
        (["--worker-memory", "lots"], "not a size"),
        (["--jobs", "0"], "--jobs"),
        (["--null"], "--null"),
    ],
)
def test_wrong_options(cli, database, tmp_path, options, words):
    result = cli("ingest", tmp_path, *options, dsn=database)
    assert result.code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_table_and_csv(cli, database, tmp_path):
    paint(tmp_path, 2)
    table = cli("ingest", tmp_path, "--format", "table", dsn=database)
    assert "added" in table.stdout
    assert cli("ingest", tmp_path, "--format", "csv", dsn=database).stdout == (
        "added,updated,moved,unchanged,failed,skipped,missing\n0,0,0,2,0,0,0\n"
    )


def test_a_path_that_cannot_be_indexed_costs_that_file_only(cli, database, tmp_path):
    good = paint(tmp_path / "shelf", 3)
    # Random names: PostgreSQL would compress others.
    deep = tmp_path.joinpath("shelf", *(secrets.token_hex(120) for _ in range(12)))
    deep.mkdir(parents=True)
    shutil.copy(good[0], deep / "copy.png")
    (deep / "notes.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "shelf" / "all.zip", "w") as archive:
        archive.write(good[0], "a.png")
        archive.write(good[1], secrets.token_hex(3000) + ".png")
    for _ in range(2):
        result = cli(
            "ingest", tmp_path / "shelf", "--archives", "--jobs", "1", "--json", dsn=database
        )
        summary = json.loads(result.stdout)
        assert result.code == 3
        assert {one["reason"].split(" ")[1] for one in summary["failures"]} == {"path"}
        assert str(deep / "copy.png") in {one["path"] for one in summary["failures"]}
    assert stored(database).keys() == {
        *map(str, good),
        f"{tmp_path}/shelf/all.zip!/a.png",
    }
    assert failures(database) == {}
    (tmp_path / "long.csv").write_text(f"path,phash\n/a,{'0' * 16}\n{'/é' * 900},{'0' * 16}\n")
    result = cli("import", tmp_path / "long.csv", "--collection", "shop", dsn=database)
    assert result.code == 1
    assert "line 3: path is longer than 2,600 bytes" in result.stderr


PDQ = (
    "SELECT i.path, imgdb.pdq_to_hex(ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4]), p.quality,"
    " p.pdq_recipe FROM imgdb.image AS i JOIN imgdb.image_pdq AS p USING (image_id)"
)


def stored_pdq(database):
    with psycopg.connect(database) as conn:
        return {path: tuple(rest) for path, *rest in conn.execute(PDQ)}


def expected_pdq(path):
    made = fingerprint(path, pdq=True)
    return pdq_to_hex(made.pdq.pdq), made.pdq.quality, made.recipe


def test_pdq_is_stored_when_asked_for_and_made_up_for(ingest, database, tmp_path):
    first, second = paint(tmp_path / "pictures", 2)
    assert counts(ingest(tmp_path)) == (2, 0, 0, 0, 0)
    assert stored_pdq(database) == {}
    # Unchanged files lack it, so they are read again, once.
    assert counts(ingest(tmp_path, "--pdq")) == (0, 2, 0, 0, 0)
    assert counts(ingest(tmp_path, "--pdq")) == (0, 0, 2, 0, 0)
    expected = {str(path): expected_pdq(path) for path in (first, second)}
    assert stored_pdq(database) == expected
    # It stays where it is not asked for, as long as it is of the same bytes.
    os.utime(first, (1, 1))
    picture(100).save(second)
    assert counts(ingest(tmp_path)) == (0, 2, 0, 0, 0)
    assert stored_pdq(database) == {str(first): expected[str(first)]}
    assert counts(ingest(tmp_path, "--pdq")) == (0, 1, 1, 0, 0)
    assert stored_pdq(database)[str(second)] == expected_pdq(second)


def test_members_of_archives_get_their_pdq_later(ingest, database, tmp_path):
    (path,) = paint(tmp_path / "pictures", 1)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "one.png")
    ingest(tmp_path / "a.zip", "--archives")
    assert counts(ingest(tmp_path / "a.zip", "--archives", "--pdq")) == (0, 1, 0, 0, 0)
    assert counts(ingest(tmp_path / "a.zip", "--archives", "--pdq")) == (0, 0, 1, 0, 0)
    assert stored_pdq(database) == {f"{tmp_path}/a.zip!/one.png": expected_pdq(path)}


def test_rehash_makes_the_pdq_that_is_missing(ingest, cli, database, tmp_path):
    paths = paint(tmp_path / "pictures", 2)
    ingest(tmp_path)
    result = cli("rehash", "--jobs", "1", "--pdq", "--format", "json", dsn=database)
    assert counts(json.loads(result.stdout))[1] == 2
    assert stored_pdq(database) == {str(path): expected_pdq(path) for path in paths}


def test_what_a_person_wants_to_know_is_one_line(cli, database, tmp_path):
    first, _ = paint(tmp_path, 2)
    (tmp_path / "copy.png").write_bytes(first.read_bytes())
    result = cli("ingest", tmp_path, "--jobs", "1", dsn=database)
    assert (result.code, result.stderr) == (
        0,
        "imgdb: exact copies: 1, groups of images with one phash: 1 (2 images); "
        "imgdb duplicates shows what looks alike\n",
    )
    # Nothing has changed, so nothing is told.
    assert cli("ingest", tmp_path, "--jobs", "1", dsn=database).stderr == ""
