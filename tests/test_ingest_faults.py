"""Ingest when something dies: a picture's decoder, a worker, the command, the server, the line."""

import json
import os
import signal
import sys

import psycopg
import pytest
from commands import Command
from folders import failures, paint, picture, stored, texts
from PIL import Image

from imgdb.embedded import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


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
    assert stored(database).keys() == texts(*good)


def test_a_worker_that_is_killed_once_costs_nothing(ingest, database, tmp_path):
    slow = large(tmp_path / "slow.png")
    paint(tmp_path, 30)
    with ingest(tmp_path, "--jobs", "1") as command:
        os.kill(command.worker_on(slow), signal.SIGKILL)
        code, stdout, stderr = command.end()
    assert (code, stderr) == (0, "")
    assert json.loads(stdout)["added"] == 31


def test_a_picture_that_takes_too_long_fails(ingest, database, tmp_path):
    slow = large(tmp_path / "slow.png")
    paint(tmp_path, 10)
    with ingest(tmp_path, "--jobs", "1", "--timeout", "0.2") as command:
        code, stdout, _ = command.end()
    assert code == 3
    assert {failed["kind"] for failed in json.loads(stdout)["failures"]} == {"timeout"}
    assert failures(database)[str(slow)] == "timeout"


def test_a_picture_that_takes_too_much_memory_fails(ingest, database, tmp_path):
    big = large(tmp_path / "big.png", 14000)
    paint(tmp_path, 10)
    with ingest(tmp_path, "--jobs", "1", "--worker-memory", "200M") as command:
        code, stdout, _ = command.end()
    assert (code, json.loads(stdout)["added"]) == (3, 10)
    assert failures(database) == {str(big): "no-memory"}


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


def test_two_at_once_file_everything_once(ingest, database, tmp_path):
    paths = paint(tmp_path, 120)
    with (
        ingest(tmp_path, "--jobs", "1") as one,
        ingest(tmp_path, "--jobs", "1") as two,
    ):
        results = [command.end() for command in (one, two)]
    assert [code for code, _, _ in results] == [0, 0]
    assert sum(json.loads(stdout)["added"] for _, stdout, _ in results) == len(paths)
    assert sum(json.loads(stdout)["updated"] for _, stdout, _ in results) == 0
    assert stored(database).keys() == texts(*paths)


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
