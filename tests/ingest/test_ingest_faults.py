"""Ingest when something dies: a picture's decoder, a worker, the command, the server, the line."""

import errno
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import psycopg
import pytest
from commands import Command
from folders import failures, paint, picture, spellings, stored
from PIL import Image

from imgdb.database.embedded import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def readable(path):
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno != errno.EIO
    return True


STRACE = shutil.which("strace")

# Devices without power management answer every read with EIO.
UNREADABLE = [
    path for path in Path("/sys/devices").glob("*/power/autosuspend_delay_ms") if not readable(path)
]


@pytest.fixture
def ingest(database):
    """Start `imgdb ingest ...` in the background."""

    def start(*args, **options):
        return Command("ingest", "--format", "json", *args, env={"IMGDB_DSN": database}, **options)

    return start


def large(path, side=9000):
    """Write a picture that takes a moment to hash, and 80 MB to decode."""
    small = picture(7, (90, 90)).convert("L")
    small.resize((side, side), Image.Resampling.NEAREST).save(path, compress_level=1)
    return path


def assert_not_tried_again(ingest, folder, *, unchanged):
    """Run once more, with nothing that keeps the one picture that failed from being hashed."""
    with ingest(folder, "--jobs", "1") as command:
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    found = (summary["added"], summary["unchanged"], summary["failed"])
    assert (code, *found) == (3, 0, unchanged, 1)


def test_a_worker_that_crashes_costs_that_picture_only(ingest, database, tmp_path):
    bad = large(tmp_path / "bad.png")
    good = paint(tmp_path, 30)
    with ingest(tmp_path, "--jobs", "2") as command:
        first = command.worker_on(bad)
        os.kill(first, signal.SIGSEGV)
        while (second := command.worker_on(bad)) == first:
            pass
        os.kill(second, signal.SIGSEGV)
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["added"], summary["failed"]) == (3, 30, 1)
    assert summary["failures"][0]["reason"] == "the decoder crashed on it (SIGSEGV)"
    assert failures(database) == {str(bad): "crashed"}
    assert stored(database).keys() == spellings(*good)
    assert_not_tried_again(ingest, tmp_path, unchanged=30)


def test_a_worker_that_is_killed_once_costs_nothing(ingest, database, tmp_path):
    slow = large(tmp_path / "slow.png")
    paint(tmp_path, 30)
    with ingest(tmp_path, "--jobs", "1") as command:
        os.kill(command.worker_on(slow), signal.SIGKILL)
        code, stdout, stderr = command.end()
    # No failure is told: but what there is, as after each ingest.
    assert code == 0 and stderr.startswith("imgdb: exact copies: "), stderr
    assert len(stderr.splitlines()) == 1
    assert json.loads(stdout)["added"] == 31


def test_a_picture_that_takes_too_long_fails(ingest, database, tmp_path):
    slow = large(tmp_path / "slow.png")
    paint(tmp_path, 10)
    with ingest(tmp_path, "--jobs", "1", "--timeout", "2") as command:
        os.kill(command.worker_on(slow), signal.SIGSTOP)
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["added"]) == (3, 10)
    assert {failed["kind"] for failed in summary["failures"]} == {"timeout"}
    assert failures(database) == {str(slow): "timeout"}
    assert_not_tried_again(ingest, tmp_path, unchanged=10)


def test_a_picture_that_takes_too_much_memory_fails(ingest, database, tmp_path):
    big = large(tmp_path / "big.png", 14000)
    paint(tmp_path, 10)
    with ingest(tmp_path, "--jobs", "1", "--worker-memory", "200M") as command:
        code, stdout, _ = command.end()
    assert (code, json.loads(stdout)["added"]) == (3, 10)
    assert failures(database) == {str(big): "no-memory"}
    assert_not_tried_again(ingest, tmp_path, unchanged=10)


def test_a_worker_that_cannot_start_ends_the_run_with_its_words(ingest, tmp_path):
    paint(tmp_path, 1)
    with ingest(tmp_path, "--worker-memory", "1") as command:
        code, _, stderr = command.end()
    assert (code, stderr.count("\n")) == (2, 1)
    assert "--worker-memory" in stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stores_what_is_done(ingest, database, tmp_path, signum):
    paths = paint(tmp_path, 400)
    with ingest(tmp_path, "--jobs", "1") as command:
        wait_for_rows(database, command)
        command.signal(signum)
        code, stdout, stderr = command.end()
    assert code == 128 + signum
    assert stderr == "imgdb: interrupted; what is done is stored, the same command does the rest\n"
    done = json.loads(stdout)["added"]
    assert done == len(stored(database)) < len(paths)
    with ingest(tmp_path, "--jobs", "1") as command:
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["added"], summary["unchanged"]) == (0, len(paths) - done, done)


@pytest.mark.sql
def test_the_connection_is_lost(ingest, database, tmp_path):
    paths = paint(tmp_path, 400)
    with ingest(tmp_path, "--jobs", "1") as command:
        wait_for_rows(database, command)
        with psycopg.connect(database) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        code, stdout, stderr = command.end()
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert "what was committed is kept, run the same command again" in stderr
    done = len(stored(database))
    assert 0 < done < len(paths)
    with ingest(tmp_path, "--jobs", "1") as command:
        summary = json.loads(command.end()[1])
    assert (summary["added"], summary["unchanged"]) == (len(paths) - done, done)


def test_the_embedded_server_is_killed(place):
    paths = paint(place / "pictures", 300)
    home = place / "home"
    environment = {"IMGDB_HOME": str(home)}
    args = ("ingest", str(place / "pictures"), "--format", "json", "--jobs", "1")
    with Server(home) as server:
        with Command(*args, env=environment) as command:
            wait_for_rows(server.conninfo(), command)
            os.kill(server.status().pid, signal.SIGKILL)
            code, _, stderr = command.end()
        assert (code, stderr.count("\n")) == (1, 1)
    with Command(*args, env=environment) as command:
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert code == 0
    assert summary["unchanged"] >= 40
    assert summary["added"] + summary["unchanged"] == len(paths)


@pytest.mark.skipif(not STRACE, reason="strace makes the calls of a disk fail")
def test_a_disk_that_fails_costs_what_is_on_it(database, tmp_path):
    good, lost = paint(tmp_path / "good", 4), paint(tmp_path / "mounted", 3)
    environment = {"IMGDB_DSN": database}
    arguments = ("ingest", "--format", "json", "--jobs", "1", "--prune", tmp_path)
    with Command(*arguments, env=environment) as command:
        assert command.end()[0] == 0
    for path in good + lost:
        os.utime(path, (1, 1))
    # From here on each call on that folder and its files ends with EIO, as on a dead mount.
    failing = (word for path in (tmp_path / "mounted", *lost) for word in ("-P", path))
    calls = "getdents64,read,fstat,newfstatat,statx,lstat,stat"
    strace = (STRACE, "-fqq", "-o", "/dev/null", "-e", f"inject={calls}:error=EIO", *failing)
    with Command(*arguments, before=strace, env=environment) as command:
        code, stdout, _ = command.end()
    summary = json.loads(stdout)
    assert (code, summary["updated"], summary["missing"]) == (3, len(good), 0)
    assert {(failed["path"], failed["kind"]) for failed in summary["failures"]} == {
        (str(tmp_path / "mounted"), "io-error")
    }
    assert stored(database) == dict.fromkeys(spellings(*good, *lost), False)


@pytest.mark.skipif(not UNREADABLE, reason="the kernel has no file that cannot be read")
def test_a_file_that_the_disk_cannot_read_is_a_failure(ingest, database, tmp_path):
    paint(tmp_path, 2)
    link = tmp_path / "photo.jpg"
    link.symlink_to(UNREADABLE[0])
    with ingest(tmp_path) as command:
        code, stdout, _ = command.end()
    assert (code, json.loads(stdout)["added"]) == (3, 2)
    assert failures(database) == {str(link): "io-error"}


def test_two_at_once_store_everything_once(ingest, database, tmp_path):
    paths = paint(tmp_path, 120)
    with (
        ingest(tmp_path, "--jobs", "1") as one,
        ingest(tmp_path, "--jobs", "1") as two,
    ):
        results = [command.end() for command in (one, two)]
    assert [code for code, _, _ in results] == [0, 0]
    assert sum(json.loads(stdout)["added"] for _, stdout, _ in results) == len(paths)
    assert sum(json.loads(stdout)["updated"] for _, stdout, _ in results) == 0
    assert stored(database).keys() == spellings(*paths)


def wait_for_rows(dsn, command):
    """Wait until the first batch is committed."""
    while command.process.poll() is None:
        try:
            if stored(dsn):
                return
        except psycopg.Error:
            # The schema is being made.
            continue
    raise AssertionError(command.end())
