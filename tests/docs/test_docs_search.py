"""What docs/search.md promises a DBA: the rights it lists suffice, and dumps restore."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import tuple_row
from servers import dump_programs

pytestmark = pytest.mark.sql

PAGE = Path(__file__).parents[2] / "docs" / "search.md"

SEARCHES = (
    "SELECT * FROM imgdb.within('shop', 5, 8)",
    "SELECT * FROM imgdb.within('shop', 5, 20)",
    "SELECT * FROM imgdb.within_any('shop', ARRAY[5], 8)",
    "SELECT * FROM imgdb.nearest('shop', 5, 1)",
    "SELECT * FROM imgdb.pairs('shop', 2)",
    "SELECT * FROM imgdb.explain('shop', 5, 8)",
    "SELECT * FROM imgdb.similar_images('phash', 5, 8)",
    "SELECT * FROM imgdb.similar_images('phash', 5, 8, include_flat => true)",
    "SELECT * FROM imgdb.duplicate_groups('phash', 4)",
)
CHORES = (
    "SELECT imgdb.track('product', 'hash', 'shop')",
    "CALL imgdb.rebuild('shop')",
    "CALL imgdb.compact('shop')",
    "CALL imgdb.compact()",
    "SELECT imgdb.drop_stale('shop')",
    "SELECT imgdb.catch_up('product')",
    "SELECT * FROM imgdb.check_space('shop', 5, 8)",
    "SELECT * FROM imgdb.missing_hashes('shop')",
    "SELECT * FROM imgdb.space_statistics('shop')",
    "SELECT imgdb.untrack('product', 'hash')",
)


@pytest.fixture
def roles(database):
    """Make the page's roles, and a table that the keeper owns, with rights as the page grants."""
    grants = re.search(r"<!-- command: grant -->\n```sql\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert grants is not None
    names = ("seeker", "searcher", "clerk", "keeper", "janitor", "shopper")
    with psycopg.connect(database, autocommit=True) as admin:
        for name in names:
            admin.execute(f"CREATE ROLE {name}")
        admin.execute(grants[1])
        admin.execute("CREATE TABLE product (hash bigint)")
        admin.execute("GRANT CREATE ON SCHEMA public TO keeper")
        admin.execute("ALTER TABLE product OWNER TO keeper")
        admin.execute("GRANT INSERT, UPDATE, DELETE, SELECT ON product TO shopper")
        yield admin
        admin.execute("RESET ROLE")
        for name in names:
            admin.execute("SELECT imgdb.revoke_access(%s)", [name])
            admin.execute(f"DROP OWNED BY {name} CASCADE")
            admin.execute(f"DROP ROLE {name}")


def test_the_rights_suffice_for_each_task(roles):
    roles.execute("SET ROLE keeper")
    roles.execute(CHORES[0])
    roles.execute("SET ROLE shopper")
    roles.execute("INSERT INTO product VALUES (4), (7)")
    roles.execute("SET ROLE searcher")
    for statement in SEARCHES:
        roles.execute(statement)
    assert roles.execute("SELECT count(*) FROM imgdb.within('shop', 5, 8)").fetchone() == (2,)
    roles.execute("SET ROLE keeper")
    for statement in CHORES[1:]:
        roles.execute(statement)
    roles.execute("SET ROLE janitor")
    roles.execute("CALL imgdb.compact()")


def test_a_function_of_one_s_own_tells_rows_and_no_hash(roles):
    text = PAGE.read_text("utf-8")
    function = re.search(r"<!-- command: own function -->\n```sql\n(.*?)```", text, re.S)
    assert function is not None
    roles.execute("CREATE SCHEMA shop CREATE TABLE product (product_id bigint, hash bigint)")
    roles.execute("SELECT imgdb.track('shop.product', 'hash', 'shop')")
    roles.execute("INSERT INTO shop.product VALUES (17, 5)")
    roles.execute(function[1])
    roles.execute("SET ROLE seeker")
    assert roles.execute("SELECT * FROM shop.look_alikes(4)").fetchall() == [(17, 1)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute("SELECT * FROM shop.product")
    roles.execute("SET ROLE clerk")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute("SELECT * FROM shop.look_alikes(4)")


def test_others_may_neither_search_nor_index(roles):
    roles.execute("SET ROLE shopper")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute(SEARCHES[0])
    roles.execute("SET ROLE searcher")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        roles.execute("INSERT INTO imgdb.prefix_bucket VALUES (1, 0, 0, '{1}')")


def test_a_dump_restores_into_a_database_that_searches(server, database, empty_database, tmp_path):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA shop CREATE TABLE product (hash bigint)")
        conn.execute("SELECT imgdb.track('shop.product', 'hash', 'shop')")
        conn.execute("SELECT imgdb.watch('shop', 7919, 2, 'known')")
        conn.execute("INSERT INTO shop.product SELECT i * 7919 FROM generate_series(1, 500) AS i")
    programs = dump_programs(server)
    dump = subprocess.run([programs / "pg_dump", "-Fc", "-d", database], capture_output=True)
    assert dump.returncode == 0, dump.stderr
    restore = subprocess.run(
        [programs / "pg_restore", "--exit-on-error", "-d", empty_database],
        input=dump.stdout,
        capture_output=True,
    )
    assert restore.returncode == 0, restore.stderr
    with psycopg.connect(empty_database, autocommit=True, row_factory=tuple_row) as conn:
        checked = conn.execute("SELECT * FROM imgdb.check_space('shop', 50, 8)").fetchone()
        assert checked == (50, 0)
        conn.execute("INSERT INTO shop.product VALUES (-1)")
        missing = conn.execute("SELECT count(*) FROM imgdb.missing_hashes('shop')").fetchone()
        assert missing == (0,)
        rows = conn.execute("SELECT distinct_hashes FROM imgdb.space_statistics('shop')")
        assert rows.fetchone() == (501,)
        conn.execute("INSERT INTO shop.product VALUES (7918)")
        noted = conn.execute("SELECT hash FROM imgdb.own_match WHERE label = 'known' ORDER BY 1")
        assert noted.fetchall() == [(7918,), (7919,)]


def test_what_the_triggers_do_not_see_is_found_and_indexed(conn):
    conn.execute("CREATE TABLE shelf (slot integer, hash bigint) PARTITION BY RANGE (slot)")
    conn.execute("CREATE TABLE shelf_low PARTITION OF shelf FOR VALUES FROM (0) TO (10)")
    conn.execute("SELECT imgdb.track('shelf', 'hash', 'shelf')")
    conn.execute("CREATE TABLE shelf_high PARTITION OF shelf FOR VALUES FROM (10) TO (20)")
    conn.execute("INSERT INTO shelf VALUES (1, 10), (11, 11)")
    conn.execute("INSERT INTO shelf_low VALUES (1, 12)")
    conn.execute("INSERT INTO shelf_high VALUES (11, 20)")
    conn.execute("SET session_replication_role = replica")
    conn.execute("INSERT INTO shelf VALUES (1, 30)")
    conn.execute("RESET session_replication_role")
    missing = "SELECT DISTINCT hash FROM imgdb.missing_hashes('shelf') ORDER BY hash"
    assert conn.execute(missing).fetchall() == [(20,)]
    conn.execute("ALTER TABLE shelf DISABLE TRIGGER USER")
    conn.execute("INSERT INTO shelf VALUES (1, 40)")
    conn.execute("ALTER TABLE shelf ENABLE TRIGGER USER")
    assert conn.execute(missing).fetchall() == [(20,), (40,)]
    assert conn.execute("SELECT count(*) > 0 FROM imgdb.tracking_problems()").fetchone() == (True,)
    assert conn.execute("SELECT imgdb.catch_up('shelf')").fetchone() == (2,)
    assert conn.execute("SELECT * FROM imgdb.tracking_problems()").fetchall() == []
    conn.execute("INSERT INTO shelf_high VALUES (11, 21)")
    assert conn.execute(missing).fetchall() == []


@pytest.mark.parametrize(
    ("call", "mode"),
    [
        ("SELECT imgdb.track('product', 'hash', 'shop')", "ShareRowExclusiveLock"),
        ("SELECT imgdb._begin_rebuild('shop', NULL)", "ShareRowExclusiveLock"),
        ("SELECT imgdb.catch_up('product')", "AccessShareLock"),
        ("SELECT imgdb.drop_stale('shop')", "AccessShareLock"),
        ("SELECT imgdb.untrack('product', 'hash')", "AccessExclusiveLock"),
    ],
)
def test_the_strongest_lock_is_the_one_that_the_page_names(database, call, mode):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE product (hash bigint)")
        if "track('product', 'hash', 'shop')" not in call:
            conn.execute("SELECT imgdb.track('product', 'hash', 'shop')")
        with conn.transaction():
            conn.execute(call)
            rows = conn.execute(
                "SELECT mode FROM pg_locks"
                " WHERE pid = pg_backend_pid() AND relation = 'product'::regclass"
            ).fetchall()
    modes = {mode for (mode,) in rows}
    assert mode in modes
    strengths = ["AccessShareLock", "ShareRowExclusiveLock", "AccessExclusiveLock"]
    assert modes.isdisjoint(strengths[strengths.index(mode) + 1 :])
