"""Hashes near each other, in this process's memory: arrays of unsigned 64-bit words.

A hash has one word or several, and its bits are split into bands. If thresholds t_k are such that
the sum of (t_k + 1) is max_distance + 1, one band k at least differs in at most t_k bits. So hashes
are sorted by one band after the other, and compared with those whose band differs in so few bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Places = NDArray[np.intp]

# Pairs that are compared at a time, some 40 bytes each: about what a cache holds.
AT_ONCE = 120_000

# How many bands there may be for each word. A band has a table of all its values, so that two bands
# of 32 bits would need gigabytes.
BANDS = (3, 4, 5)

# The unit of cost is to find two hashes by a band and compare them, some 5 to 20 ns. In it: to
# compare two of all, to sort a hash, a value's place in a table, to look up a value.
ALL, SORTED, VALUE, LOOKED_UP = 0.2, 10, 0.5, 0.5

# Hashes of each side by which the cost is reckoned.
SAMPLE = 1_000

_PLACE = np.uint64(40)  # bits, below those of a band


class NearHashes:
    """Hashes that are near each other or, with `others`, hashes and others near each other.

    The distance of two is the number of differing bits of all their words. Some may be equal.
    """

    def __init__(self, words: Sequence[Words], others: Sequence[Words] | None = None) -> None:
        """Take an array for each word, 24 bytes and its words of memory for each hash."""
        self._words = words
        self._others = others

    def pairs(self, max_distance: int) -> Iterator[tuple[float, Places, Places]]:
        """Yield how much is done, from 0 to 1, and the places of hashes within max_distance.

        Each pair comes once: among hashes alone, in one order.
        """
        if not self._pair_count:
            return
        bands = self.choose_bands(max_distance)[1]
        if bands:
            yield from self._by_bands(max_distance, bands)
        else:
            yield from self._all_with_all(max_distance)

    def choose_bands(self, max_distance: int) -> tuple[float, int]:
        """Return what pairs cost, and in how many bands; 0 bands: all are compared with all."""
        costs = [(ALL * self._pair_count, 0)]
        if self._pair_count > SAMPLE**2:
            costs += [(self._cost(max_distance, bands), bands) for bands in self._shares]
        return min(costs)

    @property
    def _pair_count(self) -> float:
        count = len(self._words[0])
        return count * (count - 1) / 2 if self._others is None else count * len(self._others[0])

    def _cost(self, max_distance: int, bands: int) -> float:
        count = len(self._words[0])
        cost = 0.0
        probed = _probed(len(self._words), bands, max_distance)
        for (bits, _, most), shares in zip(probed, self._shares[bands], strict=False):
            cost += (
                SORTED * (count if self._others is None else count + len(self._others[0]))
                + VALUE * 2**bits
                + LOOKED_UP * count * _flip_count(bits, most)
                / (2 if self._others is None else 1)
                + float(shares[: most + 1].sum()) * self._pair_count
            )  # fmt: skip
        return cost

    @cached_property
    def _shares(self) -> dict[int, list[NDArray[np.float64]]]:
        """By the number of bands, for each band: the share of pairs that differ in so many bits."""
        draw = np.random.default_rng(0)
        sides = (self._words, self._words if self._others is None else self._others)
        some, other = (draw.integers(0, len(words[0]), SAMPLE) for words in sides)
        differing = [
            (one[some][:, None] ^ another[other]).ravel()
            for one, another in zip(*sides, strict=True)
        ]
        return {
            each * len(differing): [
                np.bincount(_differing_bits(differing, masks), minlength=257) / SAMPLE**2
                for _, masks in _masks(len(differing), each * len(differing))
            ]
            for each in BANDS
        }

    def _all_with_all(self, max_distance: int) -> Iterator[tuple[float, Places, Places]]:
        others = self._words if self._others is None else self._others
        count = len(self._words[0])
        step = max(1, AT_ONCE // len(others[0]))
        for start in range(0, count, step):
            after = start if self._others is None else 0
            differing = self._words[0][start : start + step, None] ^ others[0][after:]
            near = np.flatnonzero(np.bitwise_count(differing) <= max_distance)
            a, b = np.divmod(near, len(others[0]) - after)
            a, b = a + start, b + after
            keep = np.ones(len(a), dtype=bool) if self._others is not None else a < b
            keep &= distances(self._words, a, others, b) <= max_distance
            yield start / count, a[keep], b[keep]

    def _by_bands(self, max_distance: int, bands: int) -> Iterator[tuple[float, Places, Places]]:
        probed = _probed(len(self._words), bands, max_distance)
        total = sum(_flip_count(bits, most) for bits, _, most in probed)
        done = 0
        for number, (bits, masks, most) in enumerate(probed):
            one = _Band(self._words, bits, masks)
            other = one if self._others is None else _Band(self._others, bits, masks)
            for flips, rows, first, counts in one.alike(other, most):
                places = ranges(first, counts)
                differing = np.repeat(one.words[0][rows], counts)
                differing ^= other.words[0][places]
                near = np.flatnonzero(np.bitwise_count(differing) <= max_distance)
                if not len(near):
                    continue
                a = rows[np.searchsorted(np.cumsum(counts), near, side="right")]
                b = places[near]
                found = [
                    mine[a] ^ theirs[b] for mine, theirs in zip(one.words, other.words, strict=True)
                ]
                keep = _differing_bits(found) <= max_distance
                for _, before, of_before in probed[:number]:
                    keep &= _differing_bits(found, before) > of_before
                yield (done + flips) / total, one.order[a[keep]], other.order[b[keep]]
            done += _flip_count(bits, most)


class _Band:
    """Hashes in the order of a band, and where those of each of its values are."""

    def __init__(self, words: Sequence[Words], bits: int, masks: Sequence[int]) -> None:
        self._bits = bits
        # A place below its value, so that sorting needs no second array.
        keys = _packed(words, masks)
        keys <<= _PLACE
        keys |= np.arange(len(keys), dtype=np.uint64)
        keys.sort()
        self.order = (keys & ((np.uint64(1) << _PLACE) - np.uint64(1))).astype(np.intp)
        self.words = [word[self.order] for word in words]
        keys >>= _PLACE
        self.first = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
        self.counts = np.diff(self.first, append=len(keys))
        self._values = keys.astype(np.intp)

    @cached_property
    def _places(self) -> NDArray[np.int32]:
        """Return the place of each value among the values, -1 if no hash has it."""
        places = np.full(1 << self._bits, -1, dtype=np.int32)
        places[self._values[self.first]] = np.arange(len(self.first), dtype=np.int32)
        return places

    def alike(self, other: _Band, most: int) -> Iterator[tuple[int, Places, Places, Places]]:
        """Yield flips so far, places of hashes, where their candidates begin, and how many.

        A band and itself: of two hashes one has the other for a candidate.
        """
        flips = _flips(self._bits, most)
        if self is not other:
            yield from self._looked_up(other, np.arange(len(self.order)), flips, 0)
            return
        after = np.arange(1, len(self.order) + 1)
        later = np.repeat(self.first + self.counts, self.counts) - after
        rows = np.flatnonzero(later)
        for portion in portions(rows, after[rows], later[rows]):
            yield 1, *portion
        del after, later, rows
        done = 1
        for top in range(self._bits):
            # Of two values that differ in these bits, that without the uppermost one looks.
            some = flips[flips >> top == 1]
            yield from self._looked_up(
                other, np.flatnonzero(self._values >> top & 1 == 0), some, done
            )
            done += len(some)

    def _looked_up(
        self, other: _Band, asked: Places, flips: Places, done: int
    ) -> Iterator[tuple[int, Places, Places, Places]]:
        if not len(asked):
            return
        values = self._values[asked]
        step = max(1, AT_ONCE // len(asked))
        for start in range(0, len(flips), step):
            found = other._places[(values ^ flips[start : start + step, None]).ravel()]
            hit = np.flatnonzero(found >= 0)
            rows, b = asked[hit % len(asked) if step > 1 else hit], found[hit]
            for portion in portions(rows, other.first[b], other.counts[b]):
                yield done + start, *portion


def lone_searches(
    words: Sequence[Words], known: NDArray[Any], max_distance: int
) -> Iterator[tuple[NearHashes, Places, Places, int]]:
    """Yield searches for what has one word of a sum only, which decides alone and counts twice.

    Bit n of `known` says that word n is known. Each search compares what is at some places with
    what is at others, itself included, within a distance.
    """
    for number, word in enumerate(words):
        alone = np.flatnonzero(known == 1 << number)
        if len(alone):
            having = np.flatnonzero(known & (1 << number))
            yield NearHashes([word[alone]], [word[having]]), alone, having, max_distance // 2


def distances(
    words: Sequence[Words], a: Places, others: Sequence[Words], b: Places
) -> NDArray[np.int16]:
    """Return the distances of hashes at some places to others at others."""
    return _differing_bits([one[a] ^ other[b] for one, other in zip(words, others, strict=True)])


def _differing_bits(
    differing: Sequence[Words], masks: Sequence[int] | None = None
) -> NDArray[np.int16]:
    """Count the bits that are set in all words, or in those bits of them that masks say."""
    count = np.zeros(len(differing[0]), dtype=np.int16)
    for number, word in enumerate(differing):
        count += np.bitwise_count(word if masks is None else word & np.uint64(masks[number]))
    return count


def _probed(words: int, bands: int, max_distance: int) -> list[tuple[int, list[int], int]]:
    """Return bits and masks of the bands that are looked at, and how many bits may differ."""
    thresholds = ((max_distance - band) // bands for band in range(bands))
    return [
        (bits, masks, most)
        for (bits, masks), most in zip(_masks(words, bands), thresholds, strict=True)
        if most >= 0
    ]


def _masks(words: int, bands: int) -> list[tuple[int, list[int]]]:
    """Return for each band how many bits it has, and which ones of each word.

    Neighbours in a picture's grid are alike: so cell (row, column) goes into band
    (row + 2 * column) % bands. All words have bits in each band, where one may be crowded.
    """
    cells = sorted(
        ((row + 2 * column) % bands, word, 8 * row + column)
        for word in range(words)
        for row in range(8)
        for column in range(8)
    )
    found = []
    for band in range(bands):
        some = cells[len(cells) * band // bands : len(cells) * (band + 1) // bands]
        masks = [sum(1 << bit for _, of, bit in some if of == word) for word in range(words)]
        found.append((len(some), masks))
    return found


def _packed(words: Sequence[Words], masks: Sequence[int]) -> Words:
    """Return the bits of masks, side by side from the lowest one on."""
    packed = np.zeros(len(words[0]), dtype=np.uint64)
    place = 0
    for word, mask in zip(words, masks, strict=True):
        for byte in range(8):
            table = np.zeros(256, dtype=np.uint64)
            for bit in range(8):
                if mask >> 8 * byte + bit & 1:
                    table[np.arange(256) >> bit & 1 == 1] |= np.uint64(1 << place)
                    place += 1
            if mask >> 8 * byte & 255:
                packed |= table[(word >> np.uint64(8 * byte)).astype(np.uint8)]
    return packed


def _flips(bits: int, most: int) -> Places:
    """Return all numbers of at most `most` bits."""
    ones = [1 << place for place in range(bits)]
    found = (sum(some) for count in range(most + 1) for some in combinations(ones, count))
    return np.fromiter(found, dtype=np.intp)


def _flip_count(bits: int, most: int) -> int:
    return sum(comb(bits, count) for count in range(most + 1))


def products(
    first_a: Places, counts_a: Places, first_b: Places, counts_b: Places
) -> Iterator[tuple[Places, Places, Places]]:
    """Yield each number of a range with the first of another range, and with its size.

    The ranges come in pairs, and what is yielded in portions of about AT_ONCE.
    """
    for chosen, first, counts in portions(np.arange(len(counts_a)), first_a, counts_a):
        rows = ranges(first, counts)
        yield from portions(
            rows, np.repeat(first_b[chosen], counts), np.repeat(counts_b[chosen], counts)
        )


def portions(
    rows: Places, first: Places, counts: Places
) -> Iterator[tuple[Places, Places, Places]]:
    """Cut ranges into portions of about AT_ONCE numbers; a range is not cut."""
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
    numbers = np.repeat(first - ends + counts, counts)
    numbers += np.arange(total)
    return numbers
