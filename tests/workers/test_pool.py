"""Workers that end at their start, before any picture can be to blame, or by what they are told."""

import subprocess
import sys

import pytest
from folders import paint

from imgdb.errors import ImgdbError
from imgdb.paths import path_text
from imgdb.workers.pool import Pool
from imgdb.workers.task import Task
from imgdb.workers.thumbnails import thumbnails
from imgdb.workers.work import HashFiles

# What is run instead of Python: the first so many times it comes to an end of its own.
ENDS = """#!/bin/sh
count=$(cat {folder}/starts 2>/dev/null || echo 0)
echo $((count + 1)) > {folder}/starts
[ $count -ge {times} ] || {end}
exec {python} "$@"
"""


@pytest.fixture
def ends(monkeypatch, tmp_path):
    """Return a function that makes the next workers end at their start."""

    def prepare(times, end):
        program = tmp_path / "python"
        program.write_text(
            ENDS.format(folder=tmp_path, times=times, end=end, python=sys.executable)
        )
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return prepare


@pytest.fixture
def paths(tmp_path):
    return [*map(path_text, paint(tmp_path / "p", 5))]


def test_killed_at_their_start_they_are_started_again(ends, paths, tmp_path):
    ends(2, "kill -9 $$")
    made = thumbnails(paths, jobs=1)
    assert {path: one.width for path, one in made.items()} == dict.fromkeys(paths, 64)
    assert (tmp_path / "starts").read_text() == "3\n"


def test_those_that_are_always_killed_end_the_run(ends, paths):
    ends(9, "kill -9 $$")
    with pytest.raises(ImgdbError, match=r"ended at its start \(SIGKILL\): it said nothing"):
        thumbnails(paths, jobs=1)


def test_one_that_fails_ends_the_run_at_once(ends, paths, tmp_path):
    ends(9, "{ echo no room >&2; exit 7; }")
    with pytest.raises(ImgdbError, match=r"ended at its start \(exit code 7\): no room"):
        thumbnails(paths, jobs=1)
    assert (tmp_path / "starts").read_text() == "1\n"


def test_a_worker_that_edits_nothing_loads_no_edits():
    """Each worker pays for every module that it loads at its start."""
    code = "import sys, imgdb.workers.worker; print('imgdb.pictures.edits' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class Unreadable:
    """A message that a worker cannot read: as if it had no memory for it."""

    def __reduce__(self):
        return int, ("no number",)


class UnreadableTask(Task):
    def message(self):
        return Unreadable()


def test_a_worker_that_cannot_read_its_tasks_ends_and_is_not_waited_for():
    with (
        Pool(HashFiles(), jobs=1, timeout=60) as pool,
        pytest.raises(ImgdbError, match=r"ended at its start \(exit code 1\)"),
    ):
        list(pool.run([UnreadableTask(path="")]))
