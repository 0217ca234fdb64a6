"""Tab in real shells: names from the database are quoted, asked for quietly, and start nothing."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fake_servers
import psycopg
import pytest

from imgdb.cli.app import make_app
from imgdb.cli.completion import SHELLS, VARIABLE
from imgdb.cli.completion.answer import answer
from imgdb.cli.completion.install import install, shell_script

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent


# Each as bash has it: the line, and what it takes for the last word (it breaks at = and :).
@pytest.mark.parametrize(
    ("line", "typed", "expected"),
    [
        ("imgdb query --collection ", "", [r"it\'s", r"my\ \$\(touch\ hit\)", "x:y"]),
        ("imgdb query --collection my", "my", [r"my\ \$\(touch\ hit\)"]),
        (r"imgdb query --collection my\ ", r"my\ ", [r"my\ \$\(touch\ hit\)"]),
        ('imgdb query --collection "my', '"my', [r"my \$(touch hit)"]),
        ("imgdb query --collection 'my", "'my", ["my $(touch hit)"]),
        ("imgdb query --collection 'it", "'it", []),
        ("imgdb query --collection=my", "my", [r"my\ \$\(touch\ hit\)"]),
        ("imgdb query --collection=", "=", [r"it\'s", r"my\ \$\(touch\ hit\)", "x:y"]),
        ("imgdb query --collection x:", ":", ["y"]),
        ("imgdb query --collection x:y", "y", ["y"]),
    ],
)
def test_names_are_quoted_for_bash(named, monkeypatch, line, typed, expected):
    monkeypatch.setenv("IMGDB_DSN", named)
    assert answer(make_app(), "bash", [line, typed]).splitlines() == ["words", *expected]


@pytest.fixture
def named(database):
    """Make a database with collections, one of which no shell could type."""
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO imgdb.collection (name) SELECT unnest(%s::text[])",
            (["my $(touch hit)", "it's", "x:y", "two\nlines"],),
        )
    return database


def tab(cli, line, **options):
    """Press Tab at the end of a line of bash."""
    return cli(line, line.rpartition(" ")[2], env={VARIABLE: "bash", **options.pop("env", {})})


def test_the_database_is_the_one_that_is_named(cli, named):
    for line in (
        f"imgdb query --dsn '{named}' --collection it",
        f"imgdb --dsn '{named}' export --collection it",
    ):
        assert tab(cli, line).stdout == "words\nit\\'s\n", line


def test_the_embedded_server_is_asked_while_it_runs(cli):
    line = "imgdb query --collection "
    assert cli("db", "start").code == 0
    url = cli("db", "url").stdout.strip()
    with psycopg.connect(url) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('holidays')")
    assert tab(cli, line).stdout == "words\nholidays\n"
    assert cli("db", "stop").code == 0
    assert tab(cli, line).stdout == "words\n"
    assert cli("db", "status", "--format", "json").stdout.startswith('{\n  "running": false')


@pytest.fixture
def cli(cli, place):
    """Run the console script with a home that a server's account can enter."""
    return lambda *args, env=None: cli(
        *args, env={"IMGDB_HOME": str(place / "home"), **(env or {})}
    )


def test_where_no_server_runs_none_is_made(cli, place):
    found = tab(cli, "imgdb query --collection ")
    assert (found.code, found.stdout, found.stderr) == (0, "words\n", "")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("dsn", ["host=127.0.0.1 port=1", "host=nosuch.invalid", "not=a dsn", " "])
def test_a_server_that_cannot_be_asked_is_no_trouble(cli, dsn):
    found = tab(cli, "imgdb query --collection ", env={"IMGDB_DSN": dsn})
    assert (found.code, found.stdout, found.stderr) == (0, "words\n", "")


def test_a_server_that_says_nothing_is_not_waited_for(cli):
    with fake_servers.silent() as port:
        dsn = f"host=127.0.0.1 port={port}"
        found = tab(cli, "imgdb query --collection ", env={"IMGDB_DSN": dsn})
    assert (found.code, found.stdout, found.stderr) == (0, "words\n", "")


def test_a_database_without_the_schema_is_no_trouble(cli, empty_database):
    found = tab(cli, "imgdb query --collection ", env={"IMGDB_DSN": empty_database})
    assert (found.code, found.stdout, found.stderr) == (0, "words\n", "")


# What a person types, up to Tab, and what stands on the screen then.
TYPED = "imgdb query --collection my\t"
SHOWN = r"--collection my\ \$\(touch\ hit\)"
INTERACTIVE = {
    "bash": ["bash", "--norc", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_in_a_real_shell(named, tmp_path, shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    completion = tmp_path / f"completion.{shell}"
    completion.write_text(shell_script(shell))
    settings = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "IMGDB_DSN": named,
        "TERM": "dumb",
        "COLUMNS": "200",
    }
    child, screen = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execvpe(INTERACTIVE[shell][0], INTERACTIVE[shell], settings)
    try:
        # What is typed before the script is read would be completed without it.
        os.write(screen, f"source {completion}; echo rea''dy\n".encode())
        read_until(screen, "ready")
        os.write(screen, TYPED.encode())
        read_until(screen, SHOWN)
    finally:
        os.close(screen)
        os.waitpid(child, 0)
    assert not (tmp_path / "hit").exists()


def read_until(screen, expected):
    """Read what a terminal shows until it holds a text."""
    shown, until = b"", time.monotonic() + 60
    while expected.encode() not in shown:
        ready, _, _ = select.select([screen], [], [], until - time.monotonic())
        assert ready, shown
        shown += os.read(screen, 65536)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_is_what_its_shell_understands(shell):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    subprocess.run([shell, "-n"], input=shell_script(shell), text=True, check=True)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_installing_twice_adds_one_line(monkeypatch, tmp_path, shell):
    for name in ("XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "it's"))
    settings = tmp_path / "it's" / f".{shell}rc"
    settings.parent.mkdir()
    settings.write_bytes(b"alias gr\xf6\xdfe=ls")  # Latin-1, and no line end
    place, said = install(shell)
    assert install(shell) == (place, said) == (place, settings)
    first, second = settings.read_bytes().splitlines()
    assert first == b"alias gr\xf6\xdfe=ls"
    assert place.read_text() == shell_script(shell)
    if shutil.which(shell):
        ask = "complete -p imgdb" if shell == "bash" else "print $_comps[imgdb]"
        command = [shell, "-c", f"{second.decode()}\n{ask}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "_imgdb" in done.stdout


def test_fish_needs_no_line(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert install("fish") == (tmp_path / "fish" / "completions" / "imgdb.fish", None)


def test_the_options_say_what_they_do(cli, tmp_path):
    assert cli("--show-completion", "bash").stdout == shell_script("bash")
    refused = cli("--show-completion", "tcsh")
    assert (refused.code, refused.stdout) == (2, "")
    assert refused.stderr == "imgdb: no completion for tcsh; choose from bash, zsh, fish\n"
    program = f"{BIN / 'imgdb'} --install-completion; exit $?"
    settings = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    done = subprocess.run(
        ["bash", "-c", program], env=settings, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    place = tmp_path / "data" / "imgdb" / "completion.bash"
    assert done.stderr == (
        f"imgdb: completion is in {place}, which {tmp_path / '.bashrc'} reads; "
        "open another bash to have it\n"
    )
