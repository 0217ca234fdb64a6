"""The hashes that are stored, the queries asked of them, and the right answers by brute force."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]

UNIFORM = "uniform"
PHOTO_KINDS = ("phash", "ahash", "dhash", "whash")
UNRELATED = 0.2  # of the queries are near to nothing that is stored


@dataclass(frozen=True, slots=True)
class Dataset:
    """`size` rows of hashes of one kind: `uniform`, or one of the four kinds of photo hashes."""

    kind: str
    size: int
    seed: int
    photo_file: Path | None = None

    @property
    def photo(self) -> bool:
        return self.kind != UNIFORM

    def hashes(self) -> Hashes:
        """Return the rows, as stored: signed, in random order, doubles and all."""
        if not self.photo:
            random = np.random.default_rng([self.seed, self.size])
            return random.integers(-(2**63), 2**63, self.size, dtype=np.int64)
        if self.photo_file is None:
            raise ValueError(f"{self.kind} needs --photo-hashes")
        rows = photo_hashes(self.photo_file, self.kind)
        order = np.random.default_rng(self.seed).permutation(len(rows))[: self.size]
        return rows[order].view(np.int64)

    def images(self) -> NDArray[np.int64]:
        """Return rows of all four hashes, in the order of PHOTO_KINDS."""
        random = np.random.default_rng([self.seed, self.size])
        if self.photo_file is None:
            return random.integers(-(2**63), 2**63, (self.size, 4), dtype=np.int64)
        columns = [photo_hashes(self.photo_file, kind) for kind in PHOTO_KINDS]
        order = random.permutation(len(columns[0]))[: self.size]
        return np.stack([column[order].view(np.int64) for column in columns], axis=1)


@cache
def photo_hashes(file: Path, kind: str) -> NDArray[np.uint64]:
    with np.load(file) as arrays:
        return np.asarray(arrays[kind], dtype=np.uint64)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def queries(hashes: Hashes, count: int, flips: int, seed: int) -> list[int]:
    """Draw stored hashes with `flips` bits turned, and unrelated ones, in random order.

    An unrelated query takes each bit from one of two stored hashes, by coin: it looks like the
    data, and is some 16 bits away from both.
    """
    random = np.random.default_rng([seed, len(hashes), flips])
    lone = round(count * UNRELATED)
    drawn = random.choice(hashes, count - lone)
    turned = [
        np.bitwise_or.reduce(np.int64(1) << random.choice(64, flips, replace=False), initial=0)
        for _ in drawn
    ]
    first, second = random.choice(hashes, (2, lone))
    coins = random.integers(-(2**63), 2**63, lone, dtype=np.int64)
    mixed = (first & coins) | (second & ~coins)
    asked = np.concatenate([drawn ^ np.array(turned, dtype=np.int64), mixed])
    return [int(query) for query in random.permutation(asked)]


def distances(hashes: Hashes, query: int) -> NDArray[np.uint8]:
    return np.bitwise_count((hashes ^ np.int64(query)).view(np.uint64))


def within(hashes: Hashes, query: int, radius: int) -> set[int]:
    """Return all distinct hashes within radius, by looking at every one."""
    return set(hashes[distances(hashes, query) <= radius].tolist())


def nearest(distinct: Hashes, query: int, count: int) -> list[int]:
    """Return the distances of the `count` nearest of distinct hashes, ascending."""
    found = distances(distinct, query)
    count = min(count, len(found))
    return sorted(int(d) for d in np.partition(found, count - 1)[:count])
