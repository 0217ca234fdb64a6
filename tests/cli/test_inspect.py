"""`imgdb stats`, `failures`, `space stats`, `space explain` on databases with known content."""

import csv
import io
import json

import psycopg
import pytest
from library import add, shelf

from imgdb import schema
from imgdb.hashes.values import ALGORITHMS
from imgdb.search.images import query_by_file


@pytest.fixture
def folder(tmp_path):
    return shelf(tmp_path / "shelf")


@pytest.fixture
def filled(database, folder):
    add(database, *sorted(folder.iterdir()))
    with psycopg.connect(database) as conn:
        conn.execute(
            "INSERT INTO imgdb.ingest_failure (collection_id, path, reason, detail)"
            " SELECT collection_id, path, reason, '' FROM imgdb.collection,"
            " (VALUES ('/a.jpg', 'truncated'), ('/b.jpg', 'truncated'), ('/c.jpg', 'broken'))"
            " AS f (path, reason)"
        )
        conn.execute("UPDATE imgdb.image SET missing_since = now() WHERE path ~ 'hill'")
    return database


def printed(cli, *args, **options):
    result = cli(*args, "--format", "json", **options)
    assert (result.code, result.stderr) == (0, ""), result
    return json.loads(result.stdout)


def test_stats_count_what_is_there(cli, filled):
    found = printed(cli, "stats", dsn=filled)
    assert (found["images"], found["flat"], found["missing"]) == (6, 1, 1)
    assert found["failures"] == 3
    assert found["failures_by_reason"] == {"truncated": 2, "broken": 1}
    assert found["collections"] == [{"name": "default", "images": 6}]
    assert found["schema_revision"] == schema.head()
    with psycopg.connect(filled) as conn:
        assert found["server_version"] == conn.info.parameter_status("server_version")
        tracked = conn.execute(
            "SELECT s.name, string_agg(format('SELECT %I FROM %s', t.column_name, t.table_id),"
            " ' UNION ALL ') FROM imgdb.tracked_column AS t"
            " JOIN imgdb.space AS s USING (space_id) GROUP BY s.name ORDER BY s.name"
        ).fetchall()
        for space, (_, columns) in zip(found["spaces"], tracked, strict=True):
            counted = f"SELECT count(DISTINCT h) FROM ({columns}) AS c (h)"
            (distinct,) = conn.execute(counted).fetchone()
            assert space["distinct_hashes"] == distinct
        (size,) = conn.execute(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
            " WHERE relnamespace = 'imgdb'::regnamespace AND relkind = 'r'"
        ).fetchone()
    assert [space["name"] for space in found["spaces"]] == [name for name, *_ in tracked]
    assert [name for name, *_ in tracked] == sorted([*ALGORITHMS, "pdq", "region"])
    sizes = [table["bytes"] + sum(table["indexes"].values()) for table in found["tables"]]
    assert sum(sizes) == size and sizes == sorted(sizes, reverse=True)
    (image,) = (table for table in found["tables"] if table["name"] == "image")
    assert "image_phash_idx" in image["indexes"]


def test_stats_never_tell_a_password(cli, filled):
    result = cli("stats", dsn=f"{filled} password=secret")
    assert result.code == 0 and "secret" not in result.stdout


def test_stats_as_table_and_csv(cli, filled):
    table = cli("stats", "--format", "table", dsn=filled).stdout
    assert ["images", "6"] in [line.split() for line in table.splitlines()]
    text = cli("stats", "--format", "csv", dsn=filled).stdout
    assert {"what": "failures: broken", "value": "1"} in [*csv.DictReader(io.StringIO(text))]


def test_stats_of_an_empty_database(cli, database):
    found = printed(cli, "stats", dsn=database)
    assert (found["images"], found["failures"], found["failures_by_reason"]) == (0, 0, {})
    assert all(space["bytes_per_hash"] is None for space in found["spaces"])


def test_stats_of_spaces(cli, filled):
    """`imgdb space stats` says of a space what `imgdb stats` says of it."""
    of_all = {space.pop("name"): space for space in printed(cli, "stats", dsn=filled)["spaces"]}
    found = printed(cli, "space", "stats", dsn=filled)
    assert {space.pop("space"): space for space in found} == of_all
    (one,) = printed(cli, "space", "stats", "dhash", dsn=filled)
    assert one == {"space": "dhash", **of_all["dhash"]}
    table = cli("space", "stats", "--format", "table", dsn=filled).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["space", *of_all]


def test_failures_are_listed(cli, filled):
    found = printed(cli, "failures", dsn=filled)
    assert [(f["path"], f["reason"]) for f in found] == [
        ("/a.jpg", "truncated"),
        ("/b.jpg", "truncated"),
        ("/c.jpg", "broken"),
    ]
    assert len(printed(cli, "failures", "--reason", "broken", dsn=filled)) == 1
    assert len(printed(cli, "failures", "--collection", "default", dsn=filled)) == 3
    assert cli("failures", "--collection", "none", dsn=filled).code == 2
    assert cli("failures", "--reason", "bad luck", dsn=filled).code == 2


def test_explain_a_picture(cli, filled, folder):
    found = printed(cli, "space", "explain", folder / "lake.png", dsn=filled)
    assert [row["space"] for row in found] == [*ALGORITHMS]
    usual = {"ahash": 2, "dhash": 4, "phash": 8, "whash": 2}
    for row in found:
        # Few hashes: to read them all costs less than probes.
        assert (row["strategy"], row["probes"]) == ("scan", 0)
        assert row["max_distance"] == usual[row["space"]]
        assert row["candidates"] >= row["matches"] >= 1
        assert row["milliseconds"] > 0


def test_explain_a_hash(cli, filled, folder):
    phash = f"{query_by_file(folder / 'lake.png').hashes.phash % 2**64:016x}"
    (row,) = printed(cli, "space", "explain", "--hex", phash, "--max-distance", "20", dsn=filled)
    assert (row["space"], row["strategy"], row["probes"]) == ("phash", "scan", 0)
    (row,) = printed(cli, "space", "explain", "--hex", phash, "--hash", "dhash", dsn=filled)
    assert (row["space"], row["matches"]) == ("dhash", 0)


def test_explain_the_rule_as_it_is_searched(cli, filled, folder):
    """Each hash is asked for within half of the sum."""
    lake = folder / "lake.png"
    found = printed(cli, "space", "explain", lake, "--hash", "phash+dhash", dsn=filled)
    assert [(row["space"], row["max_distance"]) for row in found] == [("phash", 8), ("dhash", 8)]
    hashes = query_by_file(lake).hashes
    pair = "+".join(f"{value % 2**64:016x}" for value in (hashes.phash, hashes.dhash))
    found = printed(
        cli, "space", "explain", "--hex", pair, "--hash", "phash+dhash", "--max-distance", "30",
        dsn=filled,
    )  # fmt: skip
    assert [(row["space"], row["max_distance"]) for row in found] == [("phash", 15), ("dhash", 15)]
    assert all(row["matches"] for row in found)


@pytest.fixture
def own(filled):
    """Make a space as a service makes it, with three hashes 0, 1 and 5 bits from one."""
    with psycopg.connect(filled, autocommit=True) as conn:
        conn.execute("SELECT imgdb.create_space('product', 'covers')")
        conn.execute("SELECT imgdb.set_default_max_distance('product', max_distance => 3)")
        conn.execute("CREATE TABLE public.product (id integer, cover bigint)")
        conn.execute("SELECT imgdb.track('public.product', 'cover', 'product')")
        conn.execute("INSERT INTO public.product VALUES (1, 256), (2, 257), (3, 256 + 31)")
    return filled


HEX = f"{256:016x}"


def test_a_space_of_ones_own_is_searched_and_explained(cli, own):
    def found(*args):
        rows = printed(cli, "space", "search", "product", "--hex", HEX, *args, dsn=own)
        return [(row["hash"], row["distance"]) for row in rows]

    near = [(HEX, 0), (f"{257:016x}", 1)]
    assert found() == near
    assert found("--max-distance", "0") == near[:1]
    assert found("--max-distance", "5") == [*near, (f"{256 + 31:016x}", 5)]
    assert found("--nearest", "2") == near
    (row,) = printed(cli, "space", "explain", "--space", "product", "--hex", HEX, dsn=own)
    assert (row["space"], row["max_distance"], row["matches"]) == ("product", 3, 2)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("search", "nobody", "--hex", HEX), "nobody"),
        (("search", "phash", "--hex", "xyz"), "xyz"),
        (("search", "phash", "--hex", HEX, "--nearest", "2", "--max-distance", "3"), "--nearest"),
        (("explain", "--space", "nobody", "--hex", HEX), "nobody"),
        (("explain", "x.jpg", "--space", "phash"), "--space"),
        (("explain", "--hex", HEX, "--max-distance", "65"), "64 at most"),
    ],
)
def test_what_cannot_be_asked_of_a_space(cli, filled, args, says):
    result = cli("space", *args, dsn=filled)
    assert result.code == 2 and says in result.stderr


def test_explain_what_cannot_be_read(cli, filled):
    result = cli("space", "explain", "gone.png", dsn=filled)
    assert (result.code, len(result.stderr.splitlines())) == (1, 1)
    assert cli("space", "explain", dsn=filled).code == 2
