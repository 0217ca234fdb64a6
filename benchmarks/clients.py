"""Many clients at once, by pgbench: searches a second and how long each waits, with writers too."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import dataset
from benchmarks.progress import say
from benchmarks.store import Store
from imgdb.database.embedded.binaries import find_bindir

CLIENTS = (1, 4, 16, 64)
RADIUS = 8
ASKED = 2000
WRITERS = 2
# Transactions a second of both writers: of ten nine insert one row, and one inserts a thousand.
RATE = 50

# The query comes from a table, as pgbench cannot flip bits; finding it counts.
SEARCH = f"""\
\\set n random(1, {ASKED})
SELECT hash AS query FROM asked WHERE asked_id = :n \\gset
SELECT hash, distance FROM imgdb.within('bench', :query, {RADIUS});
"""
SINGLE = "INSERT INTO photo SELECT hashint8extended(:n, 1);\n"
BATCH = (
    "INSERT INTO photo SELECT hashint8extended(n, 2)"
    " FROM generate_series(:n::bigint, :n::bigint + 999) AS n;\n"
)
SOME = "\\set n random(1, 1000000000)\n"


def clients(store: Store, *, seconds: float, seed: int) -> dict[str, Any]:
    """Let 1 to 64 clients search, alone and then beside writers whose hashes are flushed.

    pgbench, the clients and the server share the processors.
    """
    queries = dataset.queries(store.hashes, ASKED, RADIUS, seed)
    with store.connect() as conn:
        conn.execute("CREATE TABLE asked (asked_id int PRIMARY KEY, hash bigint NOT NULL)")
        conn.execute(
            "INSERT INTO asked SELECT n, hash FROM unnest(%s::bigint[]) WITH ORDINALITY"
            " AS q (hash, n)",
            [queries],
        )
        conn.execute("VACUUM (ANALYZE) asked")
    measures = []
    for writing in (False, True):
        for count in CLIENTS:
            measure = {
                "clients": count,
                "writing": writing,
                **together(store, count, writing, seconds),
            }
            measures.append(measure)
            say("    " + ", ".join(f"{name} {value}" for name, value in measure.items()))
    return {"measures": measures, "radius": RADIUS, "seconds": seconds, "rate": RATE}


def together(store: Store, count: int, writing: bool, seconds: float) -> dict[str, Any]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "search.sql").write_text(SEARCH)
        (folder / "single.sql").write_text(SOME + SINGLE)
        (folder / "batch.sql").write_text(SOME + BATCH)
        searching = Pgbench(store, folder, "searches", count, seconds, ["-f", "search.sql"])
        scripts = ["-f", "single.sql@9", "-f", "batch.sql@1", "--rate", str(RATE)]
        if not writing:
            return searching.latency()
        writers = Pgbench(store, folder, "writers", WRITERS, seconds, scripts)
        theirs = {f"writers_{name}": value for name, value in writers.latency().items()}
        return searching.latency() | theirs


class Pgbench:
    """One run of pgbench, which begins at once."""

    def __init__(
        self, store: Store, folder: Path, name: str, count: int, seconds: float, scripts: list[str]
    ) -> None:
        self.folder, self.name, self.seconds = folder, name, seconds
        told = ["-n", "-M", "prepared", "-c", str(count), "-T", f"{seconds:.0f}", "-l"]
        self._process = subprocess.Popen(
            [find_bindir() / "pgbench", *told, "--log-prefix", name, *scripts, store.conninfo],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def latency(self) -> dict[str, Any]:
        """Wait for the end; return transactions a second and milliseconds of each."""
        with self._process:
            output, _ = self._process.communicate()
        if self._process.returncode:
            raise AssertionError(output)
        # client, number, microseconds, ...
        lines = [line.split() for file in self.folder.glob(f"{self.name}.*")
                 for line in file.read_text().splitlines()]  # fmt: skip
        taken = np.array([int(line[2]) for line in lines]) / 1000
        p50, p99 = np.percentile(taken, [50, 99])
        return {
            "per_second": round(len(taken) / self.seconds, 1),
            "p50_ms": round(float(p50), 3),
            "p99_ms": round(float(p99), 3),
        }
