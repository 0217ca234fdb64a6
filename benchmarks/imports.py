"""Measure `imgdb import` against a plain COPY, in one run on one server.

    python -m benchmarks.imports

The two take turns in rounds, so that a busy machine slows both alike, and the medians count. What
is measured goes into results/imports.json, with the machine it was measured on;
`python -m benchmarks.ingest_tables` renders it into docs/ingest.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import psycopg

from benchmarks.environment import environment
from benchmarks.ingest import Command
from imgdb import schema
from imgdb.database.embedded import Server

RESULT = Path(__file__).parent / "results" / "imports.json"


def write_hashes(folder: Path, count: int) -> tuple[Path, Path]:
    """Write paths and hashes as `imgdb import` takes them, and as PostgreSQL does."""
    hashes = np.random.default_rng(3).integers(0, 2**64 - 1, count, dtype=np.uint64)
    paths = [f"/photos/{number:09}.jpg" for number in range(count)]
    pairs = list(zip(paths, hashes.tolist(), hashes.view(np.int64).tolist(), strict=True))
    ours, theirs = folder / "hashes.csv", folder / "signed.csv"
    ours.write_text("path,phash\n" + "".join(f"{path},{h:016x}\n" for path, h, _ in pairs))
    theirs.write_text("".join(f"{path},{signed}\n" for path, _, signed in pairs))
    return ours, theirs


def import_rates(command: Command, folder: Path, count: int, rounds: int) -> dict[str, float]:
    """Return hashes per second of `imgdb import`, from a CSV file into one space, and of COPY."""
    ours, theirs = write_hashes(folder, count)
    rates: dict[str, list[float]] = {"import": [], "copy": []}
    for number in range(rounds):
        command.empty()
        start = time.perf_counter()
        command("import", str(ours), "--collection", "import", "--format", "json")
        rates["import"].append(round(count / (time.perf_counter() - start)))
        command.empty()
        rates["copy"].append(round(count / plain_copy(command.conninfo, theirs)))
        told = ", ".join(f"{name} {of_way[-1]:,}" for name, of_way in rates.items())
        print(f"round {number + 1}, {count:,} lines: {told} hashes/s", file=sys.stderr)
    return {name: median(of_way) for name, of_way in rates.items()}


def plain_copy(conninfo: str, file: Path) -> float:
    """Return the seconds of COPY into a table like imgdb.image, which nothing else is done for."""
    with psycopg.connect(conninfo) as conn:
        conn.execute("CREATE TABLE plain_copy (LIKE imgdb.image INCLUDING ALL)")
        conn.execute(
            "ALTER TABLE plain_copy ALTER collection_id SET DEFAULT 1,"
            " ALTER recipe SET DEFAULT 'imported'"
        )
        conn.commit()
        start = time.perf_counter()
        statement = "COPY plain_copy (path, phash) FROM STDIN (FORMAT csv)"
        with file.open("rb") as content, conn.cursor().copy(statement) as copy:
            while part := content.read(1 << 20):
                copy.write(part)
        conn.commit()
        seconds = time.perf_counter() - start
        conn.execute("DROP TABLE plain_copy")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imports")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[1_000_000], help="to import at once"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="imgdb-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server may run as another user
        with Server(folder / "home") as server:
            schema.upgrade(server.conninfo())
            command = Command(server.conninfo())
            rates = {
                str(count): import_rates(command, folder, count, given.rounds)
                for count in given.rows
            }
            with psycopg.connect(server.conninfo()) as conn:
                row = conn.execute("SHOW server_version").fetchone()
    assert row is not None
    result = {
        "environment": {**environment(), "postgresql": row[0]},
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load average": load_before,
        "rounds": given.rounds,
        "imported per second": rates,
    }
    given.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
