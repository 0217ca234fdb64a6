"""`imgdb duplicates`: what it prints in each format, and that it never writes."""

import csv
import io
import itertools
import json
import re
from pathlib import Path

import psycopg
import pytest
from library import add, scene, shelf

import imgdb
from imgdb.cli.duplicates import Keep, Tier
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.hashes.values import PDQ_RULES

GROUP = {"group_id", "tier", "diameter", "images", "reclaimable_bytes"}
MEMBER = {
    "path", "keeper", "removable", "distance", "ahash_distance", "dhash_distance",
    "phash_distance", "whash_distance", "same_bytes", "collection", "image_id", "width", "height",
    "frames", "byte_size", "format", "modified_at", "sha256", "same_file", "freed_bytes",
    "companions", "shared_companions",
    "orientation", "more_metadata", "colour_difference", "same_colours",
    "relation", "votes",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


@pytest.fixture
def filled(database, folder):
    add(database, *sorted(folder.iterdir()))
    return database


def found(cli, *args, **options):
    result = cli("duplicates", *args, "--format", "json", **options)
    assert result.code == 0, result
    return json.loads(result.stdout)


def names(group):
    return {Path(member["path"]).name for member in group["members"]}


def test_json_holds_groups_with_their_members(cli, filled, folder):
    (group,) = found(cli, dsn=filled)
    assert set(group) == GROUP | {"members"}
    assert all(set(member) == MEMBER for member in group["members"])
    assert names(group) == {"lake.png", "lake-copy.png", "lake-small.jpg", "lake-soft.png"}
    assert (group["tier"], group["images"]) == ("near", 4)
    keeper, *others = group["members"]
    assert keeper["keeper"] and not any(member["keeper"] for member in others)
    # As many pixels as the copy and the soft one, and the most bytes of these.
    assert Path(keeper["path"]).name in {"lake.png", "lake-copy.png"}
    assert group["reclaimable_bytes"] == sum(
        Path(member["path"]).stat().st_size for member in others
    )


def test_tiers(cli, filled):
    (group,) = found(cli, "--tier", "same-bytes", dsn=filled)
    assert (group["tier"], names(group)) == ("same-bytes", {"lake.png", "lake-copy.png"})
    assert group["diameter"] == 0


def groups(dsn, **choice):
    with psycopg.connect(dsn, autocommit=True) as conn:
        found = duplicates(conn, DuplicateChoice(**choice))
    return [{Path(member.path).name: member for member in group.members} for group in found]


def test_flat_files_of_the_same_bytes_are_duplicates(filled, folder):
    (folder / "blank-copy.png").write_bytes((folder / "blank.png").read_bytes())
    add(filled, folder / "blank-copy.png")
    for tier in Tier:
        (blank,) = [group for group in groups(filled, tier=tier) if "blank.png" in group]
        assert set(blank) == {"blank.png", "blank-copy.png"}
        assert blank["blank.png"].tier == "same-bytes"


def test_a_new_folder_against_a_reference(cli, filled, folder, tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    scene(1, (640, 480)).save(inbox / "lake-large.png")
    for name in ("new-1.png", "new-2.png"):
        scene(7).save(inbox / name)
    add(filled, *sorted(inbox.iterdir()), collection="inbox")
    (group,) = found(cli, "--collection", "inbox", "--against", "default", dsn=filled)
    assert {"lake-large.png", "lake.png"} <= names(group)
    # The larger one is not in the reference: it may go, nothing of the reference may.
    assert [Path(m["path"]).name for m in group["members"] if m["removable"]] == ["lake-large.png"]
    assert group["members"][0]["collection"] == "default"
    # Those that are alike within the new folder alone are no finding.
    assert {*map(frozenset, groups(filled, collection="inbox"))} == {
        frozenset({"new-1.png", "new-2.png"})
    }


def test_matches_within_a_folder_are_ignored(cli, filled, folder):
    inner = folder / "inner"
    inner.mkdir()
    scene(2).save(inner / "hill.jpg")
    add(filled, inner / "hill.jpg")
    (group,) = found(cli, "--not-same-folder", dsn=filled)
    assert names(group) == {"hill.png", "hill.jpg"}


@pytest.mark.parametrize("size", ["320x240", "1K"])
def test_small_ones_are_left_out(cli, filled, size):
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE imgdb.image SET byte_size = 1023 WHERE path ~ 'small.jpg'")
    (group,) = found(cli, "--min-size", size, dsn=filled)
    assert names(group) == {"lake.png", "lake-copy.png", "lake-soft.png"}


def test_every_rule_and_tier_is_known_to_the_database(filled):
    for rule, tier in itertools.product(Keep, Tier):
        assert groups(filled, keep=rule, tier=tier)


def test_a_folder_is_kept(cli, filled, folder):
    inner = folder / "inner"
    inner.mkdir()
    scene(1, (200, 150)).save(inner / "lake.jpg")
    add(filled, inner / "lake.jpg")
    (group,) = found(cli, "--keep-in", "inner", dsn=filled, cwd=folder)
    assert group["members"][0]["path"] == str(inner / "lake.jpg")


def test_csv_reads_back(cli, filled):
    text = cli("duplicates", "--format", "csv", dsn=filled).stdout
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(read) == 4 and set(read[0]) == GROUP | MEMBER
    assert len({row["group_id"] for row in read}) == 1


def test_a_table_fits_the_screen(cli, filled):
    links = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "80"}
    result = cli("duplicates", "--format", "table", dsn=filled, env=links)
    text = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;.*?\x1b\\", "", result.stdout)
    head, columns, *lines = text.splitlines()
    assert head.startswith("near: 4 images, diameter ")
    assert columns.split()[:5] == ["path", "sum", "phash", "dhash", "whash"]
    assert len(lines) == 4 and all(len(line) <= 80 for line in lines)
    assert lines[0].split()[-1] == "keep"
    assert sum("same bytes" in line for line in lines) == 1
    assert result.stderr.startswith("imgdb: 1 group, 4 images, ")


def test_nothing_found_says_so(cli, database):
    result = cli("duplicates", dsn=database)
    assert (result.code, result.stdout, result.stderr) == (0, "", "imgdb: no duplicates\n")


@pytest.mark.parametrize(
    "args",
    [
        ("--min-size", "big"),
        ("--keep", "best"),
        ("--against", "nosuch"),
        ("--collection", "default", "--against", "default"),
    ],
)
def test_wrong_usage(cli, filled, args):
    result = cli("duplicates", *args, dsn=filled)
    assert (result.code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


def test_it_never_writes(cli, filled):
    with psycopg.connect(filled) as conn:
        conn.execute("CREATE SEQUENCE public.written")
        conn.execute(
            "CREATE OR REPLACE FUNCTION imgdb.distance(a bigint, b bigint) RETURNS integer"
            " LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
            " AS 'SELECT nextval(''public.written'')::integer'"
        )
    result = cli("duplicates", dsn=filled)
    assert result.code == 1
    assert "no writes" in result.stderr


@pytest.mark.parametrize("rule", PDQ_RULES)
def test_by_pdq(cli, database, folder, tmp_path, rule):
    with imgdb.connect(database) as db:
        for file in sorted(folder.iterdir()):
            db.add(file, pdq=file.name != "hill.png")
    plan, page = tmp_path / "plan.txt", tmp_path / "page.html"
    result = cli("duplicates", "--hash", rule, "--plan", plan, "--html", page, dsn=database)
    assert result.code == 0, result
    assert "images without a PDQ hash, of which only the bytes were compared: 1 " in result.stderr
    assert "pdq" in result.stdout and "sum" not in result.stdout
    assert f"by {rule}" in page.read_text("utf-8")
    removed = [line for line in plan.read_text("utf-8").splitlines() if line.startswith("remove")]
    assert removed and not any("hill" in line for line in removed)
    result = cli("apply", plan, "--trash", tmp_path / "trash", dsn=database)
    assert result.code == 0, result
    assert (folder / "hill.png").exists()


def test_turned_copies_are_not_found_by_pdq(cli, filled):
    result = cli("duplicates", "--hash", "pdq", "--any-orientation", dsn=filled)
    assert (result.code, result.stdout) == (2, "")
    assert "--any-orientation does not go with --hash pdq" in result.stderr
    result = cli("duplicates", "--hash", "phash", "--max-distance", "65", dsn=filled)
    assert result.code == 2
