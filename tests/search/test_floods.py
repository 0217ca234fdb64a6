"""Floods of images that have one hash: one line of a table, and nothing lost for programs."""

import csv
import io
import json
from pathlib import Path

import pytest
from library import add, scene
from servers import embedded_only

from imgdb.search.images import query_by_file

pytestmark = pytest.mark.sql


@pytest.fixture
def flooded(database, tmp_path):
    """A picture that is there 24 times, and a near one."""
    scene(1).save(tmp_path / "placeholder.png")
    scene(1).resize((160, 120)).save(tmp_path / "near.jpg", quality=80)
    near = query_by_file(tmp_path / "placeholder.png").hashes.phash ^ 0b11
    add(database, tmp_path / "placeholder.png")
    for number in range(23):
        add(database, tmp_path / "placeholder.png", path=f"/copy/{number:02}.png", sha256=bytes(32))
    add(database, tmp_path / "near.jpg", phash=near)
    return database


def query(cli, *args, dsn):
    given = () if "--format" in args else ("--json",)
    result = cli("query", *args, *given, dsn=dsn, env={"COLUMNS": "200"})
    assert result.code == 0, result
    return result


@embedded_only
def test_a_table_shows_a_flood_as_one_line(cli, flooded, tmp_path):
    table = query(cli, tmp_path / "placeholder.png", "--format", "table", dsn=flooded)
    lines = table.stdout.splitlines()
    assert len(lines) == 3
    # The file of the same bytes stands for the others.
    assert lines[1].split()[0].endswith("/placeholder.png")
    assert lines[1].rstrip().endswith("same bytes, one of 24 of this hash")
    assert "of this hash" not in lines[2]
    assert table.stderr == "imgdb: many images have the same hash; --flood 0 lists them all\n"


@embedded_only
@pytest.mark.parametrize("flood", [0, 24])
def test_a_table_shows_all_if_asked(cli, flooded, tmp_path, flood):
    given = ("--format", "table", "--flood", str(flood))
    table = query(cli, tmp_path / "placeholder.png", *given, dsn=flooded)
    assert (len(table.stdout.splitlines()), table.stderr) == (26, "")


def test_programs_get_all_matches_unless_they_ask(cli, flooded, tmp_path):
    everything = json.loads(query(cli, tmp_path / "placeholder.png", dsn=flooded).stdout)
    assert len(everything) == 25
    assert all(match["images"] == 1 for match in everything)
    given = (tmp_path / "placeholder.png", "--flood", "5")
    few = json.loads(query(cli, *given, dsn=flooded).stdout)
    assert [(Path(match["path"]).name, match["images"]) for match in few] == [
        ("placeholder.png", 24), ("near.jpg", 1)
    ]  # fmt: skip
    text = query(cli, *given, "--format", "csv", dsn=flooded).stdout
    assert [row["images"] for row in csv.DictReader(io.StringIO(text))] == ["24", "1"]


def test_a_limit_counts_lines(cli, flooded, tmp_path):
    given = ("--format", "table", "--limit", "2")
    lines = query(cli, tmp_path / "placeholder.png", *given, dsn=flooded).stdout.splitlines()
    assert len(lines) == 3 and "near.jpg" in lines[2]
