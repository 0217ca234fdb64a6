"""Hashes near each other in memory, against comparing each with each."""

import numpy as np
import pytest

from imgdb.hashes import near
from imgdb.hashes.near import NearHashes


def crowded(draw, words: int, count: int) -> list:
    """Draw hashes around few centres: some are equal, some are one bit apart in one word."""
    centres = np.array(
        [[0] * words, [2**64 - 1] * words, *draw.integers(0, 2**64, (2, words), "u8")], "u8"
    )
    rows = centres[draw.integers(0, len(centres), count)]
    for _ in range(draw.integers(0, 12)):
        turned = np.uint64(1) << draw.integers(0, 64, count, "u8")
        rows[np.arange(count), draw.integers(0, words, count)] ^= turned
    rows[: count // 4] = rows[count // 4 : count // 4 * 2]
    return [column.copy() for column in rows.T]


def by_brute_force(words, others, radius):
    distances = sum(
        np.bitwise_count(one[:, None] ^ other).astype(int)
        for one, other in zip(words, others or words, strict=True)
    )
    a, b = np.nonzero(distances <= radius)
    return sorted((x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if others or x < y)


def found(search, radius, both):
    pairs = []
    for done, a, b in search.pairs(radius):
        assert 0 <= done <= 1
        pairs += zip(a.tolist(), b.tolist(), strict=True)
    return sorted(pairs) if both else sorted(tuple(sorted(pair)) for pair in pairs)


@pytest.mark.parametrize("at_once", [9, 120_000])
@pytest.mark.parametrize("two_sides", [False, True], ids=["among themselves", "and others"])
@pytest.mark.parametrize("words", [1, 2, 4])
def test_all_pairs_each_once(monkeypatch, words, two_sides, at_once):
    monkeypatch.setattr(near, "AT_ONCE", at_once)
    for seed in range(2):
        draw = np.random.default_rng([seed, words])
        hashes = crowded(draw, words, 70)
        others = crowded(draw, words, 50) if two_sides else None
        search = NearHashes(hashes, others)
        for radius in (0, 1, 3, 8, 8 * words, 64 * words):
            expected = by_brute_force(hashes, others, radius)
            for bands in (0, *(each * words for each in near.BANDS)):
                if bands == 0 or radius <= 3 * bands:
                    monkeypatch.setattr(search, "choose_bands", lambda _, bands=bands: (1, bands))
                    assert found(search, radius, two_sides) == expected, (radius, bands)


@pytest.mark.parametrize("two_sides", [False, True], ids=["among themselves", "and others"])
@pytest.mark.parametrize(("words", "radius"), [(1, 0), (1, 8), (2, 17), (4, 31)])
def test_what_is_chosen_for_many_finds_all(words, radius, two_sides):
    draw = np.random.default_rng(words)
    crowd, other_crowd = (crowded(draw, words, 300) for _ in range(2))
    hashes, others = (
        [np.concatenate([word, draw.integers(0, 2**64, 20_000, "u8")]) for word in some]
        for some in (crowd, other_crowd)
    )
    others = others if two_sides else None
    search = NearHashes(hashes, others)
    assert search.choose_bands(radius)[1] > 0
    # Chance brings none of those that were drawn evenly near to anything.
    expected = by_brute_force(crowd, other_crowd if two_sides else None, radius)
    assert found(search, radius, two_sides) == expected
    assert search.choose_bands(64 * words)[1] == 0


def test_of_none_and_of_one():
    none, one = np.zeros(0, "u8"), np.zeros(1, "u8")
    for hashes, others in (([none], None), ([one], None), ([none], [one]), ([one], [none])):
        assert found(NearHashes(hashes, others), 64, others) == []
    assert found(NearHashes([one], [one]), 0, True) == [(0, 0)]
