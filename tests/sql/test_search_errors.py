"""Every error of the search functions: its SQLSTATE, a hint that helps, and nothing changed."""

import psycopg
import pytest

# Statement to SQLSTATE and a piece of the message.
ERRORS = {
    "SELECT imgdb.within('none', 0, 4)": ("IM001", '"none"'),
    "SELECT imgdb.within('none', 0, 40)": ("IM001", '"none"'),
    "SELECT imgdb.within(NULL, 0, 4)": ("IM001", "space"),
    "SELECT imgdb.within_any('none', '{0}', 4)": ("IM001", '"none"'),
    "SELECT imgdb.nearest('none', 0, 4)": ("IM001", '"none"'),
    "SELECT imgdb.scan('none', 0, 4)": ("IM001", '"none"'),
    "SELECT imgdb.pairs('none', 4)": ("IM001", '"none"'),
    "SELECT imgdb.pairs('none', 0)": ("IM001", '"none"'),
    "SELECT imgdb.explain('none', 0, 4)": ("IM001", '"none"'),
    "SELECT imgdb.check_space('none', 1, 4)": ("IM001", '"none"'),
    "SELECT imgdb.missing_hashes('none')": ("IM001", '"none"'),
    "SELECT imgdb.space_statistics('none')": ("IM001", '"none"'),
    "SELECT imgdb.fullest_buckets('none', 1)": ("IM001", '"none"'),
    "SELECT imgdb._begin_rebuild('none', NULL)": ("IM001", '"none"'),
    "SELECT imgdb.drop_stale('none')": ("IM001", '"none"'),
    "SELECT imgdb.drop_space('none')": ("IM001", '"none"'),
    "SELECT imgdb.within('phash', 0, 65)": ("IM002", "65"),
    "SELECT imgdb.within('phash', 0, -1)": ("IM002", "-1"),
    "SELECT imgdb.within('phash', 0, NULL)": ("IM002", "NULL"),
    "SELECT imgdb.within_any('phash', '{0}', 65)": ("IM002", "65"),
    "SELECT imgdb.nearest('phash', 0, 1, 65)": ("IM002", "65"),
    "SELECT imgdb.nearest('phash', 0, 1, NULL)": ("IM002", "NULL"),
    "SELECT imgdb.scan('phash', 0, -1)": ("IM002", "-1"),
    "SELECT imgdb.pairs('phash', 65)": ("IM002", "65"),
    "SELECT imgdb.explain('phash', 0, 65)": ("IM002", "65"),
    "SELECT imgdb.check_space('phash', 1, 65)": ("IM002", "65"),
    "SELECT imgdb.from_hex('xyz')": ("IM003", "xyz"),
    "SELECT imgdb.track('plain', 'none', 's')": ("IM004", '"none"'),
    "SELECT imgdb.track('plain', 'name', 's')": ("IM004", '"name"'),
    "SELECT imgdb.track('plain', 'ctid', 's')": ("IM004", '"ctid"'),
    "SELECT imgdb.track('plain', NULL, 's')": ("IM004", "NULL"),
    "SELECT imgdb.track('plain', 'positive', 's')": ("IM004", "domain"),
    "SELECT imgdb.track('plain', 'h', NULL)": ("IM012", "NULL"),
    "SELECT imgdb.create_space(NULL, '')": ("IM012", "NULL"),
    "SELECT imgdb.catch_up('plain')": ("IM009", "plain"),
    "SELECT imgdb.catch_up(NULL)": ("IM012", "NULL"),
    "SELECT imgdb.within('phash', NULL, 4)": ("IM012", "NULL"),
    "SELECT imgdb.within('phash', NULL, 40)": ("IM012", "NULL"),
    "SELECT imgdb.scan('phash', NULL, 4)": ("IM012", "NULL"),
    "SELECT imgdb.explain('phash', NULL, 4)": ("IM012", "NULL"),
    "SELECT imgdb.nearest('phash', NULL, 4)": ("IM012", "NULL"),
    "SELECT imgdb.within_any('phash', NULL, 4)": ("IM012", "NULL"),
    "SELECT imgdb.grant_access('nobody', 'all')": ("IM012", '"all"'),
    "SELECT imgdb.grant_access('nobody', 'read')": ("IM012", '"nobody"'),
    "SELECT imgdb.watch('none', 0)": ("IM001", '"none"'),
    "SELECT imgdb.watch('phash', NULL)": ("IM012", "NULL"),
    "SELECT imgdb.watch('phash', 0, NULL)": ("IM002", "NULL"),
    "SELECT imgdb.watch('phash', 0, 13)": ("IM002", "13"),
    "SELECT imgdb.find_images('phash', 0, 9)": ("IM002", "9"),
    "SELECT imgdb.find_images('none', 0)": ("IM001", '"none"'),
    "SELECT imgdb.find_pdq('{1,2,3,4}', 32)": ("IM002", "32"),
    "SELECT imgdb.track('fed', 'h', 's')": ("IM005", '"h"'),
    "SELECT imgdb.track('fed', 'h', 'feed')": ("IM005", '"h"'),
    "SELECT imgdb.drop_space('feed')": ("IM007", "fed"),
    "SELECT imgdb.create_space('feed', '')": ("IM008", '"feed"'),
    "SELECT imgdb.untrack('plain', 'h')": ("IM009", '"h"'),
    "SELECT imgdb.untrack(NULL, 'h')": ("IM009", '"h"'),
    "SELECT imgdb.track('view', 'h', 's')": ("IM010", "view"),
    "SELECT imgdb.track('materialized', 'h', 's')": ("IM010", "materialized"),
    "SELECT imgdb.track('temporary', 'h', 's')": ("IM010", "temporary"),
    "SELECT imgdb.track(NULL, 'h', 's')": ("IM010", "NULL"),
    "SELECT imgdb.track(4294967295::oid, 'h', 's')": ("IM010", "4294967295"),
    "SELECT imgdb.nearest('phash', 0, 0)": ("IM012", "0"),
    "SELECT imgdb.nearest('phash', 0, NULL)": ("IM012", "NULL"),
    "SELECT imgdb.check_space('phash', 0, 4)": ("IM012", "0"),
    "SELECT imgdb.check_space('phash', NULL, 4)": ("IM012", "NULL"),
}
STATE = (
    "SELECT (SELECT json_agg(s ORDER BY s.space_id) FROM imgdb.space AS s)::text,"
    " (SELECT json_agg(t ORDER BY t.track_key) FROM imgdb.tracked_column AS t)::text,"
    " (SELECT count(*) FROM imgdb.probe), (SELECT count(*) FROM imgdb.prefix_bucket),"
    " (SELECT count(*) FROM pg_trigger)"
)


@pytest.fixture
def tables(conn):
    conn.execute("CREATE DOMAIN positive AS bigint")
    conn.execute("CREATE TABLE plain (h bigint, name text, positive positive)")
    conn.execute("CREATE TABLE fed (h bigint)")
    conn.execute("CREATE VIEW view AS SELECT h FROM plain")
    conn.execute("CREATE MATERIALIZED VIEW materialized AS SELECT h FROM plain")
    conn.execute("CREATE TEMPORARY TABLE temporary (h bigint)")
    conn.execute("SELECT imgdb.track('fed', 'h', 'feed')")
    conn.execute("INSERT INTO fed VALUES (1)")
    return conn


@pytest.mark.parametrize("statement", ERRORS)
def test_error(tables, statement):
    sqlstate, piece = ERRORS[statement]
    before = tables.execute(STATE).fetchone()
    with pytest.raises(psycopg.DatabaseError) as error, tables.transaction():
        tables.execute(statement)
    assert error.value.sqlstate == sqlstate
    assert piece in error.value.diag.message_primary
    assert error.value.diag.message_hint.endswith(".")
    assert tables.execute(STATE).fetchone() == before


def test_compact_of_an_unknown_space(space):
    with pytest.raises(psycopg.DatabaseError) as error:
        space.conn.execute("CALL imgdb.compact('none')")
    assert error.value.sqlstate == "IM001"


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_track_needs_a_snapshot_of_its_own(tables, level):
    tables.rollback()
    tables.execute(f"BEGIN ISOLATION LEVEL {level}")
    tables.execute("CREATE TABLE plain (h bigint)")
    with pytest.raises(psycopg.DatabaseError) as error:
        tables.execute("SELECT imgdb.track('plain', 'h', 's')")
    assert error.value.sqlstate == "IM012"
    assert "READ COMMITTED" in error.value.diag.message_hint


def test_a_virtual_column_cannot_be_tracked(conn):
    if conn.info.server_version < 180000:
        pytest.skip("PostgreSQL 18 brought virtual columns")
    conn.execute("CREATE TABLE t (a bigint, v bigint GENERATED ALWAYS AS (a * 2) VIRTUAL)")
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("SELECT imgdb.track('t', 'v', 's')")
    assert error.value.sqlstate == "IM004"


def test_a_stored_column_can(conn):
    conn.execute("CREATE TABLE t (a bigint, v bigint GENERATED ALWAYS AS (a * 2) STORED)")
    conn.execute("SELECT imgdb.track('t', 'v', 's')")
    conn.execute("INSERT INTO t VALUES (21)")
    assert conn.execute("SELECT hash FROM imgdb.within('s', 42, 0)").fetchall() == [(42,)]


REFUSED_MASKS = {
    "overlap": [-1, 1, 2],
    "rest": [1, 2, 4],
    "no bit in a band": [0, 0xFFFF << 16, 0xFFFF, -(1 << 32)],
    "too wide": [1, 2, -4],
    "too few": [-(1 << 32), 0xFFFFFFFF],
    "too many": [-(2**63), *(1 << bit for bit in range(63))],
    "none": [],
    "null": [None, -(1 << 42), (1 << 42) - (1 << 21), (1 << 21) - 1],
}


@pytest.mark.parametrize("masks", REFUSED_MASKS.values(), ids=REFUSED_MASKS)
def test_masks_that_do_not_split_64_bits_are_refused(conn, masks):
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute(
            "INSERT INTO imgdb.space (name, band_masks) VALUES ('x', %s::bigint[])", [masks]
        )
    assert error.value.sqlstate == "IM006"
    assert error.value.diag.constraint_name == "space_masks_split_check"
    assert "3 to 16 masks" in error.value.diag.message_hint


@pytest.mark.parametrize("spelling", ["[0:2]={{{},{},{}}}", "{{{{{}}},{{{}}},{{{}}}}}"])
def test_masks_of_another_shape_are_refused(conn, spelling):
    masks = spelling.format(-(1 << 42), (1 << 42) - (1 << 21), (1 << 21) - 1)
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("INSERT INTO imgdb.space (name, band_masks) VALUES ('x', %s)", [masks])
    assert error.value.sqlstate == "IM006"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT imgdb.within_any('phash', '{}', 4)",
        "SELECT imgdb.within_any('phash', '{NULL}', 40)",
        "SELECT imgdb.pairs('phash', 4)",
    ],
)
def test_nothing_is_asked_and_nothing_answered(conn, statement):
    assert conn.execute(statement).fetchall() == []
