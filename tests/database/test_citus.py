"""Buckets on the workers of a Citus cluster: searches miss nothing, beside writers and care.

IMGDB_TEST_CITUS names the folder of a server's programs that has Citus, as in
`IMGDB_TEST_CITUS=/usr/lib/postgresql/17/bin`.
"""

import contextlib
import json
import os
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import brute_force
import psycopg
import pytest
from servers import server_folder
from spaces import INSERT, Space

from imgdb import schema
from imgdb.database.embedded import Server

PROGRAMS = os.environ.get("IMGDB_TEST_CITUS", "")
SETTINGS = {
    "shared_buffers": "64MB",
    "shared_preload_libraries": "citus",
    "wal_level": "logical",
    "max_prepared_transactions": "100",
    "citus.node_conninfo": "sslmode=disable",
}
SHARDS = (
    "SELECT count(*), count(DISTINCT nodename) FROM citus_shards"
    " WHERE table_name = 'imgdb.prefix_bucket'::regclass"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[str]]:
    """Run a coordinator and two workers without Citus in their databases; give the conninfos."""
    if not PROGRAMS:
        pytest.skip("IMGDB_TEST_CITUS names no programs of a server that has Citus")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            home = stack.enter_context(server_folder()) / "home"
            server = Server(home, bindir=Path(PROGRAMS), settings=SETTINGS, durable=False)
            found.append(stack.enter_context(server).conninfo("postgres"))
            with psycopg.connect(found[-1], autocommit=True) as conn:
                let_in(conn)
        yield found


def let_in(conn: psycopg.Connection) -> None:
    """Let the other nodes in, which come as the server's own account."""
    file = Path(conn.execute("SHOW hba_file").fetchone()[0])
    file.write_text(f"local all all trust\n{file.read_text('utf-8')}", "utf-8")
    conn.execute("SELECT pg_reload_conf()")


def host(conninfo: str) -> str:
    return psycopg.conninfo.conninfo_to_dict(conninfo)["host"]


@pytest.fixture(scope="module")
def cluster(nodes) -> str:
    """Install imgdb first, make its buckets part of a cluster's later, as people do."""
    coordinator = nodes[0]
    schema.upgrade(coordinator)
    for conninfo in nodes:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION citus")
    with psycopg.connect(coordinator, autocommit=True) as conn:
        with pytest.raises(psycopg.DatabaseError, match="no worker") as error:
            conn.execute("SELECT imgdb.distribute(4)")
        assert "citus_add_node" in error.value.diag.message_hint
        conn.execute("SELECT citus_set_coordinator_host(%s, 5432)", [host(coordinator)])
        for worker in nodes[1:]:
            conn.execute("SELECT citus_add_node(%s, 5432)", [host(worker)])
    return coordinator


@pytest.fixture
def space(cluster, cli) -> Iterator[Space]:
    """Distribute the buckets of a space that holds some hashes already."""
    made = Space(cluster, "cluster")
    draw = random.Random(1)
    made.copy([draw.getrandbits(64) - 2**63 for _ in range(2000)])
    assert cli("db", "distribute", "--shards", "8", dsn=cluster).code == 0
    yield made
    made.conn.execute("SELECT imgdb.untrack('hashes', 'hash')")
    made.conn.execute("SELECT imgdb.drop_space('cluster')")
    made.conn.execute("DROP TABLE hashes")
    made.conn.close()


def assert_exact(space: Space, *, surplus: bool = True) -> None:
    """Compare every search with brute force over what the table holds."""
    held = brute_force.signed(space.held())
    draw = random.Random(len(held))
    for query in [*draw.sample(held.tolist(), 2), 0]:
        for radius in (0, 4, 12, 30):
            expected = brute_force.within(held, query, radius).items()
            for found in (space.within(query, radius), space.scan(query, radius)):
                assert expected <= found.items()
                assert surplus or expected == found.items()
        assert space.nearest(query, 9, 64) == brute_force.nearest(held, query, 9, 64)
    queries = held[:30].tolist()
    for query, found in space.within_any(queries, 8).items():
        assert brute_force.within(held, query, 8).items() <= found.items()
    assert space.missing() == 0


def test_there_and_back(space, cli, cluster):
    assert space.conn.execute(SHARDS).fetchone() == (8, 2)
    assert space.value("SELECT count(*) FROM ONLY imgdb.prefix_bucket") > 0
    assert_exact(space, surplus=False)
    # Twice is once; another number is told.
    assert cli("db", "distribute", "--shards", "8", dsn=cluster).code == 0
    again = cli("db", "distribute", "--shards", "4", dsn=cluster)
    assert again.code == 2
    assert "distributed over 8 shards already" in again.stderr
    comments = (
        "SELECT objsubid, description FROM pg_description"
        " WHERE objoid = 'imgdb.prefix_bucket'::regclass ORDER BY 1"
    )
    before = space.conn.execute(comments).fetchall()
    for _ in range(2):
        assert cli("db", "undistribute", dsn=cluster).code == 0
        assert space.conn.execute(SHARDS).fetchone() == (0, 0)
        assert space.conn.execute(comments).fetchall() == before != []
        assert_exact(space, surplus=False)


def test_the_product_on_a_cluster(space, cli, cluster):
    """Sizes, statistics, care, large loads, bands of other masks, and checks."""
    (row,) = json.loads(cli("space", "stats", "cluster", "--format", "json", dsn=cluster).stdout)
    assert row["bytes"] > 100_000
    draw = random.Random(2)
    space.insert(draw.getrandbits(64) - 2**63 for _ in range(12_000))
    space.delete(space.held()[::3])
    assert_exact(space)
    assert cli("space", "compact", "cluster", "--no-full", dsn=cluster).code == 0
    space.tidy()
    assert_exact(space, surplus=False)
    assert space.pairs(14) == brute_force.pairs(brute_force.signed(space.held()), 14)
    space.rebuild()
    assert_exact(space, surplus=False)
    space.use_masks([-(2**63), *(0xFFF << 12 * band for band in range(5)), 0x7 << 60])
    assert_exact(space, surplus=False)
    checked = cli("space", "check", "cluster", "--mend", dsn=cluster)
    assert (checked.code, checked.stderr) == (0, "")


def test_a_distributed_table_is_refused_in_words(space):
    space.conn.execute("CREATE TABLE spread (id bigint, h bigint)")
    space.conn.execute("SELECT create_distributed_table('spread', 'id')")
    try:
        with pytest.raises(psycopg.DatabaseError) as error:
            space.conn.execute("SELECT imgdb.track('spread', 'h', 'cluster')")
        assert error.value.sqlstate == "IM010"
        assert "spread is distributed" in error.value.diag.message_primary
    finally:
        space.conn.execute("DROP TABLE spread")


def test_a_hash_stays_fresh_until_all_nodes_show_it(space):
    """The workers commit after the coordinator: what only they hold is not found in between."""
    space.tidy()
    fresh = "SELECT fresh_hashes FROM imgdb.space_health WHERE name = 'cluster'"
    space.insert([5])
    space.flush()
    assert (space.value(fresh), space.within(5, 0)) == (1, {5: 0})
    space.flush()
    assert (space.value(fresh), space.within(5, 0)) == (0, {5: 0})


def test_after_each_merge_nothing_is_missed_beside_writers(space):
    """There is one snapshot a shard and none over all: what is committed is found all along."""
    over = threading.Event()

    def write(seed: int) -> None:
        """Each hash that comes is found at once, and as long as its row is there."""
        draw = random.Random(seed)
        with space.connect() as conn:
            while not over.is_set():
                hashes = [draw.getrandbits(64) - 2**63 for _ in range(draw.choice([1, 20, 300]))]
                conn.execute(INSERT, [hashes])
                for value in draw.sample(hashes, min(5, len(hashes))):
                    for radius in (0, 8, 30):
                        query = "SELECT hash FROM imgdb.within('cluster', %s, %s)"
                        assert (value,) in conn.execute(query, [value, radius]).fetchall()
                conn.execute("DELETE FROM hashes WHERE hash = ANY (%s)", [hashes[::2]])

    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, seed) for seed in range(3)]
        try:
            for _ in range(3):
                for step in (
                    "SELECT imgdb._flush(%s::smallint, 5000, true)",
                    "SELECT imgdb._merge(%s::smallint, NULL, 2000)",
                    "SELECT imgdb._merge(%s::smallint, NULL, 1000000)",
                ):
                    space.conn.execute(step, [space.space_id])
                    searched = brute_force.signed(space.held())[::200].tolist()
                    found = space.within_any(searched, 0)
                    gone = [query for query in searched if query not in found]
                    assert set(gone).isdisjoint(space.held())
                space.conn.execute("CALL imgdb.compact('cluster', 500)")
                space.drop_stale()
                assert not any(writer.done() for writer in writers)
        finally:
            over.set()
        for writer in writers:
            writer.result()
    space.compact()
    space.tidy()
    assert_exact(space, surplus=False)


def test_a_worker_that_is_down_is_an_error(space, nodes):
    """Never less than all matches."""
    space.compact()
    space.compact()
    with psycopg.connect(nodes[1], autocommit=True) as worker:
        file = Path(worker.execute("SHOW hba_file").fetchone()[0])
        before = file.read_text("utf-8")
        try:
            file.write_text(before.replace("local all all trust", "local all all reject"), "utf-8")
            worker.execute("SELECT pg_reload_conf()")
            worker.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
            with space.connect() as conn, pytest.raises(psycopg.Error):
                while True:
                    conn.execute("SELECT * FROM imgdb.within('cluster', 5, 12)")
        finally:
            file.write_text(before, "utf-8")
            worker.execute("SELECT pg_reload_conf()")
