"""`imgdb query`: what it finds, how it prints it, and that it never writes."""

import csv
import io
import json
import os
import re
from pathlib import Path

import psycopg
import pytest
from library import add, scene, shelf
from PIL import Image

from imgdb.cli.options import HashName, RuleName
from imgdb.hashes.values import ALGORITHMS, USUAL_RULE, to_hex
from imgdb.search import images

# The same whatever is asked, and however many pictures.
KEYS = {"query", *images.Match.__dataclass_fields__}


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


@pytest.fixture
def filled(database, folder):
    add(database, *sorted(folder.iterdir()))
    return database


def matches(cli, *args, **options):
    result = cli("query", *args, "--format", "json", **options)
    assert (result.code, result.stderr) == (0, ""), result
    return json.loads(result.stdout)


def names(found):
    return [Path(match["path"]).name for match in found]


def test_copies_come_first_then_the_nearest(cli, filled, folder):
    found = matches(cli, folder / "lake.png", dsn=filled)
    assert names(found[:2]) == ["lake-copy.png", "lake.png"]
    assert [match["same_bytes"] for match in found] == [True, True, False, False]
    assert {*names(found)} == {"lake.png", "lake-copy.png", "lake-small.jpg", "lake-soft.png"}
    assert [match["distance"] for match in found] == sorted(m["distance"] for m in found)


def test_a_match_says_what_a_person_needs(cli, filled, folder):
    found = {Path(m["path"]).name: m for m in matches(cli, folder / "lake.png", dsn=filled)}
    small = found["lake-small.jpg"]
    assert set(small) == KEYS
    assert small["path"] == str(folder / "lake-small.jpg")
    assert (small["width"], small["height"], small["format"]) == (160, 120, "JPEG")
    assert small["byte_size"] == (folder / "lake-small.jpg").stat().st_size
    assert (small["collection"], small["missing_since"]) == ("default", None)
    assert all(0 <= small[f"{name}_distance"] <= 8 for name in ALGORITHMS)
    assert small["distance"] == small["phash_distance"] + small["dhash_distance"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_hash_can_be_searched_by(cli, filled, folder, name):
    found = matches(cli, folder / "lake-small.jpg", "--hash", name, dsn=filled)
    assert len(found) == 4
    assert all(match["distance"] == match[f"{name}_distance"] for match in found)


def test_max_distance_and_limit(cli, filled, folder):
    everything = matches(cli, folder / "lake.png", "--max-distance", "128", dsn=filled)
    assert len(everything) == 5  # all but the blank one
    near = [m for m in everything if m["distance"] <= 2]
    assert matches(cli, folder / "lake.png", "--max-distance", "2", dsn=filled) == near
    assert matches(cli, folder / "lake.png", "--limit", "1", dsn=filled) == everything[:1]


@pytest.mark.parametrize("rule", [None, "phash"])
def test_the_nearest_are_found_however_far_they_are(cli, filled, folder, rule):
    asked = (folder / "lake.png", *(("--hash", rule) if rule else ()))
    most = "64" if rule else "128"
    everything = matches(cli, *asked, "--max-distance", most, dsn=filled)
    assert len(everything) == 5 and everything[-1]["distance"] > 17
    for count in (1, 3, 5, 9):
        found = matches(cli, *asked, "--nearest", str(count), dsn=filled)
        assert found == everything[:count]
    refused = cli("query", *asked, "--nearest", "3", "--limit", "2", dsn=filled)
    assert refused.code == 2 and "--nearest" in refused.stderr


@pytest.mark.parametrize("rule", [None, "phash"])
def test_the_default_distance_is_the_collection_s_or_the_rule_s(cli, filled, folder, rule):
    asked = (folder / "lake.png", *(("--hash", rule) if rule else ()))

    def found(*args):
        return len(matches(cli, *asked, *args, dsn=filled))

    def set_default(distance, collection):
        with psycopg.connect(filled) as conn:
            arguments = (rule or USUAL_RULE, distance, collection)
            conn.execute("SELECT imgdb.set_default_max_distance(%s, %s, %s)", arguments)

    assert found() == 4
    set_default(64 if rule else 128, None)
    assert found() == 5
    set_default(0, "default")
    # The collection's own is for searches of that collection.
    assert (found(), found("--collection", "default")) == (5, 4)
    set_default(None, "default")
    assert found("--collection", "default") == 5


def test_a_collection_limits_the_search(cli, filled, folder):
    add(filled, folder / "lake-soft.png", collection="other")
    assert names(matches(cli, folder / "lake.png", "--collection", "other", dsn=filled)) == [
        "lake-soft.png"
    ]
    wrong = cli("query", folder / "lake.png", "--collection", "none", dsn=filled)
    assert (wrong.code, wrong.stdout) == (2, "")
    assert 'no collection "none"' in wrong.stderr


def test_a_query_by_hex_knows_one_distance(cli, filled, folder):
    phash = images.query_by_file(folder / "lake.png").hashes.phash
    found = matches(cli, "--hex", to_hex(phash), dsn=filled)
    by_file = matches(cli, folder / "lake.png", dsn=filled)
    assert {m["path"] for m in found} == {m["path"] for m in by_file}
    assert all(m["phash_distance"] == m["distance"] for m in found)
    for name in ("ahash", "dhash", "whash"):
        assert {m[f"{name}_distance"] for m in found} == {None}


def test_a_query_by_hex_of_a_rule_has_both_hashes(cli, filled, folder):
    hashes = images.query_by_file(folder / "lake.png").hashes
    both = f"{to_hex(hashes.phash)}+{to_hex(hashes.dhash)}"
    found = matches(cli, "--hex", both, dsn=filled)
    assert [m["distance"] for m in found] == [
        m["distance"] for m in matches(cli, folder / "lake.png", dsn=filled)
    ]
    for wrong in (("--hex", both, "--hash", "phash"), ("--hex", both[:16], "--hash", USUAL_RULE)):
        refused = cli("query", *wrong, dsn=filled)
        assert (refused.code, refused.stdout) == (2, "")
        assert "16 hex digits" in refused.stderr


def test_what_lacks_a_hash_is_judged_by_the_other(cli, database, folder):
    """So imports of one hash are found by the usual rule."""
    lake = images.query_by_file(folder / "lake.png").hashes
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('imports')")
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe) SELECT"
            " collection_id, n.path, n.phash, n.dhash, 'imported' FROM imgdb.collection, (VALUES"
            " ('p', %(p)s, NULL), ('d', NULL, %(d)s), ('far', ~%(p)s, NULL), ('none', NULL, NULL)"
            ") AS n (path, phash, dhash)",
            {"p": lake.phash ^ 0b11, "d": lake.dhash ^ 0b1},
        )
    found = matches(cli, folder / "lake.png", dsn=database)
    assert [(m["path"], m["distance"]) for m in found] == [("d", 2), ("p", 4)]


def test_same_bytes_are_found_whatever_the_hash(cli, database, folder):
    lake = images.query_by_file(folder / "lake.png").hashes.phash
    add(database, folder / "lake.png", phash=~lake, recipe="older")
    add(database, folder / "lake-copy.png", phash=None)
    found = matches(cli, folder / "lake.png", dsn=database)
    # The second one has no phash: its dhash counts twice.
    assert [(m["same_bytes"], m["distance"]) for m in found] == [(True, 0), (True, 64)]
    found = matches(cli, folder / "lake.png", "--hash", "phash", dsn=database)
    assert [(m["same_bytes"], m["distance"]) for m in found] == [(True, 64), (True, None)]


def test_a_file_that_is_gone_is_marked(cli, filled, folder):
    with psycopg.connect(filled) as conn:
        conn.execute(
            "UPDATE imgdb.image SET missing_since = '2024-02-29 12:00Z' WHERE path ~ 'lake-soft'"
        )
    wide = {"COLUMNS": "300"}
    table = cli("query", folder / "lake.png", "--format", "table", dsn=filled, env=wide).stdout
    line = next(line for line in table.splitlines() if "lake-soft" in line)
    assert line.rstrip().endswith("missing")


def test_files_that_are_gone_come_last_or_not_at_all(cli, filled, folder):
    with psycopg.connect(filled) as conn:
        conn.execute("UPDATE imgdb.image SET missing_since = now() WHERE path ~ 'lake(-copy)?.png'")
    found = matches(cli, folder / "lake.png", dsn=filled)
    assert names(found)[2:] == ["lake-copy.png", "lake.png"]
    there = matches(cli, folder / "lake.png", "--no-missing", dsn=filled)
    assert there == found[:2]
    # A limit counts what is there first.
    assert matches(cli, folder / "lake.png", "--limit", "2", dsn=filled) == there


def test_several_files_name_their_query(cli, filled, folder):
    found = matches(cli, folder / "lake.png", folder / "hill.png", dsn=filled)
    assert [match["query"] for match in found] == [str(folder / "lake.png")] * 4 + [
        str(folder / "hill.png")
    ]
    assert all(set(match) == KEYS for match in found)


@pytest.mark.parametrize("end", ["\n", "\0", "\r\n"])
def test_paths_come_from_stdin(cli, filled, folder, end):
    listed = end.join([str(folder / "hill.png"), str(folder / "lake.png"), ""])
    assert len(matches(cli, "--files-from", "-", stdin=listed, dsn=filled)) == 5


def test_failures_are_a_line_each(cli, filled, folder, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    some = cli(
        "query", tmp_path / "text.jpg", folder / "hill.png", "gone.png", "--json", dsn=filled
    )
    assert some.code == 3
    assert len(json.loads(some.stdout)) == 1
    assert [line.split(":")[:2] for line in some.stderr.splitlines()] == [
        ["imgdb", f" {tmp_path}/text.jpg"],
        ["imgdb", " gone.png"],
    ]
    none = cli("query", "gone.png", "--json", dsn=filled)
    assert (none.code, json.loads(none.stdout)) == (1, [])


def test_no_match_says_so(cli, filled, tmp_path):
    scene(99).save(tmp_path / "unlike.png")
    result = cli("query", tmp_path / "unlike.png", "--json", dsn=filled)
    empty = dict.fromkeys(KEYS) | {"query": f"{tmp_path}/unlike.png"}
    assert (result.code, json.loads(result.stdout)) == (0, [empty])
    assert result.stderr == f"imgdb: no match for {tmp_path}/unlike.png\n"


def test_a_flat_query_finds_its_own_bytes_only_unless_asked(cli, filled, folder, tmp_path):
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "navy.png")
    result = cli("query", tmp_path / "navy.png", "--json", dsn=filled)
    empty = dict.fromkeys(KEYS) | {"query": f"{tmp_path}/navy.png"}
    assert (result.code, json.loads(result.stdout)) == (0, [empty])
    assert "is flat" in result.stderr and len(result.stderr.splitlines()) == 1
    assert names(matches(cli, tmp_path / "navy.png", "--include-flat", dsn=filled)) == ["blank.png"]
    known = cli("query", folder / "blank.png", "--json", "--exit-code", dsn=filled)
    assert (known.code, names(json.loads(known.stdout))) == (0, ["blank.png"])
    # A failure does not look like a picture that is not known.
    down = cli("query", tmp_path / "navy.png", "--exit-code", dsn="host=/nowhere")
    assert (down.code, down.stdout) == (2, "")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("a.png", "--hex", "0" * 16),
        ("--hex", "xyz"),
        ("--hex", "0" * 16, "--max-distance", "65"),
        ("--hex", "0" * 16, "--limit", "0"),
        ("--hex", "0" * 16, "--hash", "sha1"),
    ],
)
def test_wrong_usage(cli, args):
    result = cli("query", *args)
    assert (result.code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1


def test_csv_reads_back(cli, filled, folder):
    text = cli("query", folder / "lake.png", "--format", "csv", dsn=filled).stdout
    read = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(read) == 4 and set(read[0]) == KEYS


def test_a_table_fits_the_screen(cli, filled, folder):
    deep = folder / ("a-rather-long-folder-name-" * 4)
    deep.mkdir()
    scene(1).save(deep / "lake-deep.png")
    add(filled, deep / "lake-deep.png")
    asked = ("query", folder / "lake.png", "--format", "table")
    links = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "100"}
    text = cli(*asked, dsn=filled, env=links).stdout
    assert f"file://{deep}/lake-deep.png" in text
    lines = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;.*?\x1b\\", "", text).splitlines()
    assert len(lines) == 6 and all(len(line) <= 100 for line in lines)
    assert lines[0].split()[:5] == ["path", "sum", "phash", "dhash", "whash"]
    assert any("…" in line and "lake-deep.png" in line for line in lines)
    # Where no link can be drawn, a path can be copied as it stands.
    assert f"{deep}/lake-deep.png" in cli(*asked, dsn=filled, env={"COLUMNS": "100"}).stdout


def test_query_never_writes(cli, filled, folder):
    """Make the search itself try to write: the server must refuse."""
    with psycopg.connect(filled) as conn:
        conn.execute("CREATE SEQUENCE public.written")
        conn.execute(
            "CREATE OR REPLACE FUNCTION imgdb.distance(a bigint, b bigint) RETURNS integer"
            " LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
            " AS 'SELECT nextval(''public.written'')::integer'"
        )
    result = cli("query", folder / "lake.png", dsn=filled)
    assert result.code == 1
    assert "no writes" in result.stderr


def test_rows_without_a_file_are_shown(cli, database, folder):
    """Imported hashes: nothing is known of a file."""
    lake = images.query_by_file(folder / "lake.png").hashes
    with psycopg.connect(database) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('bought')")
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
            " SELECT collection_id, 'SKU-1', %s, 'exact-1' FROM imgdb.collection",
            (lake.phash,),
        )
    (match,) = matches(cli, folder / "lake.png", dsn=database)
    known = {name for name, value in match.items() if value is not None}
    assert known == {
        "query", "path", "distance", "phash_distance", "relation", "same_bytes", "images",
        "collection", "image_id",
    }  # fmt: skip
    assert not match["same_bytes"]
    table = cli("query", folder / "lake.png", "--format", "table", dsn=database).stdout
    assert table.splitlines()[1].split() == ["SKU-1", "0", "0"]


def test_a_name_that_is_not_utf8_is_spelled_out(cli, filled, folder):
    hostile = os.fsencode(folder) + b"/lake\n\xff.png"
    Path(os.fsdecode(hostile)).write_bytes((folder / "lake.png").read_bytes())
    found = matches(cli, "--files-from", "-", stdin=hostile + b"\0", dsn=filled)
    assert {match["query"] for match in found} == {f"{folder}/lake\\n\\xff.png"}


def test_the_hashes_on_offer_are_those_that_are_made():
    assert {*HashName} == {*ALGORITHMS}
    assert {*RuleName} == {*ALGORITHMS, USUAL_RULE}
