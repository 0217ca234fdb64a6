"""Compare imgdb's hashes with imagehash's on many pictures; minutes long, so not part of CI.

    PYTHONPATH=tests/support python tests/make/prove_hashes.py PICTURES [--arrays N] [--no-files]

PICTURES is the folder that get_images.sh filled: every file that loads is hashed, and each of the
70,000 pictures of Fashion-MNIST, tiny pictures of one size 64 at a time, as a worker does it. Run
it under every Pillow that pyproject.toml allows.
"""

import argparse
import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
from hash_pictures import random_pictures
from imagehash_oracle import hash_by_imagehash
from PIL import Image

from imgdb.errors import PictureError
from imgdb.hashes import resample
from imgdb.hashes.exact import is_quicker_together, read_together
from imgdb.hashes.values import ALGORITHMS
from imgdb.pictures import loader


def fashion_mnist(folder: Path) -> Iterator[Image.Image]:
    for file in sorted(folder.glob("**/*-images-idx3-ubyte.gz")):
        pixels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8, offset=16)
        yield from map(Image.fromarray, pixels.reshape(-1, 28, 28))


def files(folder: Path) -> Iterator[Image.Image]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                yield loader.load(path).grey
            except PictureError:
                continue


def alike(pictures: Iterator[Image.Image]) -> Iterator[list[Image.Image]]:
    """Put neighbours of one size together, if they are tiny."""
    greys: list[Image.Image] = []
    for grey in pictures:
        if greys and (
            len(greys) == 64 or grey.size != greys[0].size or not is_quicker_together(grey)
        ):
            yield greys
            greys = []
        greys.append(grey)
    if greys:
        yield greys


def compare(name: str, pictures: Iterator[Image.Image]) -> int:
    """Print how many pictures differ in each hash; return the number of differences."""
    count = 0
    different: Counter[str] = Counter()
    for greys in alike(pictures):
        count += len(greys)
        for grey, reading in zip(greys, read_together(greys), strict=True):
            ours, theirs = reading.hashes, hash_by_imagehash(grey)
            different.update(n for n in ALGORITHMS if getattr(ours, n) != getattr(theirs, n))
    words = ", ".join(f"{n} {k}" for n, k in different.items()) or "no difference"
    print(f"{name}: {count} pictures, {words}", flush=True)
    return different.total()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--arrays", type=int, default=50_000)
    parser.add_argument("--no-files", action="store_true")
    arguments = parser.parse_args()
    print(*(f"{n} {version(n)}" for n in ("pillow", "numpy", "scipy", "imagehash", "pywavelets")))
    print("matrix products round like Pillow:", resample._rounds_like_pillow())
    total = compare("random arrays", random_pictures(arguments.arrays, seed=1))
    total += compare("Fashion-MNIST", fashion_mnist(arguments.pictures))
    if not arguments.no_files:
        total += compare("files", files(arguments.pictures))
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
