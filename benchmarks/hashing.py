"""Compare the ways from a file to its four hashes: images per second, and ratios in one run.

    python benchmarks/hashing.py PICTURES

PICTURES is the folder that get_images.sh filled. Each way goes over the same files in rounds, so
that a busy machine slows all of them alike; the best round counts. The processor time of one
process tells the work itself; images per second tell what two processes make of it.
"""

import argparse
import gc
import gzip
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

# The worker processes fill the cores; threads of the BLAS would only stand in their way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import imagehash
import numpy as np
from environment import environment
from large_jpegs import Maker
from PIL import Image

from imgdb.hashes.fingerprint import fingerprint
from imgdb.pictures import loader

RESULT = Path(__file__).parent / "results" / "hashing.json"
ROUNDS = 2


def fashion_mnist(folder: Path) -> Iterator[Image.Image]:
    """Give the 28x28 pictures of Fashion-MNIST."""
    file = next(folder.glob("**/train-images-idx3-ubyte.gz"))
    pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
    return map(Image.fromarray, pixels.reshape(-1, 28, 28))


def imagehash_four_times(path: str) -> None:
    with Image.open(path) as image:
        for function in (
            imagehash.average_hash,
            imagehash.dhash,
            imagehash.phash,
            imagehash.whash,
        ):
            function(image)


def exact(path: str) -> None:
    fingerprint(path)


def scaled(path: str) -> None:
    fingerprint(path, decode="scaled")


def decode_exact(path: str) -> None:
    loader.load(path)


def decode_scaled(path: str) -> None:
    loader.load(path, decode="scaled")


WAYS: tuple[Callable[[str], None], ...] = (
    imagehash_four_times,
    exact,
    scaled,
    decode_exact,
    decode_scaled,
)


def each(way: Callable[[str], None], paths: list[str]) -> float:
    start = time.process_time()
    for path in paths:
        way(path)
    return time.process_time() - start


def pooled(pool: ProcessPoolExecutor, way: Callable[[str], None], tasks: list[list[str]]) -> float:
    """Return the seconds of processor time that the workers took."""
    return sum(task.result() for task in [pool.submit(each, way, paths) for paths in tasks])


def rates(paths: list[str], jobs: int, per_task: int) -> dict[str, dict[str, float]]:
    """Measure images per second of each way over `jobs` processes, and its processor time."""
    tasks = [paths[i : i + per_task] for i in range(0, len(paths), per_task)]
    best = {way.__name__: (float("inf"), float("inf")) for way in WAYS}
    # Nothing that is loaded by then is garbage: the collector need not look at it again.
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("forkserver"), initializer=gc.freeze
    ) as pool:
        for way in WAYS:  # imports, first tables, self-test
            pooled(pool, way, [paths[:1]] * 2 * jobs)
        for _ in range(ROUNDS):
            for way in WAYS:
                start = time.perf_counter()
                processor = pooled(pool, way, tasks)
                wall, least = best[way.__name__]
                best[way.__name__] = min(wall, time.perf_counter() - start), min(least, processor)
    return {
        name: {
            "images_per_second": round(len(paths) / wall, 1),
            "processor_ms": round(processor / len(paths) * 1000, 3),
        }
        for name, (wall, processor) in best.items()
    }


def measure(paths: list[str], per_task: int) -> dict[str, object]:
    one, two = rates(paths, 1, per_task), rates(paths, 2, per_task)
    plain = one["imagehash_four_times"]
    return {
        "files": len(paths),
        "1 process": one,
        "2 processes": two,
        "times the plain loop": {
            name: {
                "per processor time": round(plain["processor_ms"] / one[name]["processor_ms"], 1),
                "2 processes": round(
                    two[name]["images_per_second"] / plain["images_per_second"], 1
                ),
            }
            for name in one
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    pictures = parser.parse_args().pictures
    sets = {}
    with tempfile.TemporaryDirectory() as folder:
        large, small = [], []
        for number, content in enumerate(Maker(pictures, 1).one_size((4000, 3000), 8)):
            large.append(f"{folder}/{number}.jpg")
            Path(large[-1]).write_bytes(content)
        for number, image in enumerate(islice(fashion_mnist(pictures), 2000)):
            small.append(f"{folder}/{number}.png")
            image.save(small[-1])
        sets["JPEG 4000x3000"] = measure(large, 1)
        sets["PNG 28x28"] = measure(small, 64)
    result = {"environment": environment(), "rounds": ROUNDS, "sets": sets}
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(sets, indent=2))


if __name__ == "__main__":
    main()
