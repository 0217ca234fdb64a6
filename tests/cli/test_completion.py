"""What fits a command line: commands, options, names and files, found without heavy modules."""

import subprocess
import sys

import pytest
from typer.main import get_command

from imgdb.cli.app import make_app
from imgdb.cli.completion import SHELLS
from imgdb.cli.completion.answer import FILES, fitting, split
from imgdb.hashes.values import PDQ_RULES

HASHES = ["phash", "dhash", "whash", "ahash"]


@pytest.fixture(autouse=True)
def nobody_named(monkeypatch, tmp_path):
    """Let in-process questions find no database."""
    monkeypatch.setenv("IMGDB_HOME", str(tmp_path / "none"))


def fit(typed):
    return fitting(make_app(), typed.split(" "))


def test_every_command_is_offered_with_its_help():
    found = dict(fit("").words)
    assert (
        found.keys() == get_command(make_app()).commands.keys() >= {"ingest", "query", "db", "demo"}
    )
    assert all(found.values())
    assert found["query"] == "Show the images that look like a picture, nearest first."
    assert {"start", "stop", "url"} <= dict(fit("db ").words).keys()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("co", ["compare", "collections"]),
        ("space co", ["compact"]),
        ("space ", ["check", "compact", "rebuild", "explain", "search", "stats"]),
        ("query --hash ", ["phash+dhash", *HASHES, *PDQ_RULES]),
        ("query --hash d", ["dhash"]),
        ("query --hash=w", ["--hash=whash"]),
        ("compare --hash ph", ["phash", "phash+dhash"]),
        ("space explain --hash a", ["ahash"]),
        ("query --dsn stats --hash d", ["dhash"]),  # stats is no command here
        ("ingest --hashes phash,w", ["phash,whash"]),
        ("ingest --hashes phash,p", []),
        ("query --form", ["--format"]),
        ("query --format ", ["table", "lines", "json", "csv"]),
        ("space compact --no", ["--no-full"]),
        ("space compact ", [*HASHES, "region"]),
        ("space compact phash ", []),
        ("failures --reason tr", ["truncated"]),
        ("db downgrade b", ["base"]),
        ("--show-completion ", list(SHELLS)),
        ("query --limit ", []),
        ("nosuch ", []),
        ("query --nosuch --hash w", ["whash"]),
        ("query -- --ha", []),
    ],
)
def test_what_fits(typed, expected):
    assert sorted(word for word, _ in fit(typed).words) == sorted(expected)


@pytest.mark.parametrize(
    ("typed", "files"),
    [
        ("ingest one ", True),
        ("query ", True),
        ("query -- --ha", True),
        ("parts one ", True),
        ("compare a ", True),
        ("compare a b ", False),
        ("import x ", False),
        ("export --output ", True),
        ("export -o ", True),
        ("demo --folder=", True),
        ("query --collection ", False),
        ("query --limit ", False),
        ("space compact ", False),
        ("co", False),
    ],
)
def test_where_files_fit(typed, files):
    assert fit(typed).files is files


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", [""]),
        ("imgdb", ["imgdb"]),
        ("imgdb ", ["imgdb", ""]),
        ("imgdb my\\ ph", ["imgdb", "my ph"]),
        ("imgdb my\\ ", ["imgdb", "my "]),
        ("imgdb 'my ph", ["imgdb", "my ph"]),
        ('imgdb "my ', ["imgdb", "my "]),
        ('imgdb "" x', ["imgdb", "", "x"]),
        ("imgdb #x", ["imgdb", "#x"]),
    ],
)
def test_a_line_is_split_as_a_shell_does(line, expected):
    assert split(line) == expected


@pytest.mark.parametrize("line", ["imgdb qu", "imgdb query --collection ", "imgdb 'open"])
def test_nothing_heavy_is_loaded_for_nothing(line, tmp_path):
    code = (
        "import sys, typer; from imgdb.cli.app import make_app; "
        "from imgdb.cli.completion.answer import answer; "
        f"answer(make_app(), 'bash', [{line!r}, {line.rpartition(' ')[2]!r}]); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"PIL", "numpy", "scipy", "alembic", "sqlalchemy", "rich", "imagehash"}
    asks = "--collection" in line
    assert heavy & set(done.stdout.split()) == set()
    assert ("psycopg" in done.stdout.split()) == asks


def parameters(command):
    yield from command.params
    for inner in getattr(command, "commands", {}).values():
        yield from parameters(inner)


def completes(parameter):
    return getattr(parameter, "_custom_shell_complete", None) is not None


def test_every_argument_is_completed():
    """A new command's arguments are files by their metavar, or say what they take."""
    arguments = [p for p in parameters(get_command(make_app())) if p.param_type_name == "argument"]
    assert len(arguments) > 10
    for argument in arguments:
        assert argument.metavar in FILES or completes(argument), argument.metavar


def test_every_name_in_the_database_is_completed():
    """A new command's --collection must not be forgotten."""
    options = {"--collection", "--against", "--hashes", "--reason"}
    named = [p for p in parameters(get_command(make_app())) if options & set(p.opts)]
    assert len(named) > 10
    for option in named:
        assert completes(option), option.opts
