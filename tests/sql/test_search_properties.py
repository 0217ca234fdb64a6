"""Every search gives all matches and nothing else, whatever the hashes, masks and buckets are."""

import random
from collections.abc import Callable

import brute_force
import pytest
from hash_sets import (
    CORNERS,
    any_hash,
    fashion_hashes,
    flipped,
    hash_lists,
    near,
    photo_hashes,
    some_radius,
)
from hypothesis import given
from hypothesis import strategies as st
from servers import embedded_only
from spaces import Space


def fresh(space: Space, hashes: list[int]) -> None:
    """A fresh row for each hash: nothing was flushed."""
    for value in hashes:
        space.insert([value])


def loaded(space: Space, hashes: list[int]) -> None:
    """Rows of one load."""
    space.copy(hashes)
    space.flush()


def grown(space: Space, hashes: list[int]) -> None:
    """Rows that one flush after the other added to; the last hashes are fresh."""
    for part in range(4):
        space.copy(hashes[part::4])
        if part < 3:
            space.flush()


def in_both(space: Space, hashes: list[int]) -> None:
    """Each hash is in the buckets and fresh."""
    space.copy(hashes)
    space.flush()
    space.copy(hashes)


def half_flushed(space: Space, hashes: list[int]) -> None:
    fresh(space, hashes)
    space.flush(200)


def half_compacted(space: Space, hashes: list[int]) -> None:
    grown(space, hashes)
    space.compact_half()


def compacted(space: Space, hashes: list[int]) -> None:
    grown(space, hashes)
    space.compact()


def compacted_then_more(space: Space, hashes: list[int]) -> None:
    compacted(space, hashes[::2])
    space.copy(hashes)


def without_stale(space: Space, hashes: list[int]) -> None:
    """Near neighbours of each hash were there, are gone, and were dropped."""
    neighbours = [flipped(value, frozenset([place % 64])) for place, value in enumerate(hashes)]
    space.copy(hashes + neighbours)
    space.delete(set(neighbours) - set(hashes))
    space.tidy()


def rebuilt(space: Space, hashes: list[int]) -> None:
    grown(space, hashes)
    space.rebuild()


STATES = (
    fresh,
    loaded,
    grown,
    in_both,
    half_flushed,
    half_compacted,
    compacted,
    compacted_then_more,
    without_stale,
    rebuilt,
)

# Unsigned band masks: rows as three uneven bands, and eight bands of one column each.
MASKS: dict[str, list[int] | None] = {
    "default": None,
    "three": [0x3FFFFF << 42, 0x1FFFFF << 21, 0x1FFFFF],
    "eight": [0x0101010101010101 << column for column in range(8)],
    "uneven": [1 << 63, 1, *(0x3FF << 1 + 10 * band for band in range(6)), 0b11 << 61],
}


@pytest.fixture(params=MASKS)
def banded(request, space: Space) -> Space:
    """Give spaces of several band masks."""
    if masks := MASKS[request.param]:
        space.use_masks([mask - 2**64 if mask >> 63 else mask for mask in masks])
    return space


def check(
    space: Space, hashes: brute_force.Hashes, query: int, radius: int, prepared: int | None = None
) -> None:
    """Compare with brute force; `prepared` is the largest distance that probes answer."""
    expected = brute_force.within(hashes, query, radius)
    assert space.within(query, radius) == expected
    assert space.scan(query, radius) == expected
    strategy, probes, candidates, matches = space.explain(query, radius)
    if prepared is not None:
        assert strategy == ("prefix buckets" if radius <= prepared else "scan")
    assert (probes > 0) == (strategy == "prefix buckets")
    assert candidates >= matches == len(expected)


@given(st.data())
def test_within_scan_and_explain(banded, data):
    hashes = data.draw(hash_lists)
    banded.clear()
    data.draw(st.sampled_from(STATES))(banded, hashes)
    prepared = banded.look_up() if data.draw(st.booleans()) else None
    queries = near(st.sampled_from(hashes)) | any_hash if hashes else any_hash
    for _ in range(3):
        query = data.draw(queries | st.sampled_from(CORNERS))
        check(banded, brute_force.signed(hashes), query, data.draw(some_radius), prepared)
    assert banded.missing() == 0


@given(st.data())
def test_within_any_and_nearest(banded, data):
    hashes = data.draw(hash_lists)
    banded.clear()
    data.draw(st.sampled_from(STATES))(banded, hashes)
    if data.draw(st.booleans()):
        banded.look_up()
    every = brute_force.signed(hashes)
    one = near(st.sampled_from(hashes)) | any_hash if hashes else any_hash
    queries = data.draw(st.lists(one | st.sampled_from(CORNERS), max_size=8))
    radius = data.draw(some_radius)
    expected = {query: brute_force.within(every, query, radius) for query in queries}
    assert banded.within_any(queries, radius) == {
        q: found for q, found in expected.items() if found
    }
    for query in queries[:3]:
        limit = data.draw(st.integers(1, 50))
        assert banded.nearest(query, limit, radius) == brute_force.nearest(
            every, query, limit, radius
        )


@pytest.mark.parametrize("state", [loaded, compacted])
def test_within_any_of_many_queries(banded, state):
    """So many probes that all buckets are read, instead of looked up."""
    draw = random.Random(state.__name__)

    def turned(value: int, most: int) -> int:
        return flipped(value, frozenset(draw.sample(range(64), draw.randint(0, most))))

    centres = [*CORNERS, draw.randrange(-(2**63), 2**63)]
    hashes = [turned(draw.choice(centres), 6) for _ in range(100)] + centres
    banded.clear()
    state(banded, hashes)
    assert banded.look_up() >= 12
    _, probes, _, _ = banded.explain(0, 12)
    queries = centres + [turned(draw.choice(hashes), 14) for _ in range(120_000 // probes)]
    every = brute_force.signed(hashes)
    expected = {query: brute_force.within(every, query, 12) for query in queries}
    assert banded.within_any(queries, 12) == {q: found for q, found in expected.items() if found}


def crowded(count: int, most: int) -> list[int]:
    """Draw `count` distinct hashes at most `most` bits away from one of 50."""
    draw = random.Random(50)
    centres = [draw.randrange(-(2**63), 2**63) for _ in range(50)]
    drawn: set[int] = set()
    while len(drawn) < count:
        turned = draw.sample(range(64), draw.randint(0, most))
        drawn.add(flipped(draw.choice(centres), frozenset(turned)))
    return sorted(drawn)


def test_within_any_in_three_parts(space):
    """Two full ones and one query more: each part answers for its first query and its last."""
    hashes = crowded(300, 6)
    loaded(space, hashes)
    space.look_up()
    _, probes, _, _ = space.explain(0, 12)
    queries = crowded(2 * (500_000 // probes) + 1, 9)
    assert len(queries) == 903
    every = brute_force.signed(hashes)
    expected = {query: brute_force.within(every, query, 12) for query in queries}
    assert all(expected.values())
    assert space.within_any(queries, 12) == expected


@pytest.mark.parametrize("limit", [5, 6])
def test_nearest_where_one_hash_came_many_times(space, limit):
    crowd, others = flipped(0, frozenset(range(20))), [1 << bit for bit in range(30, 35)]
    others = [flipped(value, frozenset(range(25))) for value in others]
    fresh(space, [crowd] * 400 + others)
    every = brute_force.signed([crowd, *others])
    assert space.nearest(0, limit, 64) == brute_force.nearest(every, 0, limit, 64)


@given(st.data())
def test_pairs(banded, data):
    hashes = data.draw(hash_lists)
    banded.clear()
    data.draw(st.sampled_from(STATES))(banded, hashes)
    radius = data.draw(some_radius)
    assert banded.pairs(radius) == brute_force.pairs(brute_force.signed(hashes), radius)


@embedded_only
@pytest.mark.parametrize("radius", [1, 4, 8, 12])
def test_pairs_of_many_hashes_that_are_grouped(space, radius):
    hashes = brute_force.signed(crowded(3000, 7))
    grouped = "SELECT min(bit_count(group_mask::bit(64))) FROM imgdb._pair_masks(%s, %s)"
    assert space.value(grouped, radius, len(hashes)) > 0
    space.copy(hashes.tolist())
    assert space.pairs(radius) == brute_force.pairs(hashes, radius)


@given(st.data())
def test_stale_hashes_are_the_only_surplus(space, data):
    hashes = data.draw(hash_lists)
    gone = set(data.draw(st.lists(st.sampled_from(hashes), max_size=10))) if hashes else set()
    space.clear()
    data.draw(st.sampled_from((fresh, compacted)))(space, hashes)
    space.delete(gone)
    query = data.draw(near(st.sampled_from(hashes)) if hashes else any_hash)
    radius = data.draw(some_radius)
    before = brute_force.within(brute_force.signed(hashes), query, radius)
    held = brute_force.signed(list(set(hashes) - gone) or [])
    after = brute_force.within(held, query, radius)
    assert after.items() <= space.within(query, radius).items() <= before.items()
    space.tidy()
    check(space, held, query, radius)


REAL: dict[str, Callable[[], brute_force.Hashes]] = {
    **{
        f"fashion {kind}": lambda kind=kind: fashion_hashes(kind, 3_000)
        for kind in ("ahash", "dhash", "phash", "whash")
    },
    **{
        f"photo {kind}": lambda kind=kind: photo_hashes(kind, 8_000)
        for kind in ("ahash", "dhash", "phash", "whash")
    },
}


@embedded_only
@pytest.mark.parametrize("source", REAL)
def test_real_hashes(space, source):
    hashes = REAL[source]()
    draw = random.Random(source)
    space.copy(hashes.tolist())
    queries = [
        flipped(int(value), frozenset(draw.sample(range(64), draw.randrange(10))))
        for value in draw.choices(hashes.tolist(), k=12)
    ]
    for radius in (0, 3, 4, 8, 10, 12, 14):
        expected = {query: brute_force.within(hashes, query, radius) for query in queries}
        for query in queries[:4]:
            check(space, hashes, query, radius)
        assert space.within_any(queries, radius) == {q: f for q, f in expected.items() if f}
    space.compact()
    for query in queries:
        check(space, hashes, query, draw.randrange(16))
        assert space.nearest(query, 20, 64) == brute_force.nearest(hashes, query, 20, 64)


@embedded_only
@pytest.mark.parametrize("source", REAL)
@pytest.mark.parametrize("radius", [4, 9])
def test_pairs_of_real_hashes(space, source, radius):
    hashes = REAL[source]()[::4]
    space.copy(hashes.tolist())
    assert space.pairs(radius) == brute_force.pairs(hashes, radius)
