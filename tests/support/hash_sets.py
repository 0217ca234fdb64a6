"""Sets of hashes to search: drawn by hypothesis, and samples of real ones."""

import functools
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from brute_force import Hashes, signed
from hypothesis import strategies as st
from PIL import Image

from imgdb.hashes.exact import hash_grey

SMALLEST, LARGEST = -(2**63), 2**63 - 1
# What rules with signs, shifts and masks get wrong first.
CORNERS = (SMALLEST, SMALLEST + 1, -1, 0, 1, LARGEST - 1, LARGEST)

PHOTO_HASHES = Path(__file__).parents[3] / "shared" / "data" / "photo_hashes_1m.npz"
DEBIAN_DATASETS = Path("/usr/share/datasets")

any_hash = st.integers(SMALLEST, LARGEST)
any_radius = st.integers(0, 64)
# Where the strategies change: thresholds of bands, the largest prepared radius, the scan.
some_radius = st.sampled_from([0, 1, 2, 3, 4, 7, 8, 11, 12, 13, 20, 63, 64]) | any_radius


def flipped(value: int, bits: frozenset[int]) -> int:
    """Turn bits (0 is the lowest) of a hash."""
    turned = sum(1 << bit for bit in bits)
    return ((value ^ turned) + 2**63) % 2**64 - 2**63


def near(centre: st.SearchStrategy[int], most: int = 14) -> st.SearchStrategy[int]:
    """Draw hashes at most `most` bits away from a centre."""
    return st.builds(flipped, centre, st.frozensets(st.integers(0, 63), max_size=most))


def clustered() -> st.SearchStrategy[list[int]]:
    """Draw hashes that crowd about few centres, as those of real pictures do."""
    centres = st.lists(any_hash | st.sampled_from(CORNERS), min_size=1, max_size=3)
    return centres.flatmap(lambda found: st.lists(near(st.sampled_from(found)), max_size=40))


hash_lists = (
    st.lists(any_hash, max_size=40)
    | clustered()
    | st.lists(st.sampled_from(CORNERS), max_size=10)
    | st.builds(lambda value, count: [value] * count, any_hash, st.integers(1, 30))
)


@functools.cache
def photo_hashes(kind: str, count: int) -> Hashes:
    """Return `count` hashes of natural pictures, of one kind (`phash`, ...)."""
    if not PHOTO_HASHES.exists():
        pytest.skip(f"no {PHOTO_HASHES.name} beside the repository")
    with np.load(PHOTO_HASHES) as stored:
        every = stored[kind]
    return signed(np.random.default_rng(1).choice(every, count, replace=False))


@functools.cache
def fashion_hashes(kind: str, count: int) -> Hashes:
    """Return the hashes of the first `count` pictures of Fashion-MNIST's training set."""
    fetched = os.environ.get("IMGDB_TEST_PICTURES", "pictures")
    found = [
        path
        for folder in (DEBIAN_DATASETS, Path(fetched))
        for path in folder.rglob("train-images-idx3-ubyte.gz")
    ]
    if not found:
        pytest.skip("no Fashion-MNIST: apt-get install dataset-fashion-mnist")
    with gzip.open(found[0]) as file:
        pixels = np.frombuffer(file.read(16 + count * 784), np.uint8, offset=16)
    pictures = pixels.reshape(-1, 28, 28)
    hashes = [getattr(hash_grey(Image.fromarray(p), (kind,)), kind) for p in pictures]
    return np.unique(np.array(hashes, dtype=np.int64))
