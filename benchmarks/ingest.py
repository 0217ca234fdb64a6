"""Measure `imgdb ingest` and `imgdb import` against a plain loop, in one run on one server.

    python -m benchmarks.ingest PICTURES        (the folder that get_images.sh filled)

Ratios are the point: each way goes over the same files in rounds, so that a busy machine slows all
of them alike, and the best round counts; starting the processes counts too. What is measured goes
into results/ingest.json, with the machine it was measured on.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import psycopg
from PIL import Image

from benchmarks.environment import environment
from benchmarks.large_jpegs import Maker
from imgdb import schema
from imgdb.embedded import Server
from imgdb.fingerprint import Fingerprint
from imgdb.hashing import ALGORITHMS
from imgdb.importing import import_hashes
from imgdb.ingest import ingest
from imgdb.loader import Decode, load
from imgdb.options import Options
from imgdb.store import Batch, Store

RESULT = Path(__file__).parent / "results" / "ingest.json"
JOBS = 2
ROUNDS = 2
BATCH = 5000

# Ratio to what it is to be at least; the last one at most.
TARGETS = {
    "12 Mpx: exact / plain loop": 5.0,
    "12 Mpx: scaled / plain loop": 20.0,
    "12 Mpx: scaled / decode only": 0.8,
    "28x28: exact / plain loop": 4.0,
    "12 Mpx: database share": 0.1,
}


def large(folder: Path, pictures: Path, count: int) -> list[Path]:
    """Write JPEGs of 12 megapixels."""
    files = Maker(pictures, seed=1).one_size((4000, 3000), count)
    return [_written(folder / f"{number}.jpg", content) for number, content in enumerate(files)]


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


def decode_only(decode: Decode) -> Callable[[list[Path]], None]:
    """Return a way that decodes with as many processes, and does nothing else."""

    def run(paths: list[Path]) -> None:
        share = min(16, len(paths) // (4 * JOBS) or 1)
        tasks = [paths[at : at + share] for at in range(0, len(paths), share)]
        with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
            for _ in pool.map(decode_all, tasks, [decode] * len(tasks)):
                pass

    return run


def decode_all(paths: list[Path], decode: Decode) -> None:
    for path in paths:
        load(path, decode=decode)


class Ingests:
    """`imgdb ingest` into an empty collection; adds up the seconds spent with the database."""

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.conn = conn
        self.database_seconds = 0.0
        for name in ("compare", "store"):
            setattr(Store, name, self._timed(getattr(Store, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **options)
            finally:
                self.database_seconds += time.perf_counter() - start

        return timed

    def way(self, decode: Decode) -> Callable[[list[Path]], None]:
        def run(paths: list[Path]) -> None:
            empty(self.conn)
            self.database_seconds = 0.0
            options = Options(jobs=JOBS, decode=decode)
            summary = ingest(self.conn, [str(paths[0].parent)], options=options)
            assert summary.added == len(paths), summary

        return run


def empty(conn: psycopg.Connection[Any]) -> None:
    conn.execute(
        "TRUNCATE imgdb.image, imgdb.not_duplicate, imgdb.ingest_failure, imgdb.prefix_bucket"
    )


def measure_ways(paths: list[Path], ingests: Ingests) -> dict[str, float]:
    """Return images per second of each way, and the database's share of the exact one's time."""
    ways = {
        "plain loop": plain_loop,
        "decode only": decode_only("exact"),
        "decode only, scaled": decode_only("scaled"),
        "exact": ingests.way("exact"),
        "scaled": ingests.way("scaled"),
    }
    best = dict.fromkeys(ways, float("inf"))
    share = 1.0
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way(paths)
            seconds = time.perf_counter() - start
            best[name] = min(best[name], seconds)
            if name == "exact":
                share = min(share, ingests.database_seconds / seconds)
    rates = {name: round(len(paths) / seconds, 1) for name, seconds in best.items()}
    return {**rates, "database share": round(share, 4)}


def append_rate(conn: psycopg.Connection[Any], count: int) -> float:
    """Return images per second that one connection stores, with all four hashes."""
    empty(conn)
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
            sha256=random.bytes(32), flat=False, recipe="exact-1", **made,
        )  # fmt: skip
        yield f"/photos/{number:09}.jpg", found


def import_rate(conn: psycopg.Connection[Any], folder: Path, count: int) -> float:
    """Return hashes per second from a CSV file into one space."""
    empty(conn)
    path = folder / "hashes.csv"
    hashes = np.random.default_rng(3).integers(0, 2**64 - 1, count, dtype=np.uint64)
    with path.open("w") as file:
        file.write("path,phash\n")
        file.writelines(f"/photos/{n:09}.jpg,{h:016x}\n" for n, h in enumerate(hashes.tolist()))
    start = time.perf_counter()
    import_hashes(conn, path, collection="import")
    return round(count / (time.perf_counter() - start))


def ratios(big: dict[str, float], tiny: dict[str, float]) -> dict[str, float]:
    return {
        "12 Mpx: exact / plain loop": round(big["exact"] / big["plain loop"], 2),
        "12 Mpx: scaled / plain loop": round(big["scaled"] / big["plain loop"], 2),
        "12 Mpx: scaled / decode only": round(big["scaled"] / big["decode only, scaled"], 2),
        "28x28: exact / plain loop": round(tiny["exact"] / tiny["plain loop"], 2),
        "12 Mpx: database share": big["database share"],
    }


def main() -> None:
    # benchmarks.large_jpegs loads its sources under a lower limit, which Pillow keeps.
    Image.MAX_IMAGE_PIXELS = None
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--large", type=int, default=40, help="pictures of 12 megapixels")
    parser.add_argument("--small", type=int, default=10_000, help="pictures of 28x28")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows to import")
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imgdb-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        for part in ("large", "small"):
            (folder / part).mkdir()
        big = large(folder / "large", given.pictures, given.large)
        tiny = small(folder / "small", given.pictures, given.small)
        with Server(folder / "home") as server:
            schema.upgrade(server.conninfo())
            with psycopg.connect(server.conninfo(), autocommit=True) as conn:
                ingests = Ingests(conn)
                found = {"12 Mpx": measure_ways(big, ingests), "28x28": measure_ways(tiny, ingests)}
                appended = append_rate(conn, given.rows // 5)
                imported = import_rate(conn, folder, given.rows)
    result = {
        "environment": environment(),
        "load": round(os.getloadavg()[0], 1),
        "jobs": JOBS,
        "images per second": found,
        "images appended per second, four spaces": appended,
        "hashes imported per second, one space": imported,
        "ratios": ratios(found["12 Mpx"], found["28x28"]),
        "targets": TARGETS,
    }
    given.result.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
