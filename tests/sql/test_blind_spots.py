"""Rows that are in a tracked table and not in its space: each way there is seen, and mended."""

import itertools
import subprocess
from concurrent.futures import ThreadPoolExecutor

import brute_force
import psycopg
import pytest
from servers import dump_programs, embedded_only
from spaces import rebuild_here

PROBLEMS = "SELECT relation, problem FROM imgdb.tracking_problems()"
MISSING = "SELECT DISTINCT hash FROM imgdb.missing_hashes('s')"


def found(conn, *hashes, space="s"):
    """Return those of the hashes that a search finds."""
    query = "SELECT hash FROM imgdb.within(%s, %s, 0)"
    return {value for value in hashes if conn.execute(query, [space, value]).fetchall()}


def problems(conn):
    return dict(conn.execute(PROBLEMS).fetchall())


def missing(conn):
    return {value for (value,) in conn.execute(MISSING)}


def assert_sound(conn):
    assert (problems(conn), missing(conn)) == ({}, set())


def triggers_of_p(conn):
    """Count the triggers of p and its partitions, of today and of before."""
    query = (
        "SELECT count(*) FROM imgdb._append_triggers() AS t WHERE t.on_table::text ~ '^public.p'"
    )
    return conn.execute(query).fetchone()[0]


def refused(conn, statement):
    """Return the SQLSTATE of a statement that must fail, and leave the transaction usable."""
    with pytest.raises(psycopg.DatabaseError) as error, conn.transaction():
        conn.execute(statement)
    return error.value.sqlstate


@pytest.fixture
def partitioned(conn):
    """Track p, with a partition p1 of ids below 10 and one, p2, that has a partition p2a."""
    conn.execute("CREATE TABLE p (id integer, h bigint) PARTITION BY RANGE (id)")
    conn.execute("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    conn.execute(
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id)"
    )
    conn.execute("CREATE TABLE p2a PARTITION OF p2 DEFAULT")
    conn.execute("SELECT imgdb.track('p', 'h', 's')")
    conn.execute("INSERT INTO p VALUES (1, 1), (11, 11)")
    return conn


# What is done to p, which table then differs, and the hashes that nothing has indexed.
FAULTS = {
    "a partition attached with its rows": (
        "CREATE TABLE late (id integer, h bigint); INSERT INTO late VALUES (30, 30);"
        " ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (30) TO (40)",
        {"public.late"},
        {30},
    ),
    "a new partition written directly": (
        "CREATE TABLE late PARTITION OF p FOR VALUES FROM (30) TO (40);"
        " INSERT INTO late VALUES (31, 31)",
        {"public.late"},
        {31},
    ),
    "a new partition of a partition": (
        "CREATE TABLE late PARTITION OF p2 FOR VALUES IN (15); INSERT INTO late VALUES (15, 15)",
        {"public.late"},
        {15},
    ),
    "a tree attached": (
        "CREATE TABLE late (id integer, h bigint) PARTITION BY LIST (id);"
        " CREATE TABLE leaf PARTITION OF late DEFAULT; INSERT INTO late VALUES (32, 32);"
        " ALTER TABLE p ATTACH PARTITION late FOR VALUES FROM (30) TO (40)",
        {"public.late", "public.leaf"},
        {32},
    ),
    "a new heir": (
        "CREATE TABLE late () INHERITS (o); INSERT INTO late VALUES (34)",
        {"public.late"},
        {34},
    ),
    "triggers disabled": (
        "ALTER TABLE p1 DISABLE TRIGGER USER; INSERT INTO p1 VALUES (5, 5)",
        {"public.p1"},
        {5},
    ),
    "as pg_restore --disable-triggers leaves them": (
        "ALTER TABLE p1 DISABLE TRIGGER ALL; INSERT INTO p1 VALUES (6, 6);"
        " ALTER TABLE p1 ENABLE TRIGGER ALL",
        {"public.p1"},
        {6},
    ),
    "for replicas only": (
        "ALTER TABLE p1 ENABLE REPLICA TRIGGER imgdb_insert; INSERT INTO p1 VALUES (7, 7)",
        {"public.p1"},
        {7},
    ),
    "one trigger dropped": (
        "DROP TRIGGER imgdb_update ON p; UPDATE p SET h = 12 WHERE id = 11",
        {"public.p"},
        {12},
    ),
    "one trigger renamed": (
        "ALTER TRIGGER imgdb_insert ON p1 RENAME TO mine",
        {"public.p1"},
        set(),
    ),
    "a row that no trigger saw": (
        "ALTER TABLE p1 DISABLE TRIGGER USER; INSERT INTO p1 VALUES (8, 8);"
        " ALTER TABLE p1 ENABLE ALWAYS TRIGGER imgdb_insert;"
        " ALTER TABLE p1 ENABLE ALWAYS TRIGGER imgdb_update",
        set(),
        {8},
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen_and_caught_up_with(partitioned, fault):
    conn = partitioned
    statements, relations, hashes = FAULTS[fault]
    conn.execute("CREATE TABLE o (h bigint)")
    conn.execute("SELECT imgdb.track('o', 'h', 's')")
    assert_sound(conn)
    conn.execute(statements)
    assert (set(problems(conn)), missing(conn)) == (relations, hashes)
    indexed = sum(
        conn.execute(f"SELECT imgdb.catch_up('{table}')").fetchone()[0] for table in ("p", "o")
    )
    assert indexed == len(hashes)
    assert_sound(conn)
    assert found(conn, *hashes) == hashes
    # From here on writes to every member are seen.
    members = conn.execute(
        "SELECT c.oid::regclass::text FROM pg_class AS c"
        " WHERE c.relname IN ('p1', 'p2', 'p2a', 'late', 'leaf') AND c.relkind IN ('r', 'p')"
    ).fetchall()
    for number, (member,) in enumerate(members):
        conn.execute(f"UPDATE {member} SET h = {1000 + number}")
    assert_sound(conn)


def test_what_is_written_while_it_catches_up_is_not_missed(space):
    """The writer is at work before the trigger is there, and commits when catch_up waits for it."""
    space.conn.execute("ALTER TABLE hashes DISABLE TRIGGER USER")
    space.insert([2])
    with space.connect() as writer, space.connect() as care, ThreadPoolExecutor(1) as pool:
        with writer.transaction():
            writer.execute("INSERT INTO hashes (hash) VALUES (3)")
            catching_up = pool.submit(care.execute, "SELECT imgdb.catch_up('hashes')")
            while not space.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not catching_up.done()
        assert catching_up.result().fetchall() == [(2,)]
    assert space.missing() == 0


def test_what_comes_while_bands_are_read_is_in_the_first_or_in_none(space):
    """The source has one hash at the first reading, and another one from then on."""
    space.conn.execute("CREATE SEQUENCE reading")
    source = (
        "SELECT unnest(CASE (SELECT nextval(''public.reading'')) WHEN 1 THEN ARRAY[7, 9]"
        " ELSE ARRAY[8, 9] END::bigint[])"
    )
    space.conn.execute(
        f"DO $$ BEGIN PERFORM imgdb._claim_space('{space.name}');"
        f" PERFORM imgdb._index_source({space.space_id}::smallint, '{source}', true);"
        f" PERFORM imgdb._release_space({space.space_id}::smallint); END $$"
    )
    held = {value for _, row in space.buckets() for value in row}
    assert held == {7, 9}
    space.look_up()
    assert [set(space.within(value, 0)) for value in (7, 8, 9)] == [{7}, set(), {9}]
    assert space.drop_stale() == 2
    assert space.buckets() == []


def test_a_session_that_turned_triggers_off_is_seen_all_the_same(partitioned):
    partitioned.execute("SET LOCAL session_replication_role = replica")
    partitioned.execute("INSERT INTO p1 VALUES (2, 2)")
    partitioned.execute("UPDATE p SET h = 22 WHERE id = 11")
    assert found(partitioned, 2, 22) == {2, 22}


def test_a_detached_partition_says_that_it_is_tracked_no_more(partitioned):
    conn = partitioned
    conn.execute("ALTER TABLE p DETACH PARTITION p1")
    assert refused(conn, "INSERT INTO p1 VALUES (2, 2)") == "IM009"
    ((relation, problem),) = {*problems(conn).items()}
    assert relation == "public.p1" and "which nothing asks for" in problem
    assert conn.execute("SELECT imgdb.catch_up('p1')").fetchone() == (0,)
    assert_sound(conn)
    conn.execute("INSERT INTO p1 VALUES (2, 2)")
    conn.execute("INSERT INTO p VALUES (12, 12)")
    assert found(conn, 2, 12) == {12}
    # And back, with what came in between.
    conn.execute("ALTER TABLE p ATTACH PARTITION p1 FOR VALUES FROM (0) TO (10)")
    assert missing(conn) == {2}
    conn.execute("SELECT imgdb.catch_up('p')")
    assert_sound(conn)


def test_a_dropped_space_leaves_nothing_alive(partitioned):
    conn = partitioned
    conn.execute("SELECT imgdb._flush(space_id, 100, true) FROM imgdb.space WHERE name = 's'")
    conn.execute("INSERT INTO p VALUES (3, 3)")
    (space_id,) = conn.execute("SELECT space_id FROM imgdb.space WHERE name = 's'").fetchone()
    conn.execute("ALTER TABLE p DETACH PARTITION p1")
    conn.execute("SELECT imgdb.untrack('p', 'h')")
    conn.execute("SELECT imgdb.drop_space('s')")
    assert problems(conn) == {}
    assert triggers_of_p(conn) == 0
    for table in ("prefix_bucket", "fresh_hashes", "probe", "space_state", "tracked_column"):
        left = conn.execute(f"SELECT 1 FROM imgdb.{table} WHERE space_id = %s", [space_id])
        assert left.fetchall() == []
    for table in ("p", "p1"):
        conn.execute(f"INSERT INTO {table} VALUES ({11 - 8 * (table == 'p1')}, 4)")


def test_buckets_without_a_space_are_seen(conn):
    conn.execute("INSERT INTO imgdb.prefix_bucket VALUES (99, 0, 1, '{7}')")
    assert problems(conn) == {"space 99": "has hashes, but is no space"}


def test_untrack_of_a_parent_leaves_a_child_that_is_tracked_itself(partitioned):
    conn = partitioned
    conn.execute("SELECT imgdb.track('p1', 'h', 'child')")
    conn.execute("SELECT imgdb.untrack('p', 'h')")
    assert problems(conn) == {}
    conn.execute("INSERT INTO p1 VALUES (2, 2)")
    conn.execute("INSERT INTO p VALUES (3, 3)")
    conn.execute("UPDATE p SET h = 4 WHERE id = 3")
    assert found(conn, 1, 2, 3, 4, space="child") == {1, 2, 3, 4}
    conn.execute("SELECT imgdb.untrack('p1', 'h')")
    assert triggers_of_p(conn) == 0


def test_untrack_of_one_of_two_tracked_parents(conn):
    conn.execute("CREATE TABLE a (h bigint)")
    conn.execute("CREATE TABLE b (h bigint, g bigint)")
    conn.execute("CREATE TABLE child () INHERITS (a, b)")
    for parent, column, space in (("a", "h", "s"), ("b", "g", "other")):
        conn.execute("SELECT imgdb.track(%s, %s, %s)", [parent, column, space])
    conn.execute("SELECT imgdb.untrack('a', 'h')")
    assert problems(conn) == {}
    conn.execute("INSERT INTO child (h, g) VALUES (1, 2)")
    conn.execute("UPDATE b SET g = 3")
    assert found(conn, 2, 3, space="other") == {2, 3}
    assert found(conn, 1) == set()


@pytest.mark.parametrize("table", ["p", "p1"])
def test_columns_that_change_places_are_told_and_caught_up_with(partitioned, table):
    """The way everybody hashes anew: h becomes h_old, h_new becomes h."""
    conn = partitioned
    conn.execute("ALTER TABLE p ADD COLUMN h_new bigint")
    conn.execute("UPDATE p SET h_new = h + 100")
    assert problems(conn) == {}
    conn.execute("ALTER TABLE p RENAME COLUMN h TO h_old")
    conn.execute("ALTER TABLE p RENAME COLUMN h_new TO h")
    assert problems(conn) == {"public.p": 'column "h" is tracked, but exchanged for another one'}
    for statement in (
        f"INSERT INTO {table} (id, h) VALUES (2, 102)",
        f"UPDATE {table} SET h = 7",
        "SELECT imgdb.missing_hashes('s')",
        "SELECT imgdb.drop_stale('s')",
        "SELECT imgdb._begin_rebuild('s', NULL)",
    ):
        assert refused(conn, statement) == "IM004"
    assert conn.execute("SELECT imgdb.catch_up('p')").fetchone() == (2,)
    assert_sound(conn)
    conn.execute(f"INSERT INTO {table} (id, h) VALUES (2, 102)")
    assert found(conn, 101, 111, 102) == {101, 111, 102}


FOREIGN = (
    "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER far FOREIGN DATA WRAPPER none;"
    " CREATE FOREIGN TABLE p9 PARTITION OF p FOR VALUES FROM (90) TO (99) SERVER far"
)


def test_a_foreign_partition_is_refused_by_its_name(partitioned):
    conn = partitioned
    conn.execute("SELECT imgdb.untrack('p', 'h')")
    conn.execute(FOREIGN)
    with pytest.raises(psycopg.DatabaseError) as error, conn.transaction():
        conn.execute("SELECT imgdb.track('p', 'h', 's')")
    assert error.value.sqlstate == "IM010"
    assert "p9" in error.value.diag.message_primary
    conn.execute("INSERT INTO p VALUES (2, 2)")


def test_a_foreign_partition_that_came_later_is_seen(partitioned):
    partitioned.execute(FOREIGN)
    assert problems(partitioned) == {
        "public.p9": "cannot have triggers, and is below a tracked table"
    }
    assert refused(partitioned, "SELECT imgdb.catch_up('p')") == "IM010"
    partitioned.execute("ALTER TABLE p DETACH PARTITION p9")
    partitioned.execute("SELECT imgdb.catch_up('p')")
    assert_sound(partitioned)


@pytest.mark.parametrize("meanwhile", ["not tracked", "tracked anew"])
def test_triggers_of_a_schema_restored_elsewhere_raise(server, space, meanwhile, _databases):
    """pg_dump -n carries the triggers; their keys are nobody's in another database."""
    space.conn.execute("CREATE SCHEMA shop")
    space.conn.execute("CREATE TABLE shop.product (h bigint)")
    space.conn.execute("SELECT imgdb.track('shop.product', 'h', 'shop')")
    space.conn.execute("INSERT INTO shop.product VALUES (1)")
    dumped = subprocess.run(
        [dump_programs(server) / "pg_dump", "--schema=shop", f"--dbname={space.conninfo}"],
        check=True,
        capture_output=True,
    )
    name = f"{space.conn.info.dbname}_elsewhere"
    elsewhere = _databases.create(name)
    try:
        restore_and_check(server, elsewhere, dumped.stdout, meanwhile)
    finally:
        _databases.drop(name)


def restore_and_check(server, elsewhere, dumped, meanwhile):
    with psycopg.connect(elsewhere, autocommit=True) as conn:
        # A space of the same number, of somebody else.
        conn.execute("CREATE TABLE stranger (h bigint)")
        conn.execute("SELECT imgdb.track('stranger', 'h', 'stranger')")
        subprocess.run(
            [dump_programs(server) / "psql", "-X", "-v", "ON_ERROR_STOP=1", elsewhere],
            input=dumped,
            check=True,
            capture_output=True,
        )
        assert refused(conn, "INSERT INTO shop.product VALUES (2)") == "IM009"
        assert refused(conn, "UPDATE shop.product SET h = 3") == "IM009"
        ((relation, problem),) = {*problems(conn).items()}
        assert relation == "shop.product" and "which nothing asks for" in problem
        if meanwhile == "not tracked":
            conn.execute("SELECT imgdb.catch_up('shop.product')")
        else:
            conn.execute("SELECT imgdb.track('shop.product', 'h', 's')")
        assert problems(conn) == {}
        conn.execute("INSERT INTO shop.product VALUES (2)")
        assert found(conn, 1, 2, space="stranger") == set()
        if meanwhile == "tracked anew":
            assert_sound(conn)
            assert found(conn, 1, 2) == {1, 2}


def far(distance, count):
    """Return hashes so far from 0, which differ from each other."""
    bits = range(64)
    return [
        sum(1 << bit for bit in chosen) - 2**64 * (63 in chosen)
        for chosen in itertools.islice(itertools.combinations(bits, distance), 0, 40 * count, 40)
    ]


@embedded_only
@pytest.mark.parametrize("subset", range(1, 16))
def test_nearest_gives_enough_whatever_bands_a_stale_hash_stands_in(space, subset):
    stale, held = far(3, 12), [*far(2, 3), *far(9, 3), *far(30, 3), *far(40, 3)]
    space.copy(stale + held)
    space.compact()
    space.delete(stale)
    masks = space.value("SELECT band_masks FROM imgdb.space WHERE name = %s", space.name)
    for band, mask in enumerate(masks):
        if subset >> band & 1:
            for value in stale:
                space.conn.execute(
                    "UPDATE imgdb.prefix_bucket AS b SET hashes = array_remove(b.hashes, %(hash)s)"
                    " WHERE space_id = %(space)s AND prefix = %(hash)s & %(mask)s::bigint"
                    " AND cardinality(array_remove(b.hashes, %(hash)s)) > 0",
                    {"hash": value, "space": space.space_id, "mask": mask},
                )
    every = brute_force.signed(held)
    for limit in range(1, len(held) + 2):
        for radius in (5, 20, 64):
            assert space.nearest(0, limit, radius) == brute_force.nearest(every, 0, limit, radius)


def test_rebuild_puts_triggers_back_too(partitioned):
    partitioned.execute(FAULTS["a tree attached"][0])
    rebuild_here(partitioned, "s")
    assert_sound(partitioned)
    assert found(partitioned, 32) == {32}


@pytest.mark.parametrize(
    ("call", "others"),
    [
        ("SELECT imgdb.track('p', 'h', 's')", "ROW EXCLUSIVE"),
        ("SELECT imgdb.untrack('p', 'h')", "ACCESS SHARE"),
    ],
)
def test_parents_are_locked_before_their_partitions(space, call, others):
    """As all others lock them: who took a partition first would deadlock with readers."""
    space.conn.execute("CREATE TABLE older (id integer, h bigint)")
    space.conn.execute("CREATE TABLE p (id integer, h bigint) PARTITION BY LIST (id)")
    space.conn.execute("ALTER TABLE p ATTACH PARTITION older DEFAULT")
    if "untrack" in call:
        space.conn.execute("SELECT imgdb.track('p', 'h', 's')")
    held = (
        "SELECT l.relation::regclass::text FROM pg_locks AS l"
        " WHERE l.granted AND l.mode IN ('ShareRowExclusiveLock', 'AccessExclusiveLock')"
        " AND l.relation IN ('p'::regclass, 'older'::regclass)"
    )
    with space.connect() as other, space.connect() as care, ThreadPoolExecutor(1) as pool:
        with other.transaction():
            other.execute(f"LOCK TABLE ONLY p IN {others} MODE")
            waiting = pool.submit(care.execute, call)
            while not space.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not waiting.done()
            assert space.conn.execute(held).fetchall() == []
        waiting.result()
