"""Many hashes at once: what is found in an export is what SQL finds."""

import random

import numpy as np
import pytest
from hash_sets import CORNERS
from spaces import Space

import imgdb
from imgdb.hashes import near
from imgdb.search import many

THREE = [sum(1 << bit for bit in range(band, 64, 3)) for band in range(3)]


def signed(mask: int) -> int:
    return mask - 2**64 if mask >= 2**63 else mask


def drawn(seed: int, count: int) -> list[int]:
    """Draw hashes near each other, and some that are near to nothing."""
    draw = random.Random(seed)
    found = list(CORNERS)
    for number in range(count):
        centre = draw.choice(CORNERS) if number % 3 else draw.getrandbits(64) - 2**63
        for bit in draw.sample(range(63), draw.randrange(7)):
            centre ^= 1 << bit
        found.append(centre)
    return found


@pytest.mark.parametrize("export_cost", [0, 2**60], ids=["in memory", "in SQL"])
@pytest.mark.parametrize("masks", [None, THREE], ids=["four bands", "three bands"])
def test_as_within_any_finds(space: Space, monkeypatch, masks, export_cost):
    monkeypatch.setattr(many, "EXPORT_COST", export_cost)
    monkeypatch.setattr(near, "AT_ONCE", 1000)
    monkeypatch.setattr(many, "BATCH", 20)
    if masks:
        space.use_masks([signed(mask) for mask in masks])
    space.insert(drawn(1, 300))
    space.flush()
    space.insert(drawn(2, 50))
    space.look_up()
    queries = drawn(3, 60)
    for radius in (0, 1, 3, 4, 8, 11, 64):
        found = list(many.within_many(space.conn, space.name, queries * 2, radius))
        expected = {
            (query, value, distance)
            for query, near in space.within_any(queries, radius).items()
            for value, distance in near.items()
        }
        assert len(found) == len(expected)
        assert {(one.query_hash, one.hash, one.distance) for one in found} == expected
        assert radius == 64 or 0 < len(expected) < 361 * 68


@pytest.mark.parametrize(
    ("wrong", "error"), [(1.5, TypeError), ("5", TypeError), (2**63, imgdb.ImgdbError)]
)
def test_what_is_no_stored_hash_is_refused(space: Space, wrong, error):
    with pytest.raises(error):
        list(many.within_many(space.conn, space.name, [wrong], 8))


def test_of_nothing_and_in_nothing(space: Space, monkeypatch):
    monkeypatch.setattr(many, "EXPORT_COST", 0)
    assert list(many.within_many(space.conn, space.name, [5], 8)) == []
    space.insert([5])
    assert list(many.within_many(space.conn, space.name, [], 8)) == []
    assert list(many.within_many(space.conn, space.name, [5], 0)) == [many.Near(5, 5, 0)]


def test_few_are_asked_in_sql_and_many_are_not(space: Space, monkeypatch):
    space.insert(drawn(1, 3000))
    space.flush()
    exports = []
    monkeypatch.setattr(
        many, "copied_hashes", lambda conn, name: exports.append(1) or np.zeros(0, "u8")
    )
    list(many.within_many(space.conn, space.name, [5], 4))
    assert not exports
    list(many.within_many(space.conn, space.name, range(5000), 4))
    assert exports


def test_of_a_database(space: Space):
    space.insert([5, 7])
    with imgdb.connect(space.conninfo) as db:
        found = db.within_many([4], 1, space=space.name)
        assert [(one.query_hash, one.hash, one.distance) for one in found] == [(4, 5, 1)]
