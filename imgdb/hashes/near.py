"""Hashes near each other, in this process's memory: arrays of unsigned 64-bit numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.intp]

# Pairs that are compared at a time, 24 bytes each: about what a cache holds.
AT_ONCE = 250_000
# Odd, so that no two numbers become one; the bits of all of them get into the upper ones.
_MIX = np.uint64(0x9E3779B97F4A7C15)


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
            parts: Iterator[tuple[Places, Places, Places]] = _everything(len(queries), len(stored))
            keys = stored
        else:
            keys = stored[np.argsort(stored & mine)]
            parts = _ranges(keys & mine, queries, mine, flip_masks(mask, thresholds[band]))
        for rows, first, counts in parts:
            asked = np.repeat(queries[rows], counts)
            places = ranges(first, counts)
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
        yield from portions(start + hit // len(flips), begins[bucket], sizes[bucket])


def _everything(queries: int, stored: int) -> Iterator[tuple[Places, Places, Places]]:
    rows = np.arange(queries)
    yield from portions(rows, np.zeros(queries, dtype=np.intp), np.full(queries, stored))


def portions(
    rows: Places, first: Places, counts: Places
) -> Iterator[tuple[Places, Places, Places]]:
    """Cut ranges into portions of about AT_ONCE candidates; a range is not cut."""
    portion = np.cumsum(counts) // AT_ONCE
    ends = np.flatnonzero(np.diff(portion, append=-1))
    start = 0
    for end in (ends + 1).tolist():
        yield rows[start:end], first[start:end], counts[start:end]
        start = end


def ranges(first: Places, counts: Places) -> Places:
    """Return the numbers from each first one on, so many as are counted."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(first - ends + counts, counts) + np.arange(total)


def near_pairs(
    hashes: Hashes, group_mask: int, skipped_masks: Sequence[int], max_distance: int
) -> Iterator[tuple[Places, Places]]:
    """Yield the places of distinct hashes that are near each other and agree in a mask's bits.

    A pair that also agrees in one of `skipped_masks` is left out: it comes by another mask
    (see imgdb._pair_masks).
    """
    bits = np.uint64(len(hashes).bit_length())
    mask = np.uint64(group_mask)
    # A place below its group, so that sorting needs no second array.
    keys = (hashes & mask) * _MIX >> bits << bits
    keys |= np.arange(len(hashes), dtype=np.uint64)
    keys.sort()
    order = (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.intp)
    keys >>= bits
    begins = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
    sizes = np.diff(begins, append=len(keys))
    after = np.repeat(begins + sizes, sizes) - np.arange(1, len(keys) + 1)
    del keys
    first = np.flatnonzero(after)
    together = hashes[order]
    skipped = [np.uint64(one) for one in skipped_masks]
    for rows, others, counts in portions(first, first + 1, after[first]):
        a, b = np.repeat(rows, counts), ranges(others, counts)
        differing = together[a] ^ together[b]
        near = np.flatnonzero(np.bitwise_count(differing) <= max_distance)
        found = differing[near]
        keep = found & mask == 0
        for one in skipped:
            keep &= found & one != 0
        near = near[keep]
        if len(near):
            yield order[a[near]], order[b[near]]
