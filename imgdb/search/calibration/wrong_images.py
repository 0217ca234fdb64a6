"""How many images of a collection look like a picture though they are others.

Stored hashes are the queries: nothing is decoded, so thousands can be asked. That many are needed,
since wrong images come from few queries (the worst hundredth brings half of them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from imgdb.hashes.values import ALGORITHMS, rule_hashes
from imgdb.search.calibration import confidence
from imgdb.search.calibration.confidence import Rate

DRAWN = "SELECT * FROM imgdb._drawn_hashes(%(collection)s, %(size)s, %(seed)s)"

# The largest distance that is looked at; unlike pictures are 32 apart on average, by a sum 64.
LARGEST = 32

# Up to here a search is quick in a collection of any size (the radii with prepared probes).
SEARCHED = 12

# Queries, and pairs of a query and an image whose distances are computed: ten seconds or so.
QUERIES = 10_000
PAIRS = 200_000_000

# Pairs at a time: their arrays stay in the cache of a processor.
_BLOCK = 1 << 20

# Of negative numbers numpy counts the bits of the absolute value: so hashes are unsigned here.
Hashes = Mapping[str, NDArray[np.uint64]]


@dataclass(frozen=True, slots=True)
class StoredHashes:
    """Images that were drawn: their hashes by algorithm, 0 where `known` says there is none."""

    hashes: Hashes
    known: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.hashes["phash"])


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was counted by a rule: how many queries asked, among how many images, and the rates.

    `per_query` has the wrong images of one search by distance, 0 to LARGEST.
    """

    queries: int
    images: int
    per_query: tuple[Rate, ...]


def searched(rule: str) -> int:
    """Return the largest distance by a rule up to which a search is quick."""
    hashes = len(rule_hashes(rule))
    return SEARCHED * hashes + hashes - 1


def drawn_images(conn: psycopg.Connection[Any], collection: str | None, seed: int) -> StoredHashes:
    """Draw images with structure from a collection, None for all, as the seed says."""
    given = {"collection": collection, "size": PAIRS // QUERIES, "seed": seed}
    rows = conn.execute(DRAWN, given).fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * len(ALGORITHMS)
    return StoredHashes(
        {
            name: np.array([value or 0 for value in column], np.int64).view(np.uint64)
            for name, column in zip(ALGORITHMS, columns, strict=True)
        },
        {
            name: np.array([value is not None for value in column], np.bool_)
            for name, column in zip(ALGORITHMS, columns, strict=True)
        },
    )


def wrong_images(
    drawn: StoredHashes,
    rules: Sequence[str],
    *,
    images: Mapping[str, int],
    at: int | None,
    alike: int,
) -> tuple[dict[str, Wrong], float]:
    """Count the wrong images of searches, for each rule, and the copies of a query on average.

    The first images that were drawn are the queries. `images` says how many have the hashes of a
    rule, `at` for how many the answer is wanted (None: for these). An image within `alike` bits of
    a query in every hash that both have is a copy of it, and not wrong.
    """
    queries = min(len(drawn), QUERIES)
    counts = {rule: np.zeros((queries, LARGEST + 1)) for rule in rules}
    copies = 0
    step = max(1, _BLOCK // max(len(drawn), 1))
    for first in range(0, queries, step):
        asked = slice(first, min(first + step, queries))
        apart = {name: _distances(drawn, name, asked) for name in ALGORITHMS}
        same = _copies(drawn, apart, asked, alike)
        copies += int(same.sum())
        # An image is no answer to itself.
        same[np.arange(same.shape[0]), np.arange(asked.start, asked.stop)] = True
        for rule in rules:
            counts[rule][asked] = _histogram(_by_rule(drawn, apart, rule, asked), same)
    return {
        rule: _rates(drawn, rule, counts[rule], images[rule], at) for rule in rules
    }, copies / max(queries, 1)


def _distances(drawn: StoredHashes, name: str, asked: slice) -> NDArray[np.uint8]:
    hashes = drawn.hashes[name]
    apart: NDArray[np.uint8] = np.bitwise_count(hashes[asked, None] ^ hashes)
    return apart


def _copies(
    drawn: StoredHashes, apart: Mapping[str, NDArray[np.uint8]], asked: slice, alike: int
) -> NDArray[np.bool_]:
    """Tell which images are within `alike` bits in every hash that both have; not of itself."""
    same = np.ones((asked.stop - asked.start, len(drawn)), np.bool_)
    compared = np.zeros_like(same)
    for name in ALGORITHMS:
        both = drawn.known[name][asked, None] & drawn.known[name]
        same &= (apart[name] <= alike) | ~both
        compared |= both
    same &= compared
    same[np.arange(same.shape[0]), np.arange(asked.start, asked.stop)] = False
    return same


def _by_rule(
    drawn: StoredHashes, apart: Mapping[str, NDArray[np.uint8]], rule: str, asked: slice
) -> NDArray[np.uint8]:
    """Return the distances by a rule, 255 where a hash is lacking."""
    names = rule_hashes(rule)
    total = sum((apart[name] for name in names[1:]), apart[names[0]])
    for name in names:
        if not drawn.known[name].all():
            total = np.where(drawn.known[name][asked, None] & drawn.known[name], total, 255)
    return total.astype(np.uint8)


def _histogram(apart: NDArray[np.uint8], same: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Count for each query (row) the images at each distance up to LARGEST that are not `same`."""
    rows, places = np.nonzero((apart <= LARGEST) & ~same)
    width = LARGEST + 1
    flat = np.bincount(rows * width + apart[rows, places], minlength=apart.shape[0] * width)
    return flat.reshape(apart.shape[0], width).astype(np.float64)


def _rates(
    drawn: StoredHashes, rule: str, counts: NDArray[np.float64], images: int, at: int | None
) -> Wrong:
    known = np.logical_and.reduce([drawn.known[name] for name in rule_hashes(rule)])
    among, asked = int(known.sum()), known[: len(counts)]
    # Twice as many images show twice as many that are wrong.
    growth = (at or images) / max(among, 1)
    sums = growth * counts[asked].cumsum(axis=1)
    queries = len(sums)
    if not queries:
        return Wrong(0, among, tuple(Rate(0, 0, float(at or images)) for _ in range(LARGEST + 1)))
    return Wrong(
        queries,
        among,
        tuple(
            confidence.mean_rate(sums[:, distance].tolist(), growth)
            for distance in range(LARGEST + 1)
        ),
    )
