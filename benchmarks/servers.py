"""What is asked of PostgreSQL over a connection: imgdb, the sequential scan, pgvector."""

import math
import time
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.store import Store

# The default lets PostgreSQL use parallel workers; "one process" is what a busy server has left.
ONE_PROCESS = {"max_parallel_workers_per_gather": "0"}

WITHIN = "SELECT hash, distance FROM imgdb.within('bench', %s::bigint, %s::integer)"
NEAREST = "SELECT distance FROM imgdb.nearest('bench', %s::bigint, %s::integer)"
SCAN_WITHIN = (
    "SELECT hash, distance FROM (SELECT hash, bit_count((hash # %s::bigint)::bit(64)) AS distance"
    " FROM photo) AS measured WHERE distance <= %s::integer"
)
SCAN_NEAREST = (
    "SELECT bit_count((hash # %s::bigint)::bit(64)) AS distance"
    " FROM photo ORDER BY distance LIMIT %s::integer"
)
VECTOR_WITHIN = (
    "SELECT hash, distance FROM (SELECT hash, bits <~> %s::bigint::bit(64) AS distance FROM bits)"
    " AS measured WHERE distance <= %s::integer"
)
VECTOR_NEAREST = (
    "SELECT bits <~> %s::bigint::bit(64) AS distance FROM bits ORDER BY distance LIMIT %s::integer"
)
HNSW_WITHIN = (
    "SELECT hash, distance FROM (SELECT hash, bits <~> %s::bigint::bit(64) AS distance FROM bits"
    " ORDER BY distance LIMIT {ef}) AS nearest WHERE distance <= %s::integer"
)


def cpu_ms(conn: psycopg.Connection[Any]) -> float:
    """Return the processor's time of a connection's server process so far, in milliseconds."""
    text = Path(f"/proc/{conn.info.backend_pid}/schedstat").read_text("ascii")
    return int(text.split()[0]) / 1e6


class SqlPeer:
    """A prepared statement on a connection of its own; the rows are fetched within the time."""

    def __init__(self, name: str, store: Store, within: str, nearest: str, **settings: str) -> None:
        self.name, self.build = name, {}
        self._within, self._nearest = within, nearest
        self._conn = store.connect(**settings)
        self._parallel = "max_parallel_workers_per_gather" not in settings and self.workers() > 0
        self._cursor = self._conn.cursor(binary=True)

    def question(self, query: int) -> Any:
        return query

    def within(self, question: Any, radius: int) -> Any:
        return self._cursor.execute(self._within, (question, radius), prepare=True).fetchall()

    def nearest(self, question: Any, count: int) -> Any:
        rows = self._cursor.execute(self._nearest, (question, count), prepare=True).fetchall()
        return [row[0] for row in rows]

    def hashes(self, answer: Any) -> set[int]:
        return {row[0] for row in answer}

    def workers(self, radius: int = 8) -> int:
        """Return how many parallel workers PostgreSQL plans to use besides its own process."""
        statement = "EXPLAIN (FORMAT JSON) " + self._within
        with psycopg.ClientCursor(self._conn) as cursor:
            plan = cursor.execute(statement, (0, radius)).fetchone()[0][0]["Plan"]
        while plan is not None:
            if "Workers Planned" in plan:
                return int(plan["Workers Planned"])
            plan = plan.get("Plans", [None])[0]
        return 0

    def cpu(self) -> float:
        """Return the seconds that processors have spent on the connection's process."""
        return math.nan if self._parallel else cpu_ms(self._conn) / 1000

    def close(self) -> None:
        self._conn.close()


def imgdb(store: Store) -> SqlPeer:
    return SqlPeer("imgdb", store, WITHIN, NEAREST)


def sequential_scan(store: Store) -> SqlPeer:
    return SqlPeer("sequential scan", store, SCAN_WITHIN, SCAN_NEAREST)


def lone_scan(store: Store) -> SqlPeer:
    name = "sequential scan, one process"
    return SqlPeer(name, store, SCAN_WITHIN, SCAN_NEAREST, **ONE_PROCESS)


def vector_exact(store: Store) -> SqlPeer:
    """pgvector without an index; the table is made by `make_bits`."""
    return SqlPeer(
        "pgvector exact scan", store, VECTOR_WITHIN, VECTOR_NEAREST, enable_indexscan="off"
    )


def vector_hnsw(store: Store, ef_search: int) -> SqlPeer:
    """The index by its default m and ef_construction; it answers with `ef_search` rows at most."""
    return SqlPeer(
        f"pgvector HNSW, ef_search {ef_search}",
        store,
        HNSW_WITHIN.format(ef=ef_search),
        VECTOR_NEAREST,
        hnsw__ef_search=str(ef_search),
        enable_seqscan="off",
    )


def make_bits(store: Store) -> None:
    """Copy the hashes into a table as pgvector wants them."""
    with store.connect() as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS vector")
        conn.execute(
            "CREATE TABLE IF NOT EXISTS bits AS SELECT hash, hash::bit(64) AS bits FROM photo"
        )
        conn.execute("VACUUM (ANALYZE) bits")


def build_hnsw(store: Store) -> dict[str, Any]:
    """Build the index with memory enough for the whole graph; return seconds and bytes."""
    with store.connect(maintenance_work_mem="2GB") as conn:
        started = time.perf_counter()
        conn.execute("CREATE INDEX bits_hnsw_idx ON bits USING hnsw (bits bit_hamming_ops)")
        seconds = round(time.perf_counter() - started, 3)
        size = conn.execute("SELECT pg_relation_size('bits_hnsw_idx')").fetchone()[0]
    return {"seconds": seconds, "bytes": size}
