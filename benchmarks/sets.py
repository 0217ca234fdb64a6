"""Questions about many hashes at once: within_any for many queries, pairs for all of a space."""

import statistics
import time
from typing import Any

import numpy as np
import psycopg

from benchmarks import dataset, servers
from benchmarks.peers import FaissFlat, packed
from benchmarks.progress import say
from benchmarks.store import Store
from imgdb.search.many import within_many

MANY = 1000
MANY_RADII = (4, 8)
PAIR_RADII = (3, 4, 8)
SAMPLE = 1000  # of FAISS's queries; each costs the same, so the rest need not be asked
LATERAL = (
    "SELECT q.query, m.hash FROM unnest(%s::bigint[]) AS q (query)"
    " CROSS JOIN LATERAL imgdb.within('bench', q.query, %s::integer) AS m"
)
ANY = "SELECT query_hash, hash FROM imgdb.within_any('bench', %s::bigint[], %s::integer)"
PAIRS = "CREATE TEMPORARY TABLE found AS SELECT * FROM imgdb.pairs('bench', {radius})"
# Looked up one by one in both columns: no hash table of hashes (docs/benchmarks.md).
NEIGHBOURS = (
    "SELECT hash_a, hash_b FROM found WHERE hash_a = ANY (%(some)s::bigint[])"
    " UNION ALL SELECT hash_b, hash_a FROM found WHERE hash_b = ANY (%(some)s::bigint[])"
)


def within_any(store: Store, *, rounds: int, seed: int) -> dict[str, Any]:
    """Ask 1,000 queries in one call; in a loop, in one statement, and by `within_many`."""
    measures = []
    with store.connect() as conn, conn.cursor(binary=True) as cursor:

        def loop(asked: list[int], radius: int) -> list[tuple[int, int]]:
            return [
                (query, row[0])
                for query in asked
                for row in cursor.execute(servers.WITHIN, (query, radius), prepare=True)
            ]

        def lateral(asked: list[int], radius: int) -> list[tuple[int, int]]:
            return cursor.execute(LATERAL, (asked, radius), prepare=True).fetchall()

        def once(asked: list[int], radius: int) -> list[tuple[int, int]]:
            return cursor.execute(ANY, (asked, radius), prepare=True).fetchall()

        def many(asked: list[int], radius: int) -> list[tuple[int, int]]:
            found = within_many(conn, "bench", asked, radius)
            return [(near.query_hash, near.hash) for near in found]

        ways = {"loop_ms": loop, "lateral_ms": lateral, "any_ms": once, "many_ms": many}
        for radius in MANY_RADII:
            asked = dataset.queries(store.hashes, MANY, radius, seed)
            taken: dict[str, list[float]] = {name: [] for name in ways}
            right: set[tuple[int, int]] | None = None
            for turn in range(rounds + 1):  # the first warms up
                for name, ask in ways.items():
                    started = time.perf_counter()
                    found = ask(asked, radius)
                    if turn:
                        taken[name].append(time.perf_counter() - started)
                    right = right or set(found)
                    if set(found) != right:
                        raise AssertionError(f"{name} and a loop of within differ")
            each = {n: round(statistics.median(t) * 1000 / MANY, 4) for n, t in taken.items()}
            measures.append({"radius": radius, "queries": MANY, **each})
            said = ", ".join(f"{name} {took:.3f}" for name, took in each.items())
            say(f"    r={radius} a query: {said}")
    return {"measures": measures}


def pairs(store: Store, *, limit: float, seed: int) -> dict[str, Any]:
    """Find all near pairs; FAISS searches all against all, of which a sample is timed.

    FAISS's sample is timed before and after. Its neighbours also prove the pairs.
    """
    distinct = np.unique(store.hashes)
    sample = np.random.default_rng(seed).choice(distinct, min(SAMPLE, len(distinct)), replace=False)
    index = FaissFlat(distinct)
    measures = []
    with store.connect(statement_timeout=f"{limit:.0f}s") as conn:
        for radius in PAIR_RADII:
            before, right = faiss_sample(index, sample, radius, distinct)
            measure: dict[str, Any] = {"radius": radius, "sample": len(sample)}
            try:
                started = time.perf_counter()
                rows = conn.execute(PAIRS.format(radius=radius)).rowcount
                measure |= {"seconds": round(time.perf_counter() - started, 3), "pairs": rows}
                check_pairs(conn, sample, right)
                conn.execute("DROP TABLE found")
            except psycopg.errors.QueryCanceled:
                measure |= {"seconds": None, "limit_s": limit}
            after, _ = faiss_sample(index, sample, radius, distinct)
            each = min(before, after) / len(sample)
            measure["faiss_seconds"] = round(each * len(distinct), 1)
            measures.append(measure)
            done = f"{measure['seconds']} s" if measure["seconds"] else f"more than {limit:.0f} s"
            say(f"    pairs r={radius}: {done}, FAISS all against all {measure['faiss_seconds']} s")
    return {"measures": measures}


def faiss_sample(
    index: FaissFlat, sample: dataset.Hashes, radius: int, distinct: dataset.Hashes
) -> tuple[float, set[tuple[int, int]]]:
    """Search the sample in one call; return the seconds and the pairs found, without selves."""
    asked = packed(sample)
    started = time.perf_counter()
    limits, _, numbers = index.index.range_search(asked, radius + 1)
    seconds = time.perf_counter() - started
    owners = np.repeat(sample, np.diff(limits.astype(np.int64)))
    found = zip(owners.tolist(), distinct[numbers].tolist(), strict=True)
    return seconds, {(a, b) for a, b in found if a != b}


def check_pairs(
    conn: psycopg.Connection[Any], sample: dataset.Hashes, right: set[tuple[int, int]]
) -> None:
    rows = conn.execute(NEIGHBOURS, {"some": sample.tolist()}, binary=True).fetchall()
    if len(rows) != len(set(rows)) or set(rows) != right:
        raise AssertionError("pairs and FAISS differ")
