"""False matches as SQL counts them, against every image compared with every copy in numpy."""

import hashlib

import numpy as np
import psycopg
import pytest

from imgdb.hashes.values import bit_distance
from imgdb.search.calibration import false_matches as module
from imgdb.search.calibration.false_matches import (
    LARGEST,
    SEARCHED,
    Among,
    Copies,
    count_copies,
    false_matches,
)
from imgdb.search.calibration.measure import SAMPLE, SEARCHABLE

pytestmark = pytest.mark.sql

HASHES = ("ahash", "dhash", "phash", "whash")
ALIKE = 6


@pytest.fixture(scope="module")
def drawn():
    """Draw images that crowd: clusters, doubles, flat ones, missing hashes, two collections."""
    rng = np.random.default_rng(5)
    centres = rng.integers(-(2**63), 2**63 - 1, (12, 4))
    rows = []
    for number in range(240):
        hashes = centres[rng.integers(12)].copy()
        for column in range(4):
            for bit in rng.integers(0, 63, rng.integers(0, 14)):
                hashes[column] ^= np.int64(1) << np.int64(bit)
        lacking = rng.random(4) < 0.08
        if lacking.all():
            lacking[0] = False
        rows.append(
            {
                "image_id": 1_000_000 + number,
                "collection": "a" if number % 4 else "b",
                "path": f"/p/{number}",
                # Every tenth is of the same bytes as the one before.
                "sha256": hashlib.sha256(b"%d" % (number - (number % 10 == 9))).digest(),
                "flat": number % 17 == 0,
                "missing": number % 23 == 0,
                "imported": number % 29 == 0,
                **{
                    name: None if none else int(value)
                    for name, value, none in zip(HASHES, hashes, lacking, strict=True)
                },
            }
        )
    return rows


@pytest.fixture
def images(conn, drawn):
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
        {column: [row[column] for row in drawn] for column in drawn[0]},
    )
    return [row | {"sha256": None} if row["imported"] else row for row in drawn]


def alike(one, other):
    if one["sha256"] is not None and one["sha256"] == other["sha256"]:
        return True
    both = [n for n in HASHES if one[n] is not None and other[n] is not None]
    return bool(both) and all(bit_distance(one[n], other[n]) <= ALIKE for n in both)


def others(images, collection):
    return [row for row in images if not row["flat"] and collection in (None, row["collection"])]


def originals(images, space):
    return [
        row
        for row in images
        if not row["flat"] and row["sha256"] and not row["missing"] and row[space] is not None
    ][:40]


def edited(rows, space):
    rng = np.random.default_rng(6)
    return [
        Copies(
            row["image_id"],
            [
                row[space] ^ int(np.bitwise_or.reduce(np.int64(1) << rng.integers(0, 63, bits)))
                for bits in (1, 4, 9)
            ],
        )
        for row in rows
    ]


def counted(images, asked, space, collection):
    """Count by picture and distance what is not a copy of the original."""
    by_id = {row["image_id"]: row for row in images}
    counts = np.zeros((len(asked), 65))
    for number, copies in enumerate(asked):
        original = by_id[copies.original_id]
        for other in others(images, collection):
            if other is original or other[space] is None or alike(original, other):
                continue
            for value in copies.hashes:
                counts[number, bit_distance(other[space], value)] += 1 / len(copies.hashes)
    return counts[:, : LARGEST + 1]


def among(images, space, collection, **changes):
    count = sum(row[space] is not None for row in others(images, collection))
    given = {"images": count, "expected": None, "alike": ALIKE, "seed": 3, **changes}
    return Among(space=space, collection=collection, **given)


@pytest.mark.parametrize("collection", [None, "a"])
@pytest.mark.parametrize("space", HASHES)
def test_all_counted(conn, images, space, collection):
    asked = edited(originals(images, space), space)
    expected = counted(images, asked, space, collection).cumsum(axis=1)
    where = among(images, space, collection)
    drawn, found = false_matches(conn, where, asked)
    assert drawn == where.images
    assert [rate.value for rate in found] == pytest.approx(expected.mean(axis=0))
    assert found[SEARCHED].value > 0, "else this proves nothing"


@pytest.mark.parametrize("space", ["phash", "dhash"])
def test_near_ones_by_search_and_the_rest_estimated(conn, images, space, monkeypatch):
    asked = edited(originals(images, space), space)
    where = among(images, space, None)
    monkeypatch.setattr(module, "DRAWN_PAIRS", 60 * sum(len(one.hashes) for one in asked))
    drawn, found = false_matches(conn, where, asked)
    assert drawn == 60 < where.images
    exact = counted(images, asked, space, None).cumsum(axis=1).mean(axis=0)
    values = [rate.value for rate in found]
    assert values[: SEARCHED + 1] == pytest.approx(exact[: SEARCHED + 1])
    # Beyond: those of the images that the seed draws, scaled up.
    order = sorted(
        (row for row in others(images, None) if row[space] is not None),
        key=lambda row: hashlib.sha256((3).to_bytes(8, "big") + row["path"].encode()).digest(),
    )
    drawn_ids = {row["image_id"] for row in order[:60]}
    only = [row | {"flat": row["image_id"] not in drawn_ids} for row in images]
    of_drawn = counted(only, asked, space, None).mean(axis=0) * where.images / 60
    beyond = values[SEARCHED] + of_drawn[SEARCHED + 1 :].cumsum()
    assert values[SEARCHED + 1 :] == pytest.approx(beyond)
    assert values == sorted(values)


def test_fewer_copies_where_all_are_too_many(conn, images, monkeypatch):
    asked = edited(originals(images, "phash"), "phash")
    where = among(images, "phash", None)
    monkeypatch.setattr(module, "DRAWN_PAIRS", 1)
    monkeypatch.setattr(module, "SEARCHED_PAIRS", where.images * len(asked))
    _, found = false_matches(conn, where, asked)
    # A third of the copies: of each picture one, of the next picture the next one.
    third = [
        Copies(one.original_id, one.hashes[row % 3 : row % 3 + 1]) for row, one in enumerate(asked)
    ]
    exact = counted(images, third, "phash", None).cumsum(axis=1).mean(axis=0)
    assert [rate.value for rate in found[: SEARCHED + 1]] == pytest.approx(exact[: SEARCHED + 1])


def test_a_collection_that_will_be_larger(conn, images):
    asked = edited(originals(images, "phash"), "phash")
    where = among(images, "phash", None)
    _, now = false_matches(conn, where, asked)
    _, then = false_matches(conn, among(images, "phash", None, expected=10 * where.images), asked)
    assert [rate.value for rate in then] == pytest.approx([10 * rate.value for rate in now])
    assert [rate.high for rate in then] == pytest.approx([10 * rate.high for rate in now])


@pytest.mark.parametrize("collection", [None, "b"])
def test_copies(conn, images, collection):
    rows = [row for row in images if row["sha256"]][:60]
    expected = sum(
        other is not row and alike(row, other)
        for row in rows
        for other in others(images, collection)
    )
    asked = [row["image_id"] for row in rows]
    assert expected > 3
    assert count_copies(conn, asked, collection=collection, alike=ALIKE) == expected


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
        *(sum(row[name] is not None for row in rows) for name in HASHES),
    )


def test_set_default_max_distance(conn):
    def set_to(space, distance):
        return conn.execute(
            "SELECT imgdb.set_default_max_distance(%s, max_distance => %s)", (space, distance)
        ).fetchone()[0]

    others_before = conn.execute("SELECT * FROM imgdb.space WHERE name <> 'dhash'").fetchall()
    assert set_to("dhash", 5) == 8
    assert set_to("dhash", 5) == 5
    assert set_to("dhash", 64) == 5
    assert conn.execute(
        "SELECT default_max_distance FROM imgdb.space WHERE name = 'dhash'"
    ).fetchone() == (64,)
    assert (
        conn.execute("SELECT * FROM imgdb.space WHERE name <> 'dhash'").fetchall() == others_before
    )


@pytest.mark.parametrize(
    ("space", "distance", "sqlstate"),
    [("nothing", 8, "IM001"), ("dhash", 65, "IM002"), ("dhash", None, "IM002")],
)
def test_wrong_defaults(conn, space, distance, sqlstate):
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("SELECT imgdb.set_default_max_distance(%s, %s)", (space, distance))
    assert error.value.sqlstate == sqlstate
