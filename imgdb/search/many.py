"""Search for many hashes at once: in SQL, or in this process's memory where that costs less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.intp]

COST = "SELECT * FROM imgdb._search_cost(%s, %s)"
WITHIN_ANY = "SELECT * FROM imgdb.within_any(%s, %s, %s)"
EXPORT = "COPY (SELECT hash FROM imgdb._all_hashes(%s)) TO STDOUT (FORMAT binary)"

# A row of COPY's binary format: how many columns, how many bytes, the hash.
ROW = np.dtype([("columns", ">i2"), ("bytes", ">i4"), ("hash", ">i8")])
HEADER, TRAILER = 19, 2

# Microseconds for each stored hash, to export and to sort it by all bands; and the part of a
# search's cost in SQL that one costs here. Measured on one core (docs/benchmarks.md).
EXPORT_COST = 2.0
PART = 0.15
# Pairs of a query and a candidate that are compared at a time: 24 bytes each.
AT_ONCE = 4_000_000
# Queries that one call of within_any is given.
BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Near:
    """A stored hash that is near one that was asked for, both signed."""

    query_hash: int
    hash: int
    distance: int


def within_many(
    conn: psycopg.Connection[Any], space: str, hashes: Iterable[int], max_distance: int
) -> Iterator[Near]:
    """Yield every stored hash within `max_distance` of any of many, as `imgdb.within_any` finds.

    Thousands of hashes are searched in an export of the space: 40 bytes of memory for each stored
    one. Each is asked for once, in no order.
    """
    queries = np.unique(np.fromiter(hashes, dtype=np.int64))
    found = conn.execute(COST, (space, max_distance)).fetchone()
    assert found is not None
    masks, count, cost = found
    if len(queries) * cost * (1 - PART) <= count * EXPORT_COST:
        for first in range(0, len(queries), BATCH):
            asked = queries[first : first + BATCH].tolist()
            for row in conn.execute(WITHIN_ANY, (space, asked, max_distance)):
                yield Near(*row)
        return
    stored = np.unique(copied_hashes(conn, space))
    unsigned = [mask % 2**64 for mask in masks]
    for near in search(stored, queries.view(np.uint64), unsigned, max_distance):
        columns = (near[0].view(np.int64).tolist(), near[1].view(np.int64).tolist(), near[2])
        for query, value, distance in zip(*columns, strict=True):
            yield Near(query, value, int(distance))


def copied_hashes(conn: psycopg.Connection[Any], space: str) -> Hashes:
    """Fetch all hashes of a space, some of them several times."""
    rows = bytearray()
    with conn.cursor().copy(EXPORT, (space,)) as copy:
        for block in copy:
            rows += block
    found = np.frombuffer(memoryview(rows)[HEADER:-TRAILER], dtype=ROW)
    return found["hash"].astype(np.int64).view(np.uint64)


def search(
    stored: Hashes, queries: Hashes, masks: list[int], max_distance: int
) -> Iterator[tuple[Hashes, Hashes, NDArray[np.uint8]]]:
    """Yield queries, distinct stored hashes and distances, by the bands that the masks say.

    If thresholds t_k are such that the sum of (t_k + 1) is max_distance + 1, one band k at least
    differs in at most t_k bits (see imgdb._prepare_probes). What an earlier band has found is left
    out.
    """
    if not len(stored):
        return
    bands = len(masks)
    thresholds = [(max_distance - band) // bands for band in range(bands)]
    for band, mask in enumerate(masks):
        if thresholds[band] < 0:
            continue
        mine, bits = np.uint64(mask), mask.bit_count()
        # More probes than hashes: each query is compared with all.
        to_all = sum(comb(bits, count) for count in range(thresholds[band] + 1)) > len(stored)
        if to_all:
            ranges: Iterator[tuple[Places, Places, Places]] = _everything(len(queries), len(stored))
            keys = stored
        else:
            keys = stored[np.argsort(stored & mine)]
            ranges = _ranges(keys & mine, queries, mine, flip_masks(mask, thresholds[band]))
        for rows, first, counts in ranges:
            asked = np.repeat(queries[rows], counts)
            places = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(asked))
            differing = asked ^ keys[places]
            keep = np.bitwise_count(differing) <= max_distance
            for earlier in range(band):
                other = np.uint64(masks[earlier])
                keep &= np.bitwise_count(differing & other) > max(thresholds[earlier], -1)
            if keep.any():
                yield asked[keep], keys[places[keep]], np.bitwise_count(differing[keep])
        if to_all:
            return


def flip_masks(mask: int, most: int) -> Hashes:
    """Return every mask of at most `most` bits of a band."""
    bits = [1 << place for place in range(64) if mask >> place & 1]
    chosen = (sum(some) for count in range(most + 1) for some in combinations(bits, count))
    return np.fromiter(chosen, dtype=np.uint64)


def _ranges(
    prefixes: Hashes, queries: Hashes, mask: np.uint64, flips: Hashes
) -> Iterator[tuple[Places, Places, Places]]:
    """Yield rows of queries, where their candidates begin among the prefixes, and how many."""
    buckets, begins = np.unique(prefixes, return_index=True)
    sizes = np.diff(begins, append=len(prefixes))
    step = max(1, AT_ONCE // len(flips) // 4)
    for start in range(0, len(queries), step):
        probes = ((queries[start : start + step] & mask)[:, None] ^ flips).ravel()
        places = np.minimum(np.searchsorted(buckets, probes), len(buckets) - 1)
        hit = np.flatnonzero(buckets[places] == probes)
        bucket = places[hit]
        yield from _portions(start + hit // len(flips), begins[bucket], sizes[bucket])


def _everything(queries: int, stored: int) -> Iterator[tuple[Places, Places, Places]]:
    rows = np.arange(queries)
    yield from _portions(rows, np.zeros(queries, dtype=np.intp), np.full(queries, stored))


def _portions(
    rows: Places, first: Places, counts: Places
) -> Iterator[tuple[Places, Places, Places]]:
    """Cut ranges into portions of about AT_ONCE candidates; a range is not cut."""
    portion = np.cumsum(counts) // AT_ONCE
    ends = np.flatnonzero(np.diff(portion, append=-1))
    start = 0
    for end in (ends + 1).tolist():
        yield rows[start:end], first[start:end], counts[start:end]
        start = end
