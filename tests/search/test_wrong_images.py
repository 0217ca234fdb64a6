"""Wrong images as they are counted in blocks, against every pair one by one."""

import hashlib
from itertools import pairwise

import numpy as np
import psycopg
import pytest

from imgdb.hashes.values import PDQ_RULES, Hashes, bit_distance, pdq_distance, rule_distance
from imgdb.search.calibration import rules as all_rules
from imgdb.search.calibration import wrong_images as module
from imgdb.search.calibration.measure import SAMPLE, SEARCHABLE
from imgdb.search.calibration.rules import TRIMMED, hashes_of, largest, searched
from imgdb.search.calibration.wrong_images import (
    drawn_images,
    wrong_images,
    wrong_when_trimmed,
)

pytestmark = pytest.mark.sql

HASHES = ("ahash", "dhash", "phash", "whash")
ALIKE = 6
RULES = [rule for rule in all_rules.RULES if rule != TRIMMED]


@pytest.fixture(scope="module")
def rows():
    """Draw images that crowd: clusters, doubles, flat ones, missing hashes, two collections."""
    rng = np.random.default_rng(5)
    centres = rng.integers(-(2**63), 2**63 - 1, (12, 8))
    made = []
    for number in range(240):
        hashes = centres[rng.integers(12)].copy()
        for column in range(8):
            for bit in rng.integers(0, 63, rng.integers(0, 14)):
                hashes[column] ^= np.int64(1) << np.int64(bit)
        lacking = rng.random(4) < 0.08
        if lacking.all():
            lacking[0] = False
        made.append(
            {
                "image_id": 1_000_000 + number,
                "collection": "a" if number % 4 else "b",
                "path": f"/p/{number}",
                # Every tenth is of the same bytes as the one before.
                "sha256": hashlib.sha256(b"%d" % (number - (number % 10 == 9))).digest(),
                "flat": number % 17 == 0,
                "missing": number % 23 == 0,
                "imported": number % 29 == 0,
                "pdq": None if number % 13 == 5 else tuple(int(word) for word in hashes[4:]),
                **{
                    name: None if none else int(value)
                    for name, value, none in zip(HASHES, hashes[:4], lacking, strict=True)
                },
            }
        )
    return made


@pytest.fixture
def images(conn, rows):
    """Store the images, in one statement."""
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
    conn.execute(
        "INSERT INTO imgdb.image (image_id, collection_id, path, sha256, byte_size, modified_at,"
        " format, width, height, frames, flat, missing_since, recipe, ahash, dhash, phash, whash)"
        " SELECT n.image_id, c.collection_id, n.path, CASE WHEN NOT n.imported THEN n.sha256 END,"
        "  CASE WHEN NOT n.imported THEN 1 END, CASE WHEN NOT n.imported THEN now() END,"
        "  CASE WHEN NOT n.imported THEN 'PNG' END, CASE WHEN NOT n.imported THEN 1 END,"
        "  CASE WHEN NOT n.imported THEN 1 END, CASE WHEN NOT n.imported THEN 1 END,"
        "  n.flat, CASE WHEN n.missing THEN now() END, 'exact-1',"
        "  n.ahash, n.dhash, n.phash, n.whash"
        " FROM unnest(%(image_id)s::bigint[], %(collection)s::text[], %(path)s::text[],"
        "  %(sha256)s::bytea[], %(flat)s::boolean[], %(missing)s::boolean[],"
        "  %(imported)s::boolean[], %(ahash)s::bigint[], %(dhash)s::bigint[], %(phash)s::bigint[],"
        "  %(whash)s::bigint[]) AS n (image_id, collection, path, sha256, flat, missing, imported,"
        "  ahash, dhash, phash, whash)"
        " JOIN imgdb.collection AS c ON c.name = n.collection",
        {column: [row[column] for row in rows] for column in rows[0] if column != "pdq"},
    )
    conn.cursor().executemany(
        "INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)"
        " VALUES (%s, %s, %s, %s, %s, 'pdq-1')",
        [(row["image_id"], *row["pdq"]) for row in rows if row["pdq"]],
    )
    return [row | {"sha256": None} if row["imported"] else row for row in rows]


def alike(one, other):
    both = [n for n in HASHES if one[n] is not None and other[n] is not None]
    return bool(both) and all(bit_distance(one[n], other[n]) <= ALIKE for n in both)


def others(images, collection):
    return [row for row in images if not row["flat"] and collection in (None, row["collection"])]


def in_order(rows, seed):
    """Return rows as the seed draws them."""
    place = seed.to_bytes(8, "big")
    return sorted(rows, key=lambda row: hashlib.sha256(place + row["path"].encode()).digest())


def of_rule(row, rule):
    return [row[name] for name in hashes_of(rule)]


def apart(query, row, rule):
    if rule not in PDQ_RULES:
        return rule_distance(of_rule(query, rule), of_rule(row, rule))
    if rule == "phash-pdq" and bit_distance(query["phash"], row["phash"]) > 12:
        return 256
    return pdq_distance(query["pdq"], row["pdq"])


def counted(rows, queries, rule):
    """Count what is not a copy of a query, by distance, for each query that has the hashes."""
    known = [row for row in rows if None not in of_rule(row, rule)]
    counts = []
    for query in queries:
        if None in of_rule(query, rule):
            continue
        found = [
            apart(query, row, rule) for row in known if row is not query and not alike(query, row)
        ]
        counts.append([sum(d <= radius for d in found) for radius in range(largest(rule) + 1)])
    return len(known), np.array(counts)


@pytest.fixture
def asked(conn, images):
    """Give a function that counts among the images."""

    def ask(collection, at=None, seed=3):
        rows = others(images, collection)
        having = {rule: sum(None not in of_rule(r, rule) for r in rows) for rule in RULES}
        drawn = drawn_images(conn, collection, seed)
        return wrong_images(drawn, RULES, images=having, at=at, alike=ALIKE)

    return ask


@pytest.mark.parametrize("collection", [None, "a"])
def test_all_are_counted_where_there_are_few(images, asked, collection, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 1000)
    rows = others(images, collection)
    wrong, copies = asked(collection)
    pairs = sum(alike(a, b) for a in rows for b in rows if a is not b)
    assert pairs > 3
    assert copies == pytest.approx(pairs / len(rows))
    for rule in RULES:
        known, counts = counted(rows, rows, rule)
        one = wrong[rule]
        assert (one.images, one.queries) == (known, len(counts))
        values = [rate.value for rate in one.per_query]
        assert values == pytest.approx(counts.mean(axis=0))
        assert values[searched(rule)] > 0, "else this proves nothing"
        assert all(rate.low <= rate.value <= rate.high for rate in one.per_query)


def test_of_many_some_are_drawn_and_the_answer_is_for_all(images, asked, monkeypatch):
    monkeypatch.setattr(module, "QUERIES", 50)
    monkeypatch.setattr(module, "PAIRS", 50 * 120)
    drawn = in_order(others(images, None), 3)[:120]
    wrong, _ = asked(None, at=100_000)
    for rule in RULES:
        known, counts = counted(drawn, drawn[:50], rule)
        expected = counts.mean(axis=0) * 100_000 / known
        assert (wrong[rule].images, wrong[rule].queries) == (known, len(counts))
        assert [rate.value for rate in wrong[rule].per_query] == pytest.approx(expected)
    again, _ = asked(None, at=100_000)
    assert again == wrong
    other, _ = asked(None, at=100_000, seed=4)
    assert other != wrong


def test_twice_as_many_images_show_twice_as_many_wrong_ones(asked):
    now, _ = asked(None, at=1000)
    then, _ = asked(None, at=2000)
    for rule in RULES:
        for a, b in zip(now[rule].per_query, then[rule].per_query, strict=True):
            assert (b.value, b.high) == pytest.approx((2 * a.value, 2 * a.high))
        assert all(a.value <= b.value for a, b in pairwise(now[rule].per_query))


def test_pictures_without_their_borders_show_more(conn, images, asked):
    """As many more as are near one look and not near the whole, and are no copies."""
    usual = "phash+dhash"
    wrong, _ = asked(None)
    rows = [row for row in others(images, None) if None not in of_rule(row, usual)]
    known = [row for row in rows if None not in (row["ahash"], row["whash"])]
    pictures = [(known[0], known[5:7]), (known[1], [])]
    queries = [
        (
            as_hashes(row),
            [(as_hashes(row), [as_hashes(look) for look in looks]), (as_hashes(row), [])],
        )
        for row, looks in pictures
    ]
    more = np.zeros((2, 33))
    for place, (row, looks) in enumerate(pictures):
        for other in rows:
            if alike(row, other):
                continue
            whole = apart(row, other, usual)
            nearest = min([whole, *(apart(look, other, usual) for look in looks)])
            more[place, nearest : max(whole, nearest)] += 0.5  # of two copies one has borders
    assert more.any()
    drawn = drawn_images(conn, None, 3)
    found = wrong_when_trimmed(
        drawn, wrong[usual], queries, images=len(rows), at=10 * len(rows), alike=ALIKE
    )
    before = [rate.value for rate in wrong[usual].per_query]
    assert [rate.value for rate in found.per_query] == pytest.approx(
        before + 10 * more.mean(axis=0)
    )
    assert all(rate.low <= rate.value <= rate.high for rate in found.per_query)


def as_hashes(row):
    return Hashes(*(row[name] for name in HASHES))


def test_no_images_are_no_error(conn):
    wrong, copies = wrong_images(
        drawn_images(conn, None, 0), RULES, images=dict.fromkeys(RULES, 0), at=100, alike=ALIKE
    )
    assert copies == 0
    assert {one.queries for one in wrong.values()} == {0}


def test_an_unknown_collection_is_an_error(conn):
    with pytest.raises(psycopg.DatabaseError) as error:
        drawn_images(conn, "nosuch", 0)
    assert error.value.sqlstate == "IM011"


def sample(conn, **given):
    return conn.execute(SAMPLE, {"collection": None, "size": 500, "seed": 0, **given}).fetchall()


def test_sample(conn, images):
    drawable = {
        row["sha256"] for row in images if row["sha256"] and not row["flat"] and not row["missing"]
    }
    everything = sample(conn)
    assert [row[2] for row in everything] == sorted(
        drawable, key=lambda value: hashlib.sha256(bytes(8) + value).digest()
    )
    first_of = {}
    for row in sorted(images, key=lambda row: row["path"]):
        if row["sha256"] in drawable and not row["flat"] and not row["missing"]:
            first_of.setdefault(row["sha256"], row["path"])
    assert {row[2]: row[1] for row in everything} == first_of
    assert sample(conn, size=30) == everything[:30]
    assert sample(conn, size=30, seed=-1)[0] != everything[0]
    in_a = {row["path"] for row in images if row["collection"] == "a"}
    drawn_of_a = {row[1] for row in sample(conn, collection="a")}
    assert drawn_of_a and drawn_of_a <= in_a
    with pytest.raises(psycopg.DatabaseError) as error:
        sample(conn, collection="c")
    assert error.value.sqlstate == "IM011"


@pytest.mark.parametrize("collection", [None, "a"])
def test_searchable(conn, images, collection):
    found = conn.execute(SEARCHABLE, {"collection": collection}).fetchone()
    rows = others(images, collection)
    assert found == (
        len(rows),
        sum(row["sha256"] is not None and not row["missing"] for row in rows),
        *(sum(row[name] is not None for row in rows) for name in (*HASHES, "pdq")),
        sum(None not in (row["phash"], row["dhash"]) for row in rows),
        sum(None not in (row["phash"], row["pdq"]) for row in rows),
        0,
    )


NAMES = ("dhash", "phash+dhash")


def set_to(conn, space, distance, collection=None):
    return conn.execute(
        "SELECT imgdb.set_default_max_distance(%s, %s, collection_name => %s)",
        (space, distance, collection),
    ).fetchone()[0]


def default(conn, space, collection=None):
    question = "SELECT imgdb._default_distance(%s, %s)"
    return conn.execute(question, (space, collection)).fetchone()[0]


@pytest.mark.parametrize(("name", "most"), [("dhash", 64), ("phash+dhash", 128)])
def test_set_default_max_distance(conn, name, most):
    others = {other: default(conn, other) for other in (*HASHES, "phash+dhash") if other != name}
    before = default(conn, name)
    assert set_to(conn, name, 5) == before
    assert set_to(conn, name, most) == 5
    assert set_to(conn, name, most) == most
    assert default(conn, name) == most
    assert others == {other: default(conn, other) for other in others}


@pytest.mark.parametrize("name", NAMES)
def test_a_collection_has_a_default_of_its_own(conn, name):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
    usual = default(conn, name)
    assert set_to(conn, name, 1, "a") is None
    assert set_to(conn, name, 3, "a") == 1
    assert [default(conn, name, where) for where in ("a", "b", None)] == [3, usual, usual]
    assert set_to(conn, name, 7) == usual
    assert [default(conn, name, where) for where in ("a", "b", None)] == [3, 7, 7]
    assert set_to(conn, name, None, "a") == 3
    assert set_to(conn, name, None, "a") is None
    assert default(conn, name, "a") == 7
    set_to(conn, name, 2, "a")
    conn.execute("DELETE FROM imgdb.collection WHERE name = 'a'")
    assert conn.execute("SELECT count(*) FROM imgdb.collection_rule").fetchone() == (0,)


@pytest.mark.parametrize(
    ("space", "distance", "collection", "sqlstate"),
    [
        ("nothing", 8, None, "IM001"),
        ("dhash", 65, None, "IM002"),
        ("dhash", None, None, "IM002"),
        ("phash+dhash", 129, None, "IM002"),
        ("phash+dhash", -1, "a", "IM002"),
        ("dhash", 65, "a", "IM002"),
        ("region", 8, "a", "IM009"),
        ("dhash", 8, "b", "IM011"),
        ("nothing", 8, "a", "IM001"),
    ],
)
def test_wrong_defaults(conn, space, distance, collection, sqlstate):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a')")
    with pytest.raises(psycopg.DatabaseError) as error:
        set_to(conn, space, distance, collection)
    assert error.value.sqlstate == sqlstate
