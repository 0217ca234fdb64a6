"""`imgdb ingest --watch`: the folder and the database in step, whatever happens to the folder."""

import os
import shutil
import signal
import sys
import time

import psycopg
import pytest
from commands import Command
from folders import paint, picture, replace_at_same_time, row_versions, stored

from imgdb.trashes import RECORD

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Far more than it takes; nobody waits for it unless something is broken.
PATIENCE = 60


@pytest.fixture
def folder(tmp_path):
    paint(tmp_path / "pictures", 2)
    return tmp_path / "pictures"


@pytest.fixture
def watch(database, folder):
    with Command(
        "ingest", "--watch", folder, "--jobs", "1", "--archives", env={"IMGDB_DSN": database}
    ) as command:
        until(command, database, folder, here={"0000.png", "0001.png"})
        yield command


def until(command, dsn, folder, *, here=frozenset(), gone=frozenset()):
    """Wait until the database says that these files are there, and those are missing."""
    wanted = {f"{folder}/{name}": False for name in here}
    wanted |= {f"{folder}/{name}": True for name in gone}
    given_up = time.monotonic() + PATIENCE
    while (found := stored(dsn)) != wanted:
        assert time.monotonic() < given_up, found
        command.go_on()


def test_files_come_change_and_go(watch, database, folder):
    picture(10).save(folder / "new.png")
    until(watch, database, folder, here={"0000.png", "0001.png", "new.png"})
    (folder / "0000.png").rename(folder / "renamed.png")
    until(watch, database, folder, here={"renamed.png", "0001.png", "new.png"})
    (folder / "new.png").unlink()
    until(watch, database, folder, here={"renamed.png", "0001.png"}, gone={"new.png"})
    before = row_versions(database)
    picture(11).save(folder / "0001.png")
    while row_versions(database) == before:
        watch.go_on()
    watch.signal(signal.SIGINT)
    code, stdout, stderr = watch.end()
    assert code == 0
    assert "added\t3\n" in stdout and "moved\t1\n" in stdout
    assert "Traceback" not in stderr


def test_another_size_is_a_change_though_the_time_is_the_same(watch, database, folder, tmp_path):
    picture(10, (90, 70)).save(tmp_path / "later.png")
    replace_at_same_time(folder / "0001.png", tmp_path / "later.png")
    given_up = time.monotonic() + PATIENCE
    with psycopg.connect(database, autocommit=True) as conn:
        query = "SELECT width FROM imgdb.image WHERE path = %s"
        while conn.execute(query, (str(folder / "0001.png"),)).fetchone() != (90,):
            assert time.monotonic() < given_up
            watch.go_on()


def test_folders_come_and_go(watch, database, folder, tmp_path):
    paint(tmp_path / "elsewhere" / "below", 1)
    (tmp_path / "elsewhere").rename(folder / "moved")
    here = {"0000.png", "0001.png"}
    until(watch, database, folder, here=here | {"moved/below/0000.png"})
    (folder / "moved").rename(folder / "again")
    until(watch, database, folder, here=here | {"again/below/0000.png"})
    shutil.rmtree(folder / "again")
    until(watch, database, folder, here=here, gone={"again/below/0000.png"})


def test_a_name_that_is_no_text(watch, database, folder):
    with open(os.fsencode(folder) + b"/caf\xe9.png", "wb") as file:  # noqa: PTH123
        picture(12).save(file, "PNG")
    here = {"0000.png", "0001.png", "caf\\xe9.png"}
    until(watch, database, folder, here=here)
    picture(13).save(folder / "next.png")
    until(watch, database, folder, here=here | {"next.png"})


def test_the_folder_is_removed_and_comes_back(watch, database, folder, tmp_path):
    folder.rename(tmp_path / "away")
    assert "is gone; its images stay" in lines_until(watch, "is gone")
    (tmp_path / "away").rename(folder)
    assert "is back" in lines_until(watch, "is back")
    picture(14).save(folder / "new.png")
    until(watch, database, folder, here={"0000.png", "0001.png", "new.png"})


def test_what_is_behind_a_link_is_not_followed(watch, database, folder, tmp_path):
    (tmp_path / "other").mkdir()
    (folder / "link").symlink_to(tmp_path / "other")
    (folder / "inner").mkdir()
    (folder / "inner" / "link").symlink_to(tmp_path / "other")
    paint(tmp_path / "other", 1)
    picture(15).save(folder / "inner" / "new.png")
    until(watch, database, folder, here={"0000.png", "0001.png", "inner/new.png"})


def lines_until(command, words):
    """Wait until the command has said a line with these words; return its lines so far."""
    while words not in (said := command.process.output()[1].decode().rpartition("\n")[0]):
        command.go_on()
    return said


def test_what_is_left_out_is_not_followed(watch, database, folder, tmp_path):
    (folder / "._0000.png").write_bytes(bytes(100))
    paint(folder / "@eaDir" / "0000.png", 1)
    paint(tmp_path / "bin" / "home", 1, first=5)
    (tmp_path / "bin" / RECORD).touch()
    (tmp_path / "bin").rename(folder / "bin")
    lines_until(watch, f"{folder}/bin is a trash of imgdb apply: left out")
    picture(16).save(folder / "bin" / "home" / "other.png")
    picture(17).save(folder / "new.png")
    until(watch, database, folder, here={"0000.png", "0001.png", "new.png"})
    watch.signal(signal.SIGINT)
    code, stdout, _ = watch.end()
    assert (code, "failed\t0\n" in stdout) == (0, True)
