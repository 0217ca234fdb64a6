"""Every hash that a tracked column gets is found, however it gets there and whoever writes it."""

import psycopg
import pytest
from psycopg import sql
from spaces import rebuild_here

FOUND = "SELECT hash FROM imgdb.within('s', %s, 0)"
TRACK = "SELECT imgdb.track('t', 'h', 's')"


@pytest.fixture
def table(conn):
    """Track column h of table t into space s."""
    conn.execute("CREATE TABLE t (id integer PRIMARY KEY, h bigint, note text)")
    conn.execute(TRACK)
    return conn


def found(conn, *hashes):
    """Return those of the hashes that a search finds."""
    return {value for value in hashes if conn.execute(FOUND, [value]).fetchall()}


def appended(conn, statement):
    """Return how many hashes a statement appends."""
    count = "SELECT coalesce(sum(cardinality(hashes)), 0) FROM imgdb.fresh_hashes"
    before = conn.execute(count).fetchone()[0]
    conn.execute(statement)
    return conn.execute(count).fetchone()[0] - before


def test_insert_copy_and_update(table):
    table.execute("INSERT INTO t VALUES (1, 1), (2, NULL), (3, -1)")
    with table.cursor().copy("COPY t (id, h) FROM STDIN") as copy:
        copy.write("4\t4\n5\t\\N\n")
    table.execute("UPDATE t SET h = 22 WHERE id = 2")
    assert found(table, 1, -1, 4, 22, 5) == {1, -1, 4, 22}


def test_upsert_and_returning(table):
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute(
        "INSERT INTO t VALUES (1, 10), (2, 20) ON CONFLICT (id) DO UPDATE SET h = excluded.h"
    )
    table.execute("INSERT INTO t VALUES (1, 99) ON CONFLICT DO NOTHING")
    table.execute("WITH new AS (INSERT INTO t VALUES (3, 30) RETURNING h) SELECT h FROM new")
    assert found(table, 1, 10, 20, 30, 99) == {1, 10, 20, 30}


def test_merge(table):
    if table.info.server_version < 150000:
        pytest.skip("PostgreSQL 15 brought MERGE")
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute(
        "MERGE INTO t USING (VALUES (1, 10::bigint), (2, 20)) AS v (id, h) ON t.id = v.id"
        " WHEN MATCHED THEN UPDATE SET h = v.h WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.h)"
    )
    assert found(table, 10, 20) == {10, 20}


def test_an_update_that_leaves_the_hash_appends_nothing(table):
    table.execute("INSERT INTO t SELECT i, i FROM generate_series(1, 50) AS i")
    assert appended(table, "UPDATE t SET note = 'seen'") == 0
    assert appended(table, "UPDATE t SET h = 51 - h") == 0
    assert appended(table, "UPDATE t SET h = NULL") == 0
    assert appended(table, "INSERT INTO t VALUES (100, NULL)") == 0
    assert appended(table, "INSERT INTO t SELECT WHERE false") == 0


def test_a_hash_is_found_at_once_by_its_transaction_and_gone_with_it(table):
    with table.transaction(force_rollback=True):
        table.execute("INSERT INTO t VALUES (1, 1)")
        with table.transaction(force_rollback=True):
            table.execute("INSERT INTO t VALUES (2, 2)")
            assert found(table, 1, 2) == {1, 2}
        assert found(table, 1, 2) == {1}
    assert found(table, 1, 2) == set()
    assert table.execute("SELECT count(*) FROM imgdb.prefix_bucket").fetchone() == (0,)


def test_foreign_keys_and_triggers_of_others_may_write(table):
    table.execute("CREATE UNIQUE INDEX ON t (h)")
    table.execute("CREATE TABLE u (h bigint REFERENCES t (h) ON UPDATE CASCADE)")
    table.execute("SELECT imgdb.track('u', 'h', 'other')")
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("INSERT INTO u VALUES (1)")
    table.execute("UPDATE t SET h = 5")
    query = "SELECT hash FROM imgdb.within('other', 5, 0)"
    assert table.execute(query).fetchall() == [(5,)]


def test_two_columns_feed_one_space(table):
    table.execute("ALTER TABLE t ADD COLUMN g bigint")
    table.execute("SELECT imgdb.track('t', 'g', 's')")
    table.execute("INSERT INTO t (id, h, g) VALUES (1, 1, 2)")
    table.execute("UPDATE t SET h = 11, g = 1")
    assert found(table, 1, 2, 11) == {1, 2, 11}
    table.execute("SELECT imgdb.untrack('t', 'h')")
    table.execute("INSERT INTO t (id, h, g) VALUES (2, 30, 40)")
    assert found(table, 30, 40) == {40}


def test_columns_with_long_names_do_not_share_triggers(conn):
    long = "a_column_with_a_name_as_long_as_postgresql_lets_it_be_and_"
    conn.execute(f"CREATE TABLE t ({long}x bigint, {long}y bigint)")
    for column in (f"{long}x", f"{long}y"):
        conn.execute("SELECT imgdb.track('t', %s, 's')", [column])
    conn.execute("INSERT INTO t VALUES (1, 2)")
    assert found(conn, 1, 2) == {1, 2}
    conn.execute("SELECT imgdb.untrack('t', %s)", [f"{long}x"])
    conn.execute("INSERT INTO t VALUES (3, 4)")
    assert found(conn, 3, 4) == {4}


@pytest.mark.parametrize(
    "name", ['a "b" c', "%s", "it's", "back\\slash", "SELECT", "ü", "a.b", ":x"]
)
def test_odd_names(conn, name):
    schema, column = sql.Identifier(f"{name} schema"), sql.Identifier(name)
    conn.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    conn.execute(sql.SQL("CREATE TABLE {}.{} ({} bigint)").format(schema, column, column))
    table = sql.Identifier(f"{name} schema", name).as_string(conn)
    insert = [sql.SQL("INSERT INTO {}.{} VALUES ({})").format(schema, column, i) for i in range(4)]
    conn.execute(insert[1])
    conn.execute("SELECT imgdb.track(%s::regclass, %s, 's')", [table, name])
    conn.execute(insert[2])
    assert found(conn, 1, 2) == {1, 2}
    rebuild_here(conn, "s")
    assert conn.execute("SELECT * FROM imgdb.missing_hashes('s')").fetchall() == []
    assert found(conn, 1, 2) == {1, 2}
    conn.execute("SELECT imgdb.untrack(%s::regclass, %s)", [table, name])
    assert appended(conn, insert[3]) == 0


def test_a_table_may_be_renamed_and_moved(table):
    table.execute("CREATE SCHEMA elsewhere")
    table.execute("ALTER TABLE t RENAME TO u")
    table.execute("ALTER TABLE u SET SCHEMA elsewhere")
    table.execute("INSERT INTO elsewhere.u VALUES (1, 1)")
    rebuild_here(table, "s")
    assert found(table, 1) == {1}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t RENAME COLUMN h TO g",
        "ALTER TABLE t DROP COLUMN h",
        "ALTER TABLE t ALTER COLUMN h TYPE text",
    ],
)
def test_a_column_that_is_gone_is_told_by_writes_and_care(table, change):
    table.execute(change)
    for statement in (
        "INSERT INTO t (id) VALUES (1)",
        "SELECT imgdb._begin_rebuild('s', NULL)",
        "SELECT imgdb.catch_up('t')",
        "SELECT imgdb.drop_stale('s')",
        "SELECT imgdb.missing_hashes('s')",
    ):
        with pytest.raises(psycopg.DatabaseError) as error, table.transaction():
            table.execute(statement)
        assert error.value.sqlstate == "IM004"
    ((relation, problem),) = table.execute("SELECT * FROM imgdb.tracking_problems()").fetchall()
    assert relation == "public.t" and 'column "h" is tracked, but' in problem
    table.execute("SELECT imgdb.untrack('t', 'h')")
    table.execute("INSERT INTO t (id) VALUES (1)")


def test_a_dropped_table_is_no_source(table):
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("DROP TABLE t")
    rebuild_here(table, "s")
    assert found(table, 1) == set()
    table.execute("SELECT imgdb.drop_space('s')")
    assert table.execute("SELECT count(*) FROM imgdb.prefix_bucket").fetchone() == (0,)


@pytest.fixture
def partitioned(conn):
    conn.execute("CREATE TABLE p (id integer, h bigint) PARTITION BY RANGE (id)")
    conn.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    conn.execute(
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id)"
    )
    conn.execute("CREATE TABLE p2a PARTITION OF p2 DEFAULT")
    conn.execute("INSERT INTO p VALUES (1, 1), (11, 11)")
    conn.execute("SELECT imgdb.track('p', 'h', 's')")
    return conn


def test_partitions(partitioned):
    partitioned.execute("INSERT INTO p VALUES (2, 2), (12, 12)")
    partitioned.execute("INSERT INTO p1 VALUES (3, 3)")
    partitioned.execute("INSERT INTO p2 VALUES (13, 13)")
    partitioned.execute("INSERT INTO p2a VALUES (14, 14)")
    partitioned.execute("UPDATE p SET id = id + 10, h = h + 100 WHERE id = 2")
    partitioned.execute("UPDATE p1 SET h = 33 WHERE id = 3")
    expected = {1, 2, 3, 11, 12, 13, 14, 33, 102}
    assert found(partitioned, *expected) == expected
    assert partitioned.execute("SELECT * FROM imgdb.missing_hashes('s')").fetchall() == []


def test_untrack_frees_the_partitions_too(partitioned):
    partitioned.execute("SELECT imgdb.untrack('p', 'h')")
    for table in ("p", "p1", "p2", "p2a"):
        assert (
            appended(partitioned, f"INSERT INTO {table} VALUES ({12 - 9 * (table == 'p1')}, 5)")
            == 0
        )


def test_tables_that_inherit(conn):
    conn.execute("CREATE TABLE t (h bigint)")
    conn.execute("CREATE TABLE child (extra text) INHERITS (t)")
    conn.execute(TRACK)
    conn.execute("INSERT INTO child VALUES (1)")
    conn.execute("UPDATE t SET h = 2")
    assert found(conn, 1, 2) == {1, 2}


def test_a_writer_needs_no_rights_on_imgdb(table):
    table.execute("CREATE ROLE imgdb_test_writer")
    table.execute("GRANT INSERT, SELECT, UPDATE ON t TO imgdb_test_writer")
    table.execute("SET LOCAL ROLE imgdb_test_writer")
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("UPDATE t SET h = 2")
    table.execute("RESET ROLE")
    assert found(table, 1, 2) == {1, 2}


def test_nobody_else_may_index_hashes_by_a_trigger_of_his_own(table):
    table.execute("CREATE ROLE imgdb_test_stranger")
    table.execute("GRANT USAGE ON SCHEMA imgdb TO imgdb_test_stranger")
    table.execute("GRANT CREATE ON SCHEMA public TO imgdb_test_stranger")
    table.execute("SET LOCAL ROLE imgdb_test_stranger")
    table.execute("CREATE TABLE own (h bigint)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        table.execute(
            "CREATE TRIGGER x AFTER INSERT ON own REFERENCING NEW TABLE AS new_rows"
            " FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes('1', 'h', '{}')"
        )


def test_what_stands_in_the_writers_search_path_is_not_run(table):
    table.execute("CREATE SCHEMA trap")
    table.execute(
        "CREATE FUNCTION trap.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'ran as %', current_user; END $$"
    )
    table.execute("SET LOCAL search_path = trap, public, pg_catalog")
    table.execute("INSERT INTO public.t VALUES (1, 1)")
    table.execute("SET LOCAL search_path = public")
    assert found(table, 1) == {1}


def test_casts_of_another_type_do_not_run_with_the_rights_of_the_definer(table):
    table.execute("CREATE TYPE mine AS (value bigint)")
    table.execute(
        "CREATE FUNCTION mine_to_bigint(mine) RETURNS bigint LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE 'ran as %', current_user; END $$"
    )
    table.execute("CREATE CAST (mine AS bigint) WITH FUNCTION mine_to_bigint AS IMPLICIT")
    table.execute("ALTER TABLE t ALTER COLUMN h TYPE mine USING row(h)::mine")
    with pytest.raises(psycopg.DatabaseError) as error:
        table.execute("INSERT INTO t VALUES (1, row(1)::mine)")
    assert error.value.sqlstate == "IM004"


def test_row_security_that_would_hide_rows_is_an_error(table):
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    table.execute("CREATE ROLE imgdb_test_tenant")
    table.execute("SELECT imgdb.grant_access('imgdb_test_tenant', 'keep')")
    # The owner himself, under FORCE ROW LEVEL SECURITY.
    table.execute("ALTER TABLE t FORCE ROW LEVEL SECURITY")
    table.execute("ALTER TABLE t OWNER TO imgdb_test_tenant")
    table.execute("UPDATE imgdb.space SET owner_name = 'imgdb_test_tenant' WHERE name = 's'")
    table.execute("SET LOCAL ROLE imgdb_test_tenant")
    assert found(table, 1) == {1}
    for care in ("drop_stale('s')", "missing_hashes('s')", "catch_up('t')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), table.transaction():
            table.execute(f"SELECT imgdb.{care}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), table.transaction():
        rebuild_here(table, "s")
    table.execute("SELECT imgdb.untrack('t', 'h')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), table.transaction():
        table.execute(TRACK)


def test_a_truncated_table_leaves_stale_hashes_only(table):
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("TRUNCATE t")
    table.execute("INSERT INTO t VALUES (2, 2)")
    assert table.execute("SELECT * FROM imgdb.missing_hashes('s')").fetchall() == []


def test_track_after_writes_in_the_same_transaction(conn):
    conn.execute("CREATE TABLE t (h bigint)")
    conn.execute("INSERT INTO t VALUES (1)")
    conn.execute(TRACK)
    conn.execute("INSERT INTO t VALUES (2)")
    conn.execute("SELECT imgdb.untrack('t', 'h')")
    conn.execute("INSERT INTO t VALUES (3)")
    conn.execute(TRACK)
    assert found(conn, 1, 2, 3) == {1, 2, 3}
    with conn.transaction(force_rollback=True):
        conn.execute("SELECT imgdb.untrack('t', 'h')")
    conn.execute("INSERT INTO t VALUES (4)")
    assert found(conn, 4) == {4}


def test_a_disabled_trigger_is_put_back_by_rebuild(table):
    table.execute("ALTER TABLE t DISABLE TRIGGER USER")
    table.execute("INSERT INTO t VALUES (1, 1)")
    table.execute("ALTER TABLE t ENABLE TRIGGER USER")
    missing = "SELECT DISTINCT hash FROM imgdb.missing_hashes('s')"
    assert table.execute(missing).fetchall() == [(1,)]
    rebuild_here(table, "s")
    table.execute("INSERT INTO t VALUES (2, 2)")
    assert found(table, 1, 2) == {1, 2}
    assert table.execute(missing).fetchall() == []


def test_bands_suit_how_many_hashes_there_are(conn):
    defined = conn.execute("SELECT pg_get_functiondef('imgdb._masks_for'::regproc)").fetchone()[0]
    assert ">= 30000000 " in defined
    conn.execute(defined.replace("30000000", "3").encode())
    bands = "SELECT cardinality(band_masks) FROM imgdb.space WHERE name = %s"
    for rows in (2, 3):
        name = f"s{rows}"
        conn.execute(
            f"CREATE TABLE {name} AS SELECT i::bigint AS h FROM generate_series(1, {rows}) i"
        )
        conn.execute("SELECT imgdb.track(%s, 'h', %s)", [name, name])
    assert [conn.execute(bands, [f"s{rows}"]).fetchone()[0] for rows in (2, 3)] == [4, 3]
    conn.execute("INSERT INTO s2 SELECT generate_series(10, 20)")
    rebuild_here(conn, "s2")  # fresh hashes count nothing yet
    assert conn.execute(bands, ["s2"]).fetchone() == (4,)
    rebuild_here(conn, "s2")
    assert conn.execute(bands, ["s2"]).fetchone() == (3,)
    assert conn.execute("SELECT * FROM imgdb.missing_hashes('s2')").fetchall() == []


def test_masks_that_change_take_effect_for_later_writes(table):
    table.execute("INSERT INTO t VALUES (1, 1), (2, -1)")
    masks = [-(2**63), *(0xFFF << 12 * band for band in range(5)), 0x7 << 60]
    rebuild_here(table, "s", masks)
    table.execute("INSERT INTO t VALUES (3, 5)")
    near = "SELECT hash FROM imgdb.within('s', 4, 1)"
    assert table.execute(near).fetchall() == [(5,)]
    assert found(table, 1, -1) == {1, -1}
    assert table.execute("SELECT * FROM imgdb.missing_hashes('s')").fetchall() == []
