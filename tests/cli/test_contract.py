"""The contract of docs/output.md, for every command that prints rows."""

import csv
import io
import json
import re
from pathlib import Path

import psycopg
import pytest
import typer.main
from library import add, scene, shelf

from imgdb.cli.app import make_app
from imgdb.search.images import Match

PAGE = Path(__file__).parents[2] / "docs" / "output.md"


def _offering(option, words, command):
    if any(option in param.opts for param in command.params):
        yield " ".join(words)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _offering(option, [*words, name], inner)


def commands_with(option):
    return [*_offering(option, ["imgdb"], typer.main.get_command(make_app()))]


OFFERING = commands_with("--json")

# A call of each that prints rows, and whether it prints facts.
ROWS, FACTS = False, True
CALLS = {
    "imgdb ingest": (("ingest", "{}/other", "--jobs", "1"), FACTS),
    "imgdb rehash": (("rehash", "--jobs", "1"), FACTS),
    "imgdb import": (("import", "{}/hashes.csv", "--collection", "shop"), FACTS),
    "imgdb query": (("query", "{}/shelf/lake.png", "{}/unlike.png"), ROWS),
    "imgdb parts": (("parts", "{}/shelf/lake.png"), ROWS),
    "imgdb compare": (("compare", "{}/shelf/lake.png", "{}/shelf/hill.png"), FACTS),
    "imgdb duplicates": (("duplicates",), ROWS),
    "imgdb matches": (("matches",), ROWS),
    "imgdb hubs": (("hubs", "--flood", "0"), ROWS),
    "imgdb hash": (("hash", "{}/shelf/lake.png", "{}/shelf/hill.png"), ROWS),
    "imgdb calibrate": (("calibrate", "--sample", "2", "--hashes", "phash", "--jobs", "1"), ROWS),
    "imgdb apply": (("apply", "{}/plan", "--trash", "{}/bin", "--dry-run"), ROWS),
    "imgdb restore": (("restore", "{}/trashed"), ROWS),
    "imgdb stats": (("stats",), FACTS),
    "imgdb failures": (("failures",), ROWS),
    "imgdb collections": (("collections",), ROWS),
    "imgdb mark": (("mark", "--list"), ROWS),
    "imgdb space check": (("space", "check", "phash", "--samples", "1"), ROWS),
    "imgdb space compact": (("space", "compact", "phash", "--no-full"), ROWS),
    "imgdb space explain": (("space", "explain", "{}/shelf/lake.png"), ROWS),
    "imgdb space search": (
        ("space", "search", "phash", "--hex", "0123456789abcdef", "--nearest", "1"),
        ROWS,
    ),
    "imgdb space stats": (("space", "stats"), ROWS),
    "imgdb db status": (("db", "status"), FACTS),
}
# What two runs of it print differs, in times or because the first one changed something.
CHANGING = {"imgdb restore", "imgdb space compact", "imgdb space explain", "imgdb stats"}
# Nothing is to be seen in a database without regions.
EMPTY = {"imgdb parts"}


# The others make the collection, or want paths of it.
ASKING = sorted(
    {*commands_with("--collection"), "imgdb mark"}
    & {*CALLS, "imgdb export"} - {"imgdb ingest", "imgdb import"}
)


@pytest.fixture
def filled(cli, database, tmp_path):
    """A database in which every command finds something."""
    folder = shelf(tmp_path / "shelf")
    add(database, *sorted(folder.iterdir()))
    scene(99).save(tmp_path / "unlike.png")
    shelf(tmp_path / "other")
    (tmp_path / "hashes.csv").write_text("path,phash\n/a,1\n")
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO imgdb.ingest_failure (collection_id, path, reason)"
            " SELECT min(collection_id), '/broken.png', 'broken' FROM imgdb.collection"
        )
        conn.execute("SELECT imgdb.watch('phash', phash, 8, 'lake') FROM imgdb.image LIMIT 1")
    plan = ("duplicates", "--plan", tmp_path / "plan", "--tier", "same-bytes")
    assert cli(*plan, dsn=database).code == 0
    trash = ("apply", tmp_path / "plan", "--trash", tmp_path / "trashed", "--dry-run")
    assert cli(*trash, dsn=database).code == 0
    marked = (str(folder / "lake.png"), str(folder / "hill.png"))
    assert cli("mark", "different", *marked, dsn=database).code == 0
    return database


def test_the_table_of_the_page_has_every_command_that_prints_rows():
    told = re.findall(r"^\| `(imgdb [a-z ]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(told) == sorted(OFFERING)
    assert {*CALLS, "imgdb demo"} == set(OFFERING)


@pytest.mark.parametrize("name", CALLS)
def test_a_pipe_gets_lines_and_other_kinds_only_when_asked(cli, filled, tmp_path, name):
    call, facts = CALLS[name]
    given = [word.format(tmp_path) for word in call]
    if name == "imgdb restore":
        trash = ("apply", tmp_path / "plan", "--trash", tmp_path / "trashed")
        assert cli(*trash, dsn=filled).code == 0

    def run(*options):
        result = cli(*given, *options, dsn=filled)
        assert result.code in (0, 3), result
        return result.stdout

    plain = run()
    assert not set("\x1b\r\u2026") & set(plain)
    assert not plain.lstrip().startswith(("[", "{")), "JSON that nobody asked for"
    lines = [line.split("\t") for line in plain.splitlines()]
    assert lines or name in EMPTY
    rows = [*csv.reader(io.StringIO(run("--csv")))]
    parsed = json.loads(run("--json"))
    if facts:
        assert {len(line) for line in lines} == {2}
        assert isinstance(parsed, dict)
        names = [line[0] for line in lines]
        if name != "imgdb stats":
            assert rows[0] == names and len(rows) == 2
            assert set(names) <= set(parsed)
        return
    assert {len(line) for line in lines} <= {len(rows[0])}
    if name not in CHANGING:
        assert lines == rows[1:]
    if name == "imgdb duplicates":
        assert sum(len(group["members"]) for group in parsed) == len(lines)
    elif name == "imgdb calibrate":
        assert isinstance(parsed, dict)
    else:
        assert all(list(one) == rows[0] for one in parsed)


@pytest.mark.parametrize("asked", [("--json", "--csv"), ("--csv", "--format", "lines")])
def test_one_kind_at_a_time(cli, asked):
    result = cli("db", "status", *asked)
    assert (result.code, result.stdout, result.stderr) == (
        2,
        "",
        "imgdb: give one of --json, --csv and --format\n",
    )


def test_the_columns_of_a_query_are_the_same_whatever_is_asked(cli, filled, tmp_path):
    lake, unlike = tmp_path / "shelf" / "lake.png", tmp_path / "unlike.png"
    for options in ((), ("--any-orientation",), ("--flood", "1"), ("--limit", "1")):
        for files in ((lake,), (unlike,), (lake, unlike)):
            text = cli("query", *files, *options, "--csv", dsn=filled).stdout
            first, *rows = csv.reader(io.StringIO(text))
            assert first == ["query", *Match.__dataclass_fields__]
            assert [row[0] for row in rows if not row[1]] == [str(unlike)] * (unlike in files)
            assert {row[0] for row in rows} == {*map(str, files)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("{}/shelf/lake.png",), 0),
        (("{}/unlike.png",), 1),
        (("{}/unlike.png", "{}/shelf/lake.png"), 0),
        (("{}/shelf/lake.png", "{}/gone.png"), 2),
        (("{}/gone.png",), 2),
        (("--hex", "f" * 16), 1),
        (("--hex", "xyz"), 2),
        ((), 2),
        (("{}/shelf/lake.png", "--collection", "none"), 2),
        (("{}/shelf/lake.png", "--dsn", "host=/nowhere"), 2),
        (("{}/shelf/lake.png", "--html", "/dev/full/page"), 2),
    ],
)
def test_a_query_ends_as_grep_does(cli, filled, tmp_path, arguments, code):
    given = [word.format(tmp_path) for word in arguments]
    assert cli("query", "--exit-code", *given, dsn=filled).code == code
    if len(given) == 1 and code < 2:
        assert cli("query", *given, dsn=filled).code == 0


def test_a_picture_comes_on_stdin(cli, filled, tmp_path):
    content = (tmp_path / "shelf" / "lake.png").read_bytes()
    query = cli("query", "-", "--json", stdin=content, dsn=filled)
    assert query.code == 0, query
    assert {match["query"] for match in json.loads(query.stdout)} == {"-"}
    assert json.loads(query.stdout)[0]["same_bytes"]
    (found,) = json.loads(cli("hash", "-", "--json", stdin=content).stdout)
    (same,) = json.loads(cli("hash", tmp_path / "shelf" / "lake.png", "--json").stdout)
    assert found == same | {"path": "-"}
    alike = cli("compare", "-", tmp_path / "shelf" / "lake-copy.png", "--json", stdin=content)
    assert json.loads(alike.stdout)["same_bytes"]
    assert cli("space", "explain", "-", stdin=content, dsn=filled).code == 0
    assert cli("parts", "-", stdin=content, dsn=filled).code == 0


def test_what_is_no_picture_on_stdin_is_one_line(cli, filled):
    listed = cli("query", "-", stdin="a.png\nb.png\n", dsn=filled)
    assert (listed.code, listed.stdout) == (1, "")
    assert listed.stderr.startswith("imgdb: -: not a picture") and listed.stderr.count("\n") == 1
    assert cli("query", "-", stdin=b"", dsn=filled).code == 1
    for command in (("query", "-", "-"), ("hash", "-", "--files-from", "-"), ("compare", "-", "-")):
        twice = cli(*command, stdin=b"", dsn=filled)
        assert (twice.code, "stdin can be read once" in twice.stderr) == (2, True)
    refused = cli("ingest", "-", stdin=b"", dsn=filled)
    assert (refused.code, "--files-from -" in refused.stderr) == (2, True)


@pytest.mark.parametrize("name", ASKING)
def test_no_command_takes_a_collection_that_is_not_there_for_an_empty_one(
    cli, database, tmp_path, name
):
    # In an empty database, too, where a plan may have nothing to ask what would notice.
    scene(1).save(tmp_path / "lake.png")
    call, _ = CALLS.get(name, (name.split()[1:], None))
    words = ["{}/lake.png" if "lake" in word else word for word in call if "unlike" not in word]
    given = [word.format(tmp_path) for word in words]
    gone = cli(*given, "--collection", "gone", dsn=database)
    assert (gone.code, gone.stdout, 'no collection "gone"' in gone.stderr) == (2, "", True)


def test_collections_are_listed_renamed_and_removed(cli, filled, tmp_path):
    def listed():
        return json.loads(cli("collections", "--json", dsn=filled).stdout)

    add(filled, tmp_path / "unlike.png", collection="new")
    sizes = sum(file.stat().st_size for file in (tmp_path / "shelf").iterdir())
    assert listed() == [
        {"name": "default", "images": 6, "missing": 0, "failures": 1, "bytes": sizes},
        {
            "name": "new",
            "images": 1,
            "missing": 0,
            "failures": 0,
            "bytes": (tmp_path / "unlike.png").stat().st_size,
        },
    ]
    assert cli("collections", "rename", "new", "newer", dsn=filled).code == 0
    assert [one["name"] for one in listed()] == ["default", "newer"]
    taken = cli("collections", "rename", "newer", "default", dsn=filled)
    assert (taken.code, "a collection of that name already" in taken.stderr) == (1, True)
    for words in (("rename", "gone", "x"), ("remove", "gone")):
        gone = cli("collections", *words, dsn=filled)
        assert (gone.code, 'no collection "gone"' in gone.stderr) == (2, True)
    assert cli("collections", "rename", "newer", " ", dsn=filled).code == 2
    asked = cli("collections", "remove", "default", dsn=filled)
    assert (asked.code, "--yes" in asked.stderr) == (2, True)
    removed = cli("collections", "remove", "default", "--yes", dsn=filled)
    assert (removed.code, removed.stderr) == (0, "imgdb: collection default removed, 6 images\n")
    assert [one["name"] for one in listed()] == ["newer"]
    assert json.loads(cli("failures", "--json", dsn=filled).stdout) == []
