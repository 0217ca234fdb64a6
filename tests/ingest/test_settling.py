"""Files that are still being copied: `--watch` reads none before it is whole."""

import os
import threading
import time
from io import BytesIO

import psycopg
import pytest
from folders import paint, picture, stored

from imgdb.ingest import settling, walk
from imgdb.ingest.exclusion import USUAL
from imgdb.ingest.options import Options
from imgdb.ingest.settling import QUIET, Settling
from imgdb.ingest.watch import Watch
from imgdb.stopping import Stopping

PATIENCE = 60


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def look(tmp_path):
    """Return what is found at a name in the folder."""

    def at(name):
        return walk.spot(str(tmp_path / name), USUAL, folders=True)

    return at


def names(found):
    return [os.path.basename(item.path) for item in found]  # noqa: PTH119


def test_a_file_waits_until_nobody_writes_to_it(tmp_path, clock, look):
    files = Settling(clock)
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    assert names(files.changed(look("a.png"))) == []
    assert names(files.waited(look)) == []
    clock.now += QUIET
    path.write_bytes(b"ab")
    assert names(files.waited(look)) == []
    clock.now += QUIET / 2
    # The same again is not news.
    assert names(files.changed(look("a.png"))) == []
    assert names(files.waited(look)) == []
    clock.now += QUIET / 2
    assert names(files.waited(look)) == ["a.png"]
    assert names(files.waited(look)) == []


def test_a_time_that_changes_is_a_change(tmp_path, clock, look):
    files = Settling(clock)
    path = tmp_path / "a.png"
    path.write_bytes(b"a")
    list(files.changed(look("a.png")))
    os.utime(path, (1, 1))
    clock.now += QUIET
    assert names(files.waited(look)) == []
    clock.now += QUIET
    assert names(files.waited(look)) == ["a.png"]


def test_what_waits_may_go(tmp_path, clock, look):
    files = Settling(clock)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"a")
        list(files.changed(look(name)))
        (tmp_path / name).unlink()
    (tmp_path / "b.png").mkdir()
    clock.now += QUIET
    assert [type(item) for item in files.waited(look)] == [walk.Unreadable]
    assert list(files.waited(look)) == []


def test_a_walk_lets_only_young_files_wait(tmp_path, clock, look):
    old, young, future = paint(tmp_path, 3)
    os.utime(old, (1, 1))
    os.utime(future, (time.time() + 3600,) * 2)
    os.utime(young)
    files = Settling(clock)
    found = names(files.quiet(walk.walk([str(tmp_path)])))
    # It may be so slow to get here that this file is no longer young.
    assert {old.name, future.name} <= set(found)
    clock.now += QUIET
    assert {*found, *names(files.waited(lambda path: walk.spot(path, USUAL, folders=False)))} == {
        path.name for path in (old, young, future)
    }


def test_watch_reads_a_file_when_it_is_quiet(database, tmp_path, monkeypatch):
    # As long as it takes.
    monkeypatch.setattr(settling, "QUIET", 3600)
    [first] = paint(tmp_path, 1)
    os.utime(first, (1, 1))
    stopping = Stopping()
    told = []
    with psycopg.connect(database, autocommit=True) as conn:
        watch = Watch(conn, [str(tmp_path)], Options(jobs=1, prune=True), stopping, told.append)
        thread = threading.Thread(target=watch.run)
        thread.start()
        try:
            until(lambda: stored(database) == {str(first): False})
            half = tmp_path / "half.png"
            encoded = BytesIO()
            picture(2).save(encoded, "PNG")
            half.write_bytes(encoded.getvalue()[:200])
            until(lambda: str(half) in watch._settling._looks)
            half.write_bytes(encoded.getvalue())
            # What came later is not earlier there, either.
            picture(3).save(tmp_path / "next.png")
            until(lambda: f"{tmp_path}/next.png" in watch._settling._looks)
            assert stored(database) == {str(first): False}
            monkeypatch.setattr(settling, "QUIET", 0)
            until(lambda: f"{tmp_path}/next.png" in stored(database))
            until(lambda: str(half) in stored(database))
        finally:
            stopping.asked = True
            thread.join(PATIENCE)
    assert not any(summary.failures for summary in told)


def until(holds):
    given_up = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < given_up
