"""Pictures in zip and tar archives: read in place, bombs refused, unchanged ones not read again."""

import io
import json
import os
import signal
import sys
import tarfile

import pytest
from archive_files import TARS, pack
from commands import Command
from folders import failures, paint, picture, replace_at_same_time, row_versions, stored

from imgdb.errors import PictureError
from imgdb.pictures import archives
from imgdb.pictures.archives import UNREAD_SUFFIXES, archive_of, entries, member_text


@pytest.fixture
def ingest(cli, database):
    def run(*args, code=0, jobs=1):
        result = cli(
            "ingest", "--archives", "--jobs", str(jobs), "--format", "json", *args, dsn=database
        )
        assert result.code == code, result.stderr
        return json.loads(result.stdout)

    return run


def png(seed):
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".zip", ".CBZ", *TARS])
def test_members(ingest, database, tmp_path, suffix):
    members = {f"in/{n}.png": png(n) for n in range(5)}
    path = pack(tmp_path / f"some{suffix}", {**members, "notes.txt": b"words", "../up.png": png(9)})
    summary = ingest(tmp_path, jobs=2)
    assert (summary["added"], summary["skipped"], summary["failed"]) == (6, 1, 0)
    names = [*members, "../up.png"]
    assert stored(database) == {f"{path}!/{name}": False for name in names}
    before = row_versions(database)
    again = ingest(tmp_path)
    assert (again["unchanged"], again["added"], again["skipped"]) == (6, 0, 0)
    assert row_versions(database) == before


def test_without_the_option_archives_are_no_pictures(cli, database, tmp_path):
    pack(tmp_path / "some.zip", {"a.png": png(1)})
    result = cli("ingest", tmp_path, "--jobs", "1", "--json", dsn=database)
    assert json.loads(result.stdout)["skipped"] == 1


def test_a_changed_archive_is_read_again(ingest, database, tmp_path):
    path = pack(tmp_path / "a.zip", {"1.png": png(1), "2.png": png(2), "3.png": png(3)})
    ingest(tmp_path)
    pack(path, {"1.png": png(1), "2.png": png(22), "4.png": png(4)})
    summary = ingest(tmp_path, "--prune")
    assert [summary[n] for n in ("added", "updated", "unchanged", "missing")] == [1, 1, 1, 1]
    assert stored(database)[f"{path}!/3.png"]
    path.unlink()
    paint(tmp_path, 1)
    assert ingest(tmp_path, "--prune")["missing"] == 3


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_another_size_is_a_change_though_the_time_is_the_same(ingest, tmp_path, suffix):
    (tmp_path / "in").mkdir()
    path = pack(tmp_path / "in" / f"a{suffix}", {"1.png": png(1)})
    ingest(path)
    members = {"1.png": png(1)} | {f"{n}.png": png(n) for n in range(2, 12)}
    replace_at_same_time(path, pack(tmp_path / f"later{suffix}", members))
    summary = ingest(path)
    assert (summary["added"], summary["unchanged"]) == (10, 1)


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_members_are_stored_by_the_names_that_unpacking_gives(ingest, database, tmp_path, suffix):
    names = ["./a.png", "/b.png", "//c.png", ".//d.png", "./in/e.png", ".f.png"]
    path = pack(tmp_path / f"a{suffix}", {name: png(n) for n, name in enumerate(names)})
    assert ingest(path)["added"] == len(names)
    plain = ["a.png", "b.png", "c.png", "d.png", "in/e.png", ".f.png"]
    assert stored(database).keys() == {f"{path}!/{name}" for name in plain}


def test_bad_members_and_bad_archives(ingest, database, tmp_path):
    good = png(1)
    mixed = pack(tmp_path / "mixed.zip", {"good.png": good, "cut.png": good[:300], "lie.jpg": b"x"})
    (tmp_path / "lie.zip").write_text("no archive")
    cut = pack(tmp_path / "cut.tar.gz", {"a.png": good, "b.png": png(2)})
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 3])
    summary = ingest(tmp_path, code=3)
    kinds = {failed["path"]: failed["kind"] for failed in summary["failures"]}
    # The member that it breaks off in, and the archive as a whole.
    assert kinds.pop(f"{cut}!/a.png") == kinds.pop(str(cut)) == "truncated"
    assert kinds == {
        f"{mixed}!/cut.png": "truncated",
        f"{mixed}!/lie.jpg": "unknown-format",
        str(tmp_path / "lie.zip"): "broken",
    }
    assert failures(database).keys() == {failed["path"] for failed in summary["failures"]}
    again = ingest(tmp_path, code=3)
    assert {failed["path"]: failed["kind"] for failed in again["failures"]} == {
        **kinds,
        str(cut): "truncated",
    }
    assert stored(database) == {f"{mixed}!/good.png": False}
    assert (again["unchanged"], summary["added"]) == (1, 1)


@pytest.mark.parametrize("suffix", UNREAD_SUFFIXES)
def test_archives_that_are_not_read_are_said(ingest, database, tmp_path, suffix):
    path = tmp_path / f"album{suffix.upper()}"
    path.write_bytes(b"Rar!\x1a\x07\1\0" + bytes(100))
    (tmp_path / "a.png").write_bytes(png(1))
    summary = ingest(tmp_path, code=3)
    assert [(failed["path"], failed["kind"]) for failed in summary["failures"]] == [
        (str(path), "unsupported-format")
    ]
    assert list(failures(database)) == [str(path)]


def test_a_zip_archive_of_another_name_is_read(ingest, database, tmp_path):
    path = pack(tmp_path / "album.zip", {"1.png": png(1), "2.png": png(2)})
    path = path.rename(tmp_path / "album.CBR")
    assert ingest(tmp_path, jobs=2)["added"] == 2
    assert stored(database) == {f"{path}!/1.png": False, f"{path}!/2.png": False}
    assert ingest(tmp_path)["unchanged"] == 2


def test_encrypted_members_fail(ingest, tmp_path):
    path = pack(tmp_path / "a.zip", {"secret.png": png(1), "open.png": png(2)})
    content = bytearray(path.read_bytes())
    # The flag of the first member, in its own header and in the directory.
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    summary = ingest(tmp_path, code=3)
    assert [failed["kind"] for failed in summary["failures"]] == ["encrypted"]
    assert summary["added"] == 1


def read_all(path):
    for entry in entries(str(path), 0, 1):
        with entry.open() as file:
            file.read()


def test_bombs_are_refused(tmp_path, monkeypatch):
    harmless = pack(tmp_path / "few.zip", {"a": b"", "b": b""})
    read_all(harmless)
    monkeypatch.setattr(archives, "MEMBERS", 1)
    with pytest.raises(PictureError, match="more than 1 members"):
        read_all(harmless)
    zeros = pack(tmp_path / "zeros.zip", {"zeros.bmp": bytes(10 << 20)})
    monkeypatch.setattr(archives, "MEMBERS", 2)
    read_all(zeros)
    monkeypatch.setattr(archives, "SMALL", 1 << 16)
    with pytest.raises(PictureError, match="bomb: 10,485,760 bytes out of"):
        read_all(zeros)
    monkeypatch.setattr(archives, "MEMBER_BYTES", 1000)
    with pytest.raises(PictureError, match="bomb: 2,000 bytes"):
        read_all(pack(tmp_path / "large.tar", {"a": bytes(2000)}))


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".txz"])
def test_a_tar_that_unpacks_to_far_more_is_not_read_to_its_end(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(archives, "SMALL", 1 << 16)
    path = pack(tmp_path / f"zeros{suffix}", {"a": bytes(10 << 20), "b": b""})
    with pytest.raises(PictureError, match="bomb"):
        read_all(path)


def test_a_tar_that_claims_more_than_it_has(tmp_path):
    info = tarfile.TarInfo("huge.bmp")
    info.size = 1 << 40
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf() + bytes(1024))
    with pytest.raises(PictureError, match="bomb"):
        read_all(path)


def test_the_spelling_of_members(tmp_path):
    assert member_text("/a.zip", "in/b.png") == "/a.zip!/in/b.png"
    assert member_text("/a.tar", "new\nline\udce9") == "/a.tar!/new\\nline\\xe9"
    assert member_text("/a.zip", "\ud800") == "/a.zip!/'\\\\ud800'"
    path = pack(tmp_path / "a!.zip", {"b": b""})
    assert archive_of(f"{path}!/b/c!/d") == str(path)
    assert archive_of(f"{tmp_path}/none.zip!/b") is None


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_member_that_crashes_costs_that_member_only(database, tmp_path, suffix):
    large = io.BytesIO()
    picture(7, (90, 90)).convert("L").resize((9000, 9000)).save(large, "PNG", compress_level=1)
    members = {f"{n}.png": png(n) for n in range(3)}
    path = pack(
        tmp_path / f"a{suffix}", {**members, "bad.png": large.getvalue(), "last.png": png(9)}
    )
    with Command(
        "ingest", tmp_path, "--archives", "--jobs", "1", "--timeout", "3", "--format", "json",
        env={"IMGDB_DSN": database},
    ) as command:  # fmt: skip
        os.kill(command.worker_on(path), signal.SIGKILL)
        # Only the large member takes so much.
        os.kill(command.worker_of(110 << 20), signal.SIGSTOP)
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["added"]) == (3, 4)
    assert [(f["path"], f["kind"]) for f in summary["failures"]] == [
        (f"{path}!/bad.png", "timeout")
    ]


def test_an_archive_that_is_back_is_read_again(ingest, database, tmp_path):
    (tmp_path / "in!").mkdir()
    path = pack(tmp_path / "in!" / "a.zip", {"1.png": png(1), "in!/2.png": png(2)})
    (tmp_path / "b.png").write_bytes(png(3))
    ingest(tmp_path)
    away = path.rename(tmp_path / "away")
    assert ingest(tmp_path / "b.png", tmp_path / "in!", "--prune", code=3)["missing"] == 0
    (tmp_path / "in!" / "other").touch()
    assert ingest(tmp_path, "--prune")["missing"] == 2
    away.rename(path)
    assert ingest(tmp_path)["updated"] == 2
    assert not any(stored(database).values())
    assert ingest(tmp_path)["unchanged"] == 3
