"""Measure `imgdb ingest` against a plain loop, in one run on one server.

    python -m benchmarks.ingest PICTURES        (the folder that get_images.sh filled)

Ratios are the point: the ways take turns in rounds, so that a busy machine slows all of them alike,
and the medians of the rounds count. `imgdb` is the command as a person calls it: its start, the
starts of its processes and its compacting count. The plain loop, which is slow, goes over a part of
the files. What is measured goes into results/ingest.json, with the machine it was measured on;
`python -m benchmarks.ingest_tables` renders it into docs/ingest.md.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import imagehash
import numpy as np
import psycopg
from PIL import Image

from benchmarks.environment import environment
from benchmarks.large_jpegs import Maker
from imgdb import schema
from imgdb.database.embedded import Server
from imgdb.hashes.fingerprint import Fingerprint
from imgdb.hashes.values import ALGORITHMS
from imgdb.ingest.store import Batch, Store
from imgdb.pictures.decoding import Decode
from imgdb.pictures.loader import load

RESULT = Path(__file__).parent / "results" / "ingest.json"
JOBS = 2
BATCH = 5000

# So often each large picture lies in the folder, by hard links: starting takes a second, and would
# count for much of the quickest way.
LINKS = 16

Way = Callable[[list[Path]], None]


def large(folder: Path, pictures: Path, count: int) -> list[Path]:
    """Write JPEGs of 12 megapixels, the different ones first."""
    files = Maker(pictures, seed=1).one_size((4000, 3000), count)
    paths = [_written(folder / f"{number}.jpg", content) for number, content in enumerate(files)]
    links = [path.with_stem(f"{path.stem}-{link}") for link in range(1, LINKS) for path in paths]
    for number, link in enumerate(links):
        link.hardlink_to(paths[number % count])
    return paths + links


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def small(folder: Path, pictures: Path, count: int) -> list[Path]:
    """Write pictures of 28x28 as PNG."""
    file = next(pictures.glob("**/train-images-idx3-ubyte.gz"))
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
    paths = []
    for number, picture in enumerate(islice(pixels.reshape(-1, 28, 28), count)):
        paths.append(folder / f"{number}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def plain_loop(paths: list[Path]) -> None:
    """Hash as the documentation of imagehash does, in one process."""
    for path in paths:
        with Image.open(path) as image:
            for name in ("average_hash", "dhash", "phash", "whash"):
                getattr(imagehash, name)(image)


def decode_only(decode: Decode) -> Way:
    """Return a way that decodes with as many processes, and does nothing else."""

    def run(paths: list[Path]) -> None:
        share = min(64, len(paths) // (4 * JOBS) or 1)
        tasks = [paths[at : at + share] for at in range(0, len(paths), share)]
        with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(decode_all, tasks, [decode] * len(tasks)):
                pass

    return run


def decode_all(paths: list[Path], decode: Decode) -> None:
    for path in paths:
        load(path, decode=decode)


class Command:
    """`imgdb` on a server; `database_seconds` is what its last call had the server do."""

    def __init__(self, conninfo: str) -> None:
        self.conninfo = conninfo
        self.database_seconds = 0.0

    def ingest(self, decode: Decode) -> Way:
        """Return the way of `imgdb ingest` into an empty collection."""

        def run(paths: list[Path]) -> None:
            folder = str(paths[0].parent)
            told = self("ingest", folder, "--jobs", str(JOBS), "--decode", decode)
            assert told["added"] == len(paths), told

        return run

    def __call__(self, *arguments: str) -> dict[str, Any]:
        before = self._active_seconds()
        done = subprocess.run(
            [sys.executable, "-c", "from imgdb.cli import main; main()", *arguments],
            env={**os.environ, "IMGDB_DSN": self.conninfo},
            stdout=subprocess.PIPE,
            check=True,
        )
        self.database_seconds = self._active_seconds() - before
        return dict(json.loads(done.stdout))

    def empty(self) -> None:
        """Forget all images, and leave the server nothing to write out meanwhile."""
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            conn.execute(
                "TRUNCATE imgdb.image, imgdb.image_region, imgdb.not_duplicate,"
                " imgdb.ingest_failure, imgdb.prefix_bucket"
            )
            conn.execute("CHECKPOINT")

    def _active_seconds(self) -> float:
        """Return how long the statements of all sessions took, once those have ended."""
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            while conn.execute(
                "SELECT FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).rowcount:
                time.sleep(0.01)
            row = conn.execute(
                "SELECT active_time FROM pg_stat_database WHERE datname = current_database()"
            ).fetchone()
            assert row is not None
            return float(row[0]) / 1000


def measure_ways(
    paths: list[Path], plain: int, command: Command, rounds: int
) -> dict[str, dict[str, float]]:
    """Return the images per second of each way, and the database's share of the time of ours."""
    ways: dict[str, tuple[Way, list[Path]]] = {
        "plain loop": (plain_loop, paths[:plain]),
        "decode only, exact": (decode_only("exact"), paths),
        "decode only, scaled": (decode_only("scaled"), paths),
        "exact": (command.ingest("exact"), paths),
        "scaled": (command.ingest("scaled"), paths),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {"exact": [], "scaled": []}
    for number in range(rounds):
        for name, (way, files) in ways.items():
            command.empty()
            start = time.perf_counter()
            way(files)
            seconds = time.perf_counter() - start
            rates[name].append(round(len(files) / seconds, 3))
            print(f"round {number + 1}, {name}: {rates[name][-1]} images/s", file=sys.stderr)
            if name in shares:
                shares[name].append(round(command.database_seconds / seconds, 4))
    found = {name: {"rate": median(of_way)} for name, of_way in rates.items()}
    for name, share in shares.items():
        found[name]["database"] = median(share)
    return found


def append_rate(conn: psycopg.Connection[Any], count: int) -> float:
    """Return images per second that one connection stores, with all four hashes."""
    store = Store(conn, "append")
    random = np.random.default_rng(2)
    batches = [Batch(images=dict(_images(random, at, BATCH))) for at in range(0, count, BATCH)]
    start = time.perf_counter()
    for batch in batches:
        store.store(batch)
    return round(count / (time.perf_counter() - start))


def _images(
    random: np.random.Generator, first: int, count: int
) -> Iterator[tuple[str, Fingerprint]]:
    hashes = random.integers(-(2**63), 2**63 - 1, (count, 4), dtype=np.int64).tolist()
    now = datetime.now(UTC)
    for number, four in enumerate(hashes, first):
        made = dict(zip(ALGORITHMS, four, strict=True))
        found = Fingerprint(
            format="JPEG", width=4000, height=3000, frames=1, byte_size=number, modified_at=now,
            sha256=random.bytes(32), flat=False, recipe="exact-1",
            colours=random.bytes(27), **made,
        )  # fmt: skip
        yield f"/photos/{number:09}.jpg", found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--large", type=int, default=40, help=f"12 megapixels, {LINKS} links each")
    parser.add_argument("--small", type=int, default=60_000, help="pictures of 28x28")
    parser.add_argument("--plain", type=int, default=10_000, help="of these, for the plain loop")
    parser.add_argument("--append", type=int, default=200_000, help="images to store")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    load_before = round(os.getloadavg()[0], 1)
    with tempfile.TemporaryDirectory(prefix="imgdb-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the server may run as another user
        for part in ("large", "small"):
            (folder / part).mkdir()
        sets = {
            "12 Mpx": (large(folder / "large", given.pictures, given.large), given.large),
            "28x28": (small(folder / "small", given.pictures, given.small), given.plain),
        }
        # benchmarks.large_jpegs loads its sources under a lower limit, which Pillow keeps.
        Image.MAX_IMAGE_PIXELS = None
        with Server(folder / "home") as server:
            schema.upgrade(server.conninfo())
            command = Command(server.conninfo())
            found = {
                name: measure_ways(paths, plain, command, given.rounds)
                for name, (paths, plain) in sets.items()
            }
            command.empty()
            with psycopg.connect(server.conninfo(), autocommit=True) as conn:
                appended = append_rate(conn, given.append)
                row = conn.execute("SHOW server_version").fetchone()
    assert row is not None
    result = {
        "environment": {**environment(), "postgresql": row[0]},
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load average": load_before,
        "jobs": JOBS,
        "rounds": given.rounds,
        "files": {name: len(paths) for name, (paths, _) in sets.items()},
        "images per second": found,
        "appended per second": appended,
    }
    given.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
