"""Duplicates by PDQ, alone and after phash, against comparing each image with each."""

import itertools
import random

import networkx as nx
import psycopg
import pytest

from imgdb.duplicates.groups import DuplicateChoice, count_without_pdq, duplicates
from imgdb.hashes.values import PDQ_RULES

pytestmark = pytest.mark.sql

ADD = (
    "INSERT INTO imgdb.image (collection_id, path, byte_size, modified_at, sha256, format, width,"
    " height, frames, phash, flat, recipe, colours)"
    " SELECT collection_id, %s, 10, now(), %s, 'PNG', 1, 1, 1, %s, %s, 'x', %s"
    " FROM imgdb.collection WHERE name = %s RETURNING image_id"
)
ADD_PDQ = "INSERT INTO imgdb.image_pdq VALUES (%s, %s, %s, %s, %s, 100, 'x')"
COLOURS = bytes([100, 128, 64] * 9)


def near(draw, centre, words, most):
    """Turn up to so many bits of a hash of some words, any of them anywhere."""
    for bit in draw.sample(range(64 * words), draw.randint(0, most)):
        centre ^= 1 << bit
    return [
        (word - 2**64 if word >> 63 else word)
        for word in (centre >> 64 * place & (2**64 - 1) for place in range(words))
    ]


def apart(a, b):
    return sum(((x ^ y) & (2**64 - 1)).bit_count() for x, y in zip(a, b, strict=True))


def fill(conn, draw, count):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('new'), ('old')")
    centres = [(draw.getrandbits(64), draw.getrandbits(256)) for _ in range(4)]
    rows = {}
    for number in range(count):
        centre, pdq_centre = draw.choice(centres)
        collection, flat = draw.choice(("new", "old")), draw.random() < 0.1
        phash = near(draw, centre, 1, 12) if draw.random() < 0.9 else None
        pdq = near(draw, pdq_centre, 4, 45) if draw.random() < 0.9 else None
        sha256 = draw.randbytes(32)
        if rows and draw.random() < 0.1:
            sha256 = draw.choice([*rows.values()])["sha256"]
        values = (f"/{number}", sha256, phash and phash[0], flat, COLOURS, collection)
        (image_id,) = conn.execute(ADD, values).fetchone()
        if pdq:
            conn.execute(ADD_PDQ, (image_id, *pdq))
        rows[image_id] = {
            "collection": collection, "flat": flat, "phash": phash, "pdq": pdq, "sha256": sha256,
        }  # fmt: skip
    return rows


def matcher(rows, space, max_distance, against, collection):
    def matches(one, other):
        a, b = rows[one], rows[other]
        if against and (a["collection"] == against) == (b["collection"] == against):
            return False
        if a["sha256"] == b["sha256"]:
            return True
        if a["flat"] or b["flat"] or not a["pdq"] or not b["pdq"]:
            return False
        phashes = [row["phash"] for row in (a, b)]
        if space == "phash-pdq" and not (all(phashes) and apart(*phashes) <= 12):
            return False
        return apart(a["pdq"], b["pdq"]) <= max_distance

    images = [
        image
        for image, row in rows.items()
        if collection is None or row["collection"] == collection
    ]
    return images, matches


@pytest.mark.parametrize("space", PDQ_RULES)
@pytest.mark.parametrize("seed", range(3))
def test_groups_are_those_of_brute_force(database, seed, space):
    draw = random.Random(f"{seed} {space}")
    with psycopg.connect(database, autocommit=True) as conn:
        rows = fill(conn, draw, 70)
        seen = set()
        for against, collection, max_distance in itertools.product(
            (None, "old"), (None, "new"), (None, 0, 20, 60)
        ):
            choice = DuplicateChoice(
                space=space, max_distance=max_distance, against=against, collection=collection
            )
            radius = PDQ_RULES[space] if max_distance is None else max_distance
            among = None if against else collection
            images, matches = matcher(rows, space, radius, against, among)
            graph = nx.Graph()
            graph.add_edges_from(
                pair for pair in itertools.combinations(images, 2) if matches(*pair)
            )
            found = duplicates(conn, choice)
            members = {frozenset(m.image_id for m in group.members) for group in found}
            assert members == {frozenset(part) for part in nx.connected_components(graph)}, choice
            seen |= members
            for group in found:
                keeper, *others = group.members
                # Nothing goes that does not match the kept one itself, nor of the reference.
                assert [member.image_id for member in group.removable] == [
                    member.image_id
                    for member in others
                    if rows[member.image_id]["collection"] != against
                    and matches(member.image_id, keeper.image_id)
                ]
                measured = [rows[m.image_id]["pdq"] for m in group.members]
                pairs = itertools.combinations([pdq for pdq in measured if pdq], 2)
                assert group.diameter in (None, max((apart(*pair) for pair in pairs), default=0))
                for member, pdq in zip(group.members, measured, strict=True):
                    both = pdq and measured[0]
                    assert member.distance == (apart(pdq, measured[0]) if both else None)
        assert len(seen) > 4
        lacking = sum(not row["pdq"] and not row["flat"] for row in rows.values())
        assert count_without_pdq(conn, DuplicateChoice(space=space)) == lacking > 0
        assert count_without_pdq(conn, DuplicateChoice(space="phash")) == 0
