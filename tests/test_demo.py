"""`imgdb demo`: a search among painted pictures, which touches nothing and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# The real command, painting one scene of the thirteen.
ONE_SCENE = """
from imgdb.demo import pictures
pictures.SCENES = {pictures.QUERY: pictures.SCENES[pictures.QUERY]}
from imgdb.cli import main
main()
"""


@pytest.fixture
def demo(place):
    """Return a function that starts the demo, as somebody whose database is elsewhere."""

    def start(*arguments):
        settings = {"IMGDB_HOME": str(place / "home"), "IMGDB_DSN": "host=nosuch.invalid"}
        return subprocess.Popen(
            [sys.executable, "-c", ONE_SCENE, "demo", *arguments],
            cwd=place,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    return start


def told_folder(line):
    assert line.startswith("imgdb: painting ")
    return Path(line.split(" in ", 1)[1].strip())


def test_it_finds_the_edits_of_the_query(demo, place):
    with demo("--format", "json") as run:
        stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    first, *others = stderr.splitlines()
    folder = told_folder(first)
    assert others == ["imgdb: imgdb ingest images", "imgdb: imgdb query query.jpg"]
    found = [Path(match["path"]) for match in json.loads(stdout)]
    assert len(found) == 6
    assert all(path.name.startswith("cat-in-the-window") for path in found)
    assert {path.parent for path in found} == {folder / "images"}
    assert not folder.exists()
    assert list(place.iterdir()) == []  # no home of a server was made


def test_the_pictures_can_be_kept(demo, place):
    with demo("--keep", "my pictures") as run:
        assert run.communicate(timeout=120) and run.returncode == 0
    kept = place / "my pictures"
    assert sorted(path.name for path in kept.iterdir()) == ["images", "query.jpg"]
    assert len(list((kept / "images").iterdir())) == 6
    with demo("--keep", "my pictures") as run:
        _, stderr = run.communicate(timeout=120)
    assert run.returncode == 2
    assert stderr == "imgdb: my pictures is not empty: name a new folder for the pictures\n"


@pytest.mark.parametrize("moment", ["painting", "imgdb ingest", "imgdb query"])
def test_ctrl_c_leaves_nothing(demo, moment):
    with demo() as run:
        folder = told_folder(line := run.stderr.readline())
        while moment not in line:
            line = run.stderr.readline()
        os.killpg(run.pid, signal.SIGINT)
        _, stderr = run.communicate(timeout=120)
    ended = run.returncode == 130 and stderr.endswith("imgdb: interrupted\n")
    assert ended or (moment == "imgdb query" and run.returncode == 0), stderr
    assert "Traceback" not in stderr
    assert not folder.exists()
    assert not servers_of(folder)


def servers_of(folder):
    """Return the command lines of the processes that name a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found
