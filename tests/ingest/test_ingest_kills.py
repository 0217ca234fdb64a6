"""Ingest that is ended at random points, in every way, against the list of its files.

IMGDB_TEST_KILLS says how often; 50 times take some minutes. IMGDB_TEST_SEED makes other points.
"""

import json
import os
import random
import signal
import sys
import threading

import psycopg
import pytest
from commands import Command
from folders import failures, paint, picture

from imgdb.database.embedded import Server
from imgdb.hashes.fingerprint import fingerprint
from imgdb.paths import path_text

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.slow,
]

WAYS = ("command", "worker", "server", "connection", "interrupt")
KILLS = int(os.environ.get("IMGDB_TEST_KILLS", len(WAYS)))
RANDOM = random.Random(os.environ.get("IMGDB_TEST_SEED", "imgdb"))

# Of the rows that are stored, those that no search finds.
LOST = """
SELECT count(*) FROM imgdb.image AS i
WHERE NOT EXISTS (SELECT FROM imgdb.within('phash', i.phash, 0))
"""


@pytest.fixture
def pictures(place):
    """Make pictures that take workers different ways, and return the phash that each must have."""
    folder = place / "pictures"
    paths = paint(folder, 150)
    for number in range(200):
        paths.append(folder / f"tiny-{number:04}.png")
        picture(number, (28, 28)).convert("L").save(paths[-1])
    for number in range(6):
        paths.append(folder / f"large-{number}.jpg")
        picture(number, (3000, 2000)).save(paths[-1])
    (folder / "broken.png").write_bytes(paths[0].read_bytes()[:-20])
    return {path_text(path): fingerprint(path).phash for path in paths}


def test_whatever_ends_it_the_rest_is_done_by_the_next(place, pictures):
    home = place / "home"
    with Server(home):
        pass
    for number in range(KILLS):
        # A command may have ended by itself before: then the next is ended sooner.
        assert any(ended(WAYS[number % len(WAYS)], place, pictures, part) for part in range(1, 9))
    before = known(home, pictures)
    with ingest(place) as command:
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["unchanged"], summary["failed"]) == (3, len(before), 1)
    assert summary["added"] == len(pictures) - len(before)
    assert known(home, pictures) == pictures


def ended(way, place, pictures, part):
    """Begin an ingest and end it in a first part of its work; tell if that was in time."""
    home = place / "home"
    before = known(home, pictures)
    if len(before) > len(pictures) // 2:
        before = forget(home)
    with ingest(place) as command:
        # While Python itself starts, Ctrl-C shows where that was; nothing of ours is at work.
        least = len(before) + (way == "interrupt")
        latest = least + (len(pictures) - least) * 3 // 4 // part
        in_time = end(way, command, home, pictures, RANDOM.randint(least, latest))
    after = known(home, pictures)
    assert before.items() <= after.items()
    return in_time


def ingest(place):
    arguments = ("ingest", place / "pictures", "--format", "json", "--jobs", "2")
    return Command(*arguments, batch_rows=20, env={"IMGDB_HOME": str(place / "home")})


def end(way, command, home, pictures, rows):
    """End the command, or what it needs, about when `rows` are stored; tell if it was in time."""
    with Server(home) as server:
        wait(server.conninfo(), command, rows)
        if command.process.poll() is not None:
            code, stdout, _ = command.end()
            assert (code, json.loads(stdout)["failed"]) == (3, 1)
            return False
        if way == "command":
            command.kill()
        elif way == "worker":
            for pid in command.children()[:1]:
                os.kill(pid, signal.SIGKILL)
            code, stdout, _ = command.end()
            assert (code, json.loads(stdout)["failed"]) == (3, 1)
        elif way == "interrupt":
            command.signal(signal.SIGINT)
            code, _, stderr = command.end()
            with psycopg.connect(server.conninfo()) as conn:
                done = count(conn) == len(pictures)  # then there is no rest to tell of
            assert code == 3 or (code == 130 and ("does the rest" in stderr or done)), stderr
        else:
            if way == "server":
                os.kill(server.status().pid, signal.SIGKILL)
            else:
                cut(server.conninfo())
            code, _, stderr = command.end()
            assert code == 3 or (code == 1 and stderr.count("\n") <= 2), stderr
    return True


def wait(dsn, command, rows):
    """Wait until rows are stored, or the command has ended, and a random moment longer."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        while command.process.poll() is None and count(conn) < rows:
            pass
    # Where in its work the command is then, is what is random here; nothing depends on it.
    threading.Event().wait(RANDOM.uniform(0, 0.1))


def count(conn):
    try:
        return conn.execute("SELECT count(*) FROM imgdb.image").fetchone()[0]
    except psycopg.errors.UndefinedTable:  # the schema is being made
        return 0


def cut(dsn):
    """Close every other connection."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def known(home, pictures):
    """Return what is stored, path and phash, after comparing it with the files."""
    with Server(home) as server:
        try:
            with psycopg.connect(server.conninfo()) as conn:
                rows = conn.execute("SELECT path, phash FROM imgdb.image").fetchall()
                (lost,) = conn.execute(LOST).fetchone()
                assert failures(server.conninfo()).keys() <= {
                    path_text(server.home.parent / "pictures" / "broken.png")
                }
        except psycopg.errors.UndefinedTable:
            return {}
    found = dict(rows)
    assert len(found) == len(rows)
    assert found.items() <= pictures.items()
    assert lost == 0
    return found


def forget(home):
    with Server(home) as server, psycopg.connect(server.conninfo()) as conn:
        conn.execute(
            "TRUNCATE imgdb.image, imgdb.image_pdq, imgdb.image_region, imgdb.ingest_failure,"
            " imgdb.not_duplicate, imgdb.decision"
        )
    return {}
