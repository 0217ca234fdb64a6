"""`imgdb demo`: a search among the example pictures, which touches nothing and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

import pytest


class NoRedirect(HTTPRedirectHandler):
    """Take an answer that leads elsewhere as it is."""

    def redirect_request(self, *_):
        return None


IMGDB = Path(sys.executable).with_name("imgdb")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def demo(place):
    """Return a function that starts the demo, as somebody whose database is elsewhere."""

    def start(*arguments, **more):
        settings = {
            "IMGDB_HOME": str(place / "home"),
            "IMGDB_DSN": "host=nosuch.invalid",
            "TMPDIR": str(place),
        }
        return subprocess.Popen(
            [IMGDB, "demo", *arguments],
            cwd=place,
            env={**os.environ, **settings, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    return start


def told_folder(line):
    assert line.startswith("imgdb: copying ")
    return Path(line.split(" to ", 1)[1].strip())


def test_it_finds_the_edits_of_the_query(demo, place):
    with demo("--format", "json") as run:
        stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    first, *others = stderr.splitlines()
    folder = told_folder(first)
    assert others == [
        "imgdb: imgdb ingest images",
        "imgdb: imgdb query query.jpg --html found.html",
        f"imgdb: the page is in {folder / 'found.html'}",  # and no browser is opened for a pipe
    ]
    found = [Path(match["path"]) for match in json.loads(stdout)]
    assert len(found) == 6
    assert all(path.name.startswith("cat-in-the-window") for path in found)
    assert {path.parent for path in found} == {folder / "images"}
    assert (folder / "found.html").read_text().count("cat-in-the-window--cropped.jpg") > 0
    assert list(place.iterdir()) == [folder]  # nor was any other home of a server made
    assert not servers_of(place)


def test_the_browser_is_asked_to_show_the_page(demo, place):
    browser = place / "browser"
    browser.write_text('#!/bin/sh\nprintf %s "$1" > "$0.asked"\n')
    browser.chmod(0o755)
    with demo("--open", "--folder", "pictures", BROWSER=str(browser)) as run:
        while " until Ctrl-C" not in (line := run.stderr.readline()):
            assert line
        asked = urlsplit((place / "browser.asked").read_text())
        told = urlsplit(line.split()[1])
        # The address that a browser is started with opens once; what it shows is found.
        with pytest.raises(HTTPError) as led:
            build_opener(NoRedirect).open(asked.geturl())
        led.value.close()
        with pytest.raises(HTTPError) as refused:
            urlopen(asked.geturl())
        refused.value.close()
        assert refused.value.code == 401
        (picture,), (token,) = (parse_qs(told.query)[name] for name in ("path", "token"))
        search = f"http://{told.netloc}/api/search?path={quote(picture)}&limit=3"
        with urlopen(Request(search, headers={"Authorization": f"Bearer {token}"})) as answer:
            assert len(json.load(answer)["matches"]) == 3
        os.killpg(run.pid, signal.SIGINT)
        run.communicate(timeout=120)
    assert run.returncode == 0
    assert {path.name for path in place.iterdir()} == {"browser", "browser.asked", "pictures"}
    assert not servers_of(place)


@pytest.mark.parametrize("lacking", ["fastapi", "prometheus_client"])
def test_without_the_extra_the_browser_shows_the_page_in_the_chosen_folder(demo, place, lacking):
    browser = place / "browser"
    browser.write_text('#!/bin/sh\nprintf %s "$1" > "$0.asked"\n')
    browser.chmod(0o755)
    code = f"import sys; sys.modules['{lacking}'] = None; from imgdb.cli import main; main()"
    settings = {"IMGDB_HOME": str(place / "home"), "TMPDIR": str(place), "BROWSER": str(browser)}
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--open", "--folder", "pictures"],
        cwd=place,
        env={**os.environ, **settings},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    asked = (place / "browser.asked").read_text()
    assert asked == (place / "pictures" / "found.html").as_uri()
    made = place / "pictures"
    assert sorted(path.name for path in made.iterdir()) == ["found.html", "images", "query.jpg"]
    assert contents(made / "images") == contents(EXAMPLES / "images")
    with demo("--folder", "pictures") as run:
        _, stderr = run.communicate(timeout=120)
    assert run.returncode == 2
    assert stderr == "imgdb: pictures is not empty: name a new folder for the pictures\n"


@pytest.mark.parametrize("moment", ["copying", "imgdb ingest", "imgdb query"])
def test_ctrl_c_leaves_nothing(demo, place, moment):
    with demo() as run:
        folder = told_folder(line := run.stderr.readline())
        while moment not in line:
            line = run.stderr.readline()
        os.killpg(run.pid, signal.SIGINT)
        _, stderr = run.communicate(timeout=120)
    ended = run.returncode == 130 and stderr.endswith("imgdb: interrupted\n")
    assert ended or (moment == "imgdb query" and run.returncode == 0), stderr
    assert "Traceback" not in stderr
    assert list(place.iterdir()) == ([] if run.returncode == 130 else [folder])
    assert not servers_of(place)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def servers_of(folder):
    """Return the command lines of the servers below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and "postgres" in command:
            found.append(command)
    return found
