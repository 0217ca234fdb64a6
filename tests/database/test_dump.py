"""A database that is dumped and restored searches as before, and goes on indexing."""

import subprocess

import psycopg
import pytest
from servers import dump_programs

pytestmark = pytest.mark.sql


@pytest.fixture
def restored(server, space, empty_database):
    """Give the dump's copy of a space with merged, fresh and stale rows, and a column dropped."""
    space.conn.execute("ALTER TABLE hashes DROP COLUMN note")
    space.conn.execute('CREATE TABLE "Odd table" (gone text, "a hash" bigint)')
    space.conn.execute('ALTER TABLE "Odd table" DROP COLUMN gone')
    space.conn.execute("""SELECT imgdb.track('"Odd table"', 'a hash', 'odd')""")
    space.conn.execute('INSERT INTO "Odd table" VALUES (77)')
    space.copy(range(100))
    space.compact()
    space.insert([1000])
    bindir = dump_programs(server)
    dumped = subprocess.run(
        [f"{bindir}/pg_dump", "--format=custom", f"--dbname={space.conninfo}"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [f"{bindir}/pg_restore", "--exit-on-error", f"--dbname={empty_database}"],
        input=dumped.stdout,
        check=True,
        capture_output=True,
    )
    return empty_database


def test_dump_and_restore(space, restored):
    with psycopg.connect(restored, autocommit=True) as conn:
        for radius in (0, 4, 40):
            query = "SELECT hash, distance FROM imgdb.within('proof', 7, %s)"
            assert dict(conn.execute(query, [radius]).fetchall()) == space.within(7, radius)
        conn.execute("INSERT INTO hashes (hash) VALUES (5000)")
        conn.execute('INSERT INTO "Odd table" VALUES (78)')
        for name, value in (("proof", 5000), ("odd", 77), ("odd", 78)):
            found = conn.execute("SELECT hash FROM imgdb.within(%s, %s, 0)", [name, value])
            assert found.fetchall() == [(value,)]
            conn.execute("CALL imgdb.compact(%s)", [name])
            missing = conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [name])
            assert missing.fetchall() == []
        conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
        conn.execute("SELECT imgdb.drop_space('proof')")
