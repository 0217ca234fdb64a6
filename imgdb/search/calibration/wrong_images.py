"""How many images of a collection look like a picture though they are others.

Stored hashes are the queries: nothing is decoded, so thousands can be asked. That many are needed,
since wrong images come from few queries (the worst hundredth brings half of them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from imgdb.hashes.values import ALGORITHMS, PDQ_CANDIDATES, USUAL_RULE, Hashes, rule_hashes
from imgdb.search.calibration import confidence
from imgdb.search.calibration.confidence import Rate
from imgdb.search.calibration.rules import hashes_of, largest

DRAWN = "SELECT * FROM imgdb._drawn_hashes(%(collection)s, %(size)s, %(seed)s)"

# Queries, and pairs of a query and an image whose distances are computed: ten seconds or so.
QUERIES = 10_000
PAIRS = 200_000_000

# Pairs at a time: their arrays stay in the cache of a processor.
_BLOCK = 1 << 20

# What is lacking is further apart than all that is looked at.
_LACKING = 255


@dataclass(frozen=True, slots=True)
class StoredHashes:
    """Images that were drawn: their hashes by algorithm, 0 where `known` says there is none.

    Hashes are unsigned: of negative numbers numpy counts the bits of the absolute value. Those of
    `pdq` are rows of four.
    """

    hashes: Mapping[str, NDArray[np.uint64]]
    known: Mapping[str, NDArray[np.bool_]]

    def __len__(self) -> int:
        return len(self.hashes["phash"])


@dataclass(frozen=True, slots=True)
class Wrong:
    """What was counted by a rule: how many queries asked, among how many images, and the rates.

    `per_query` has the wrong images of one search by distance.
    """

    queries: int
    images: int
    per_query: tuple[Rate, ...]


def drawn_images(conn: psycopg.Connection[Any], collection: str | None, seed: int) -> StoredHashes:
    """Draw images with structure from a collection, None for all, as the seed says."""
    given = {"collection": collection, "size": PAIRS // QUERIES, "seed": seed}
    rows = conn.execute(DRAWN, given).fetchall()
    names = (*ALGORITHMS, "pdq")
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    hashes: dict[str, NDArray[np.uint64]] = {}
    known = {}
    for name in names:
        none: int | list[int] = [0] * 4 if name == "pdq" else 0
        column = columns.get(name, ())
        filled = np.array([none if one is None else one for one in column], np.int64)
        hashes[name] = (filled.reshape(-1, 4) if name == "pdq" else filled).view(np.uint64)
        known[name] = np.array([one is not None for one in column], np.bool_)
    return StoredHashes(hashes, known)


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
    counts = {rule: np.zeros((queries, largest(rule) + 1)) for rule in rules}
    names = {*ALGORITHMS, *(name for rule in rules for name in hashes_of(rule))}
    copies = 0
    step = max(1, _BLOCK // max(len(drawn), 1))
    for first in range(0, queries, step):
        asked = slice(first, min(first + step, queries))
        apart = {name: _distances(drawn, name, drawn.hashes[name][asked]) for name in names}
        same = _copies(drawn, apart, {n: drawn.known[n][asked] for n in ALGORITHMS}, alike)
        # An image is no copy of itself, and no answer.
        itself = np.arange(same.shape[0]), np.arange(asked.start, asked.stop)
        same[itself] = False
        copies += int(same.sum())
        same[itself] = True
        for rule in rules:
            near = _by_rule(drawn, apart, rule, {n: drawn.known[n][asked] for n in names})
            counts[rule][asked] = _histogram(near, same, largest(rule))
    return {
        rule: _rates(drawn, rule, counts[rule], images[rule], at) for rule in rules
    }, copies / max(queries, 1)


def wrong_when_trimmed(
    drawn: StoredHashes,
    wrong: Wrong,
    queries: Sequence[tuple[Hashes, Iterable[tuple[Hashes, Sequence[Hashes]]]]],
    *,
    images: int,
    at: int | None,
    alike: int,
) -> Wrong:
    """Add to the wrong images by the usual rule what pictures show without their borders, too.

    Stored hashes have no borders: so the queries are pictures as stored, each with its copies, and
    the hashes of each copy without its borders.
    """
    growth = (at or images) / max(wrong.images, 1)
    more = []
    for stored, copies in queries:
        whole = _asked(drawn, stored, ALGORITHMS)
        known = {n: np.array([getattr(stored, n) is not None]) for n in ALGORITHMS}
        same = _copies(drawn, whole, known, alike)
        of_copies = []
        for hashes, trimmed in copies:
            looks = [_usual(drawn, look) for look in (hashes, *trimmed)]
            shown = _histogram(np.minimum.reduce(looks), same, largest(USUAL_RULE))
            of_copies.append(shown - _histogram(looks[0], same, largest(USUAL_RULE)))
        more.append(growth * np.mean(of_copies, axis=0)[0].cumsum())
    rates = [
        confidence.mean_rate([float(row[distance]) for row in more], growth)
        for distance in range(len(wrong.per_query))
    ]
    return Wrong(
        wrong.queries,
        wrong.images,
        tuple(
            Rate(a.value + b.value, a.low + b.low, a.high + b.high)
            for a, b in zip(wrong.per_query, rates, strict=True)
        ),
    )


def _asked(
    drawn: StoredHashes, hashes: Hashes, names: Iterable[str]
) -> dict[str, NDArray[np.uint8]]:
    return {
        name: _distances(drawn, name, np.array([(getattr(hashes, name) or 0) % 2**64], np.uint64))
        for name in names
    }


def _usual(drawn: StoredHashes, hashes: Hashes) -> NDArray[np.uint8]:
    """Return the distances by the usual rule of a picture that has both hashes."""
    names = rule_hashes(USUAL_RULE)
    known = {name: np.ones(1, np.bool_) for name in names}
    return _by_rule(drawn, _asked(drawn, hashes, names), USUAL_RULE, known)


def _distances(drawn: StoredHashes, name: str, queries: NDArray[np.uint64]) -> NDArray[np.uint8]:
    apart: NDArray[np.uint8] = np.bitwise_count(queries[:, None] ^ drawn.hashes[name])
    if name == "pdq":
        apart = np.minimum(apart.sum(axis=-1, dtype=np.uint16), _LACKING).astype(np.uint8)
    return apart


def _copies(
    drawn: StoredHashes,
    apart: Mapping[str, NDArray[np.uint8]],
    known: Mapping[str, NDArray[np.bool_]],
    alike: int,
) -> NDArray[np.bool_]:
    """Tell which images are within `alike` bits in every hash that both have."""
    same = np.ones(apart[ALGORITHMS[0]].shape, np.bool_)
    compared = np.zeros_like(same)
    for name in ALGORITHMS:
        both = known[name][:, None] & drawn.known[name]
        same &= (apart[name] <= alike) | ~both
        compared |= both
    return same & compared


def _by_rule(
    drawn: StoredHashes,
    apart: Mapping[str, NDArray[np.uint8]],
    rule: str,
    known: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Return the distances by a rule; what lacks a hash is beyond all that is looked at."""
    names = hashes_of(rule)
    if rule == "phash-pdq":
        total = np.where(apart["phash"] <= PDQ_CANDIDATES, apart["pdq"], _LACKING)
    else:
        total = sum((apart[name] for name in names[1:]), apart[names[0]])
    for name in names:
        if not drawn.known[name].all():
            total = np.where(known[name][:, None] & drawn.known[name], total, _LACKING)
    return total.astype(np.uint8)


def _histogram(apart: NDArray[np.uint8], same: NDArray[np.bool_], most: int) -> NDArray[np.float64]:
    """Count for each query (row) the images at each distance up to `most` that are not `same`."""
    rows, places = np.nonzero((apart <= most) & ~same)
    width = most + 1
    flat = np.bincount(rows * width + apart[rows, places], minlength=apart.shape[0] * width)
    return flat.reshape(apart.shape[0], width).astype(np.float64)


def _rates(
    drawn: StoredHashes, rule: str, counts: NDArray[np.float64], images: int, at: int | None
) -> Wrong:
    known = np.logical_and.reduce([drawn.known[name] for name in hashes_of(rule)])
    among, asked = int(known.sum()), known[: len(counts)]
    # Twice as many images show twice as many that are wrong.
    growth = (at or images) / max(among, 1)
    sums = growth * counts[asked].cumsum(axis=1)
    queries = len(sums)
    if not queries:
        return Wrong(0, among, (Rate(0, 0, float(at or images)),) * (largest(rule) + 1))
    return Wrong(
        queries,
        among,
        tuple(confidence.mean_rate(column.tolist(), growth) for column in sums.T),
    )
