"""PDQ hashes: exact search by four words, its twin, and what goes with an image."""

import re
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import errors

from imgdb.hashes.values import Pdq, pdq_distance, pdq_from_hex, pdq_to_hex

words = st.tuples(*[st.integers(-(1 << 63), (1 << 63) - 1)] * 4)
ROWS = "SELECT image_id, distance FROM imgdb.{}(%s::bigint[], %s)"


def store(conn: psycopg.Connection, hashes: list[Pdq]) -> list[int]:
    """Add an image for each hash, and return their ids."""
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('pdq') ON CONFLICT DO NOTHING")
    rows = conn.execute(
        "WITH made AS (INSERT INTO imgdb.image (collection_id, path, recipe)"
        " SELECT c.collection_id, 'pdq ' || n || ' ' || gen_random_uuid(), 'imported'"
        " FROM imgdb.collection AS c, generate_series(1, %s) AS n WHERE c.name = 'pdq'"
        " RETURNING image_id) SELECT image_id FROM made ORDER BY 1",
        [len(hashes)],
    ).fetchall()
    ids = [image_id for (image_id,) in rows]
    conn.execute(
        "INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)"
        " SELECT *, 'imported' FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[],"
        " %s::bigint[], %s::bigint[])",
        [ids, *map(list, zip(*hashes, strict=True))],
    )
    return ids


def search(conn: psycopg.Connection, function: str, query: Pdq, distance: int):
    return conn.execute(ROWS.format(function), [list(query), distance]).fetchall()


def flipped(pdq: Pdq, bits: set[int]) -> Pdq:
    """Turn bits, the first one being that of the first hex digit."""
    number = int(pdq_to_hex(pdq), 16) ^ sum(1 << 255 - bit for bit in bits)
    return pdq_from_hex(f"{number:064x}")


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Pdq], Pdq]:
    """Some hashes, of which many are near each other, and a query near one of them."""
    centres = draw(st.lists(words, min_size=1, max_size=4))
    turned = st.sets(st.integers(0, 255), max_size=60) | st.sets(st.integers(0, 63), max_size=33)
    near = st.builds(flipped, st.sampled_from(centres), turned)
    return draw(st.lists(near, min_size=1, max_size=12)), draw(near)


@given(collections(), st.integers(0, 256) | st.sampled_from([0, 1, 2, 3, 4, 28, 31, 32, 51, 52]))
def test_within_pdq_is_scan_pdq_is_brute_force(conn, given, distance):
    hashes, query = given
    with conn.transaction(force_rollback=True):
        ids = store(conn, hashes)
        expected = sorted(
            (far, image_id)
            for image_id, pdq in zip(ids, hashes, strict=True)
            if (far := pdq_distance(pdq, query)) <= distance
        )
        for function in ("within_pdq", "scan_pdq"):
            found = search(conn, function, query, distance)
            assert [(far, image_id) for image_id, far in found] == expected, function


@pytest.mark.parametrize("distance", [0, 1, 2, 3, 4, 5, 27, 28, 29, 30, 31, 51])
def test_a_match_whose_bits_are_dealt_out_evenly_is_found(conn, distance):
    """The hardest case for the pigeonhole: no word is nearer than it must be."""
    rng = np.random.default_rng(distance)
    base = pdq_from_hex(rng.bytes(32).hex())
    for first in range(4):
        bits: set[int] = set()
        for turn in range(distance):
            word = (first + turn) % 4
            bits.add(
                64 * word + int(rng.choice([b for b in range(64) if 64 * word + b not in bits]))
            )
        with conn.transaction(force_rollback=True):
            (image_id,) = store(conn, [flipped(base, bits)])
            assert search(conn, "within_pdq", base, distance) == [(image_id, distance)]
            if distance:
                assert search(conn, "within_pdq", base, distance - 1) == []


def test_words_of_other_places_are_no_match(conn):
    """All words are in one space: a word only counts where it stands."""
    query = (1 << 40, -7, 0x0F0F, 99)
    with conn.transaction(force_rollback=True):
        store(conn, [(-7, 99, 1 << 40, 0x0F0F), tuple(query[::-1])])
        (same,) = store(conn, [query])
        assert search(conn, "within_pdq", query, 0) == [(same, 0)]


@given(words, words)
def test_distance_and_hex(conn, a, b):
    found = conn.execute(
        "SELECT imgdb.pdq_distance(%s::bigint[], %s::bigint[]), imgdb.pdq_to_hex(%s::bigint[]),"
        " imgdb.pdq_from_hex(%s)",
        [list(a), list(b), list(a), pdq_to_hex(b).upper()],
    ).fetchone()
    assert found == (pdq_distance(a, b), pdq_to_hex(a), list(b))


@pytest.mark.parametrize(
    ("call", "state"),
    [
        ("imgdb.pdq_from_hex('" + "0" * 63 + "')", "IM003"),
        ("imgdb.pdq_from_hex('" + "g" * 64 + "')", "IM003"),
        ("imgdb.within_pdq('{1,2,3}', 31)", "IM012"),
        ("imgdb.within_pdq('{1,2,3,4,5}', 31)", "IM012"),
        ("imgdb.within_pdq('{1,2,NULL,4}', 31)", "IM012"),
        ("imgdb.within_pdq(NULL, 31)", "IM012"),
        ("imgdb.scan_pdq('{{1,2,3,4}}', 31)", "IM012"),
        ("imgdb.within_pdq('{1,2,3,4}', NULL)", "IM002"),
        ("imgdb.within_pdq('{1,2,3,4}', -1)", "IM002"),
        ("imgdb.scan_pdq('{1,2,3,4}', 257)", "IM002"),
    ],
)
def test_wrong_arguments(conn, call, state):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(f"SELECT {call}")
    assert caught.value.sqlstate == state


def test_an_image_takes_its_pdq_along_and_another_content_forgets_it(conn):
    gone, changed, kept = store(conn, [(1, 2, 3, 4)] * 3)
    conn.execute("DELETE FROM imgdb.image WHERE image_id = %s", [gone])
    conn.execute(
        "UPDATE imgdb.image SET sha256 = sha256(path::bytea), byte_size = 1, modified_at = now(),"
        " format = 'PNG', width = 1, height = 1, frames = 1 WHERE image_id = %s",
        [changed],
    )
    conn.execute("UPDATE imgdb.image SET phash = 1 WHERE image_id = %s", [kept])
    assert search(conn, "scan_pdq", (1, 2, 3, 4), 0) == [(kept, 0)]


def test_a_quality_is_a_percentage(conn):
    (image_id,) = store(conn, [(1, 2, 3, 4)])
    with pytest.raises(errors.CheckViolation, match="image_pdq_quality_check"):
        conn.execute("UPDATE imgdb.image_pdq SET quality = 101 WHERE image_id = %s", [image_id])


# The statement that docs/sql.md shows for tables of one's own.
PAGE = (Path(__file__).parents[2] / "docs/sql.md").read_text("utf-8")
OWN_TABLE = re.search(r"^WITH asked AS .*?;", PAGE, re.DOTALL | re.MULTILINE)[0]
SCANS = "SELECT pg_stat_get_xact_numscans('{}'::regclass)"


def plan_nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


@pytest.mark.slow
def test_many_rows_are_found_by_index(database):
    count = 20_000  # of fewer, a plan reads the whole table sooner, not later
    word = "('x' || substr(md5(n::text), {}, 16))::bit(64)::bigint"
    words = f"{word.format(1)}, {word.format(17)}, hashint8extended(n, 3), hashint8extended(n, 4)"
    with psycopg.connect(database, autocommit=True) as conn:
        # Else statistics are there or not as the machine's load has it.
        conn.execute("ALTER TABLE imgdb.image_pdq SET (autovacuum_enabled = off)")
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('many')")
        conn.execute(
            "INSERT INTO imgdb.image (image_id, collection_id, path, recipe) SELECT n,"
            " c.collection_id, n, 'imported' FROM imgdb.collection AS c,"
            f" generate_series(1, {count}) AS n"
        )
        conn.execute(
            "INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)"
            f" SELECT n, {words}, 'imported' FROM generate_series(1, {count}) AS n"
        )
        conn.execute(
            "CREATE SCHEMA police; CREATE TABLE police.known (known_id bigint, pdq_1 bigint,"
            " pdq_2 bigint, pdq_3 bigint, pdq_4 bigint) WITH (autovacuum_enabled = off)"
        )
        for number in range(1, 5):
            conn.execute(f"CREATE INDEX ON police.known (pdq_{number})")
            conn.execute(f"SELECT imgdb.track('police.known', 'pdq_{number}', 'known_pdq')")
        conn.execute(
            f"INSERT INTO police.known SELECT n, {words} FROM generate_series(1, 2000) AS n"
        )
        conn.execute("INSERT INTO police.known SELECT n FROM generate_series(1, 100000) AS n")
        (query,) = conn.execute(
            "SELECT ARRAY[pdq_1, pdq_2, pdq_3, pdq_4] FROM imgdb.image_pdq WHERE image_id = 77"
        ).fetchone()
        for statistics in ("", "ANALYZE"):
            conn.execute(statistics)
            with conn.transaction():
                # Older servers count what a session did just before, too.
                (before,) = conn.execute(SCANS.format("imgdb.image_pdq")).fetchone()
                for distance in (0, 3, 31, 47):
                    found = search(conn, "within_pdq", tuple(query), distance)
                    assert found == [(77, 0)]
                assert conn.execute(SCANS.format("imgdb.image_pdq")).fetchone() == (before,)
                scanned = search(conn, "scan_pdq", tuple(query), 31)
                assert scanned == [(77, 0)]
                assert conn.execute(SCANS.format("imgdb.image_pdq")).fetchone() == (before + 1,)
            statement = OWN_TABLE.replace(
                re.search(r"imgdb.pdq_from_hex\(.*?\) AS q", OWN_TABLE)[0],
                f"'{{{','.join(map(str, query))}}}'::bigint[] AS q",
            )
            assert conn.execute(statement).fetchall() == [(77, 0)]
            ((plan,),) = conn.execute(f"EXPLAIN (FORMAT JSON) {statement}").fetchall()
            kinds = [
                node["Node Type"]
                for node in plan_nodes(plan[0]["Plan"])
                if node.get("Relation Name") == "known" or "known" in node.get("Index Name", "")
            ]
            assert "Bitmap Index Scan" in kinds
            assert "Seq Scan" not in kinds
