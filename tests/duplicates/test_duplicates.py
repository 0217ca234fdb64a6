"""What counts as a duplicate: groups, tiers, diameter and keeper, against a model in Python."""

import itertools
import random
from dataclasses import replace
from types import SimpleNamespace

import duplicate_model as model
import networkx as nx
import numpy as np
import psycopg
import pytest

from imgdb.duplicates.connecting import Compared, connect_images
from imgdb.duplicates.groups import DuplicateChoice, duplicates

pytestmark = pytest.mark.sql

CHOICES = [
    {"tier": tier, "collection": collection, "against": against, "other_folders": folders}
    for tier, (collection, against), folders in itertools.product(
        ("same-bytes", "same-picture", "near"),
        ((None, None), ("new", None), ("new", "old"), (None, "old")),
        (False, True),
    )
]


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_those_of_the_model(database, seed):
    draw = random.Random(seed)
    with psycopg.connect(database, autocommit=True) as conn:
        library = model.fill(conn, draw, count=70, marks=draw.choice((0, 0, 5, 40)))
        ids = sorted(library.rows)
        for choice in CHOICES:
            choice |= {"max_distance": draw.choice((0, 2, 5, 8, 11, 17))}
            choice |= {"space": draw.choice(model.RULES)}
            choice |= {"least_bytes": draw.choice((0, 0, 2000))}
            choice |= {"least_pixels": draw.choice((0, 0, 20_000))}
            linked = {tuple(draw.sample(ids, 2)) for _ in range(draw.choice((0, 0, 6)))}
            found = duplicates(conn, DuplicateChoice(**choice), sorted(linked))
            assert {frozenset(m.image_id for m in group.members) for group in found} == (
                model.groups(library, linked=linked, **choice)
            ), choice
            assert sum(len(group.members) for group in found) == len(
                {m.image_id for group in found for m in group.members}
            )
            _, matches = model.matcher(library, linked=linked, **choice)
            for group in found:
                keeper, *others = (library.rows[member.image_id] for member in group.members)
                assert [member.image_id for member in group.removable] == [
                    row.image_id
                    for row in others
                    if row.collection != choice["against"] and matches(row, keeper)
                ], choice


@pytest.mark.parametrize("seed", range(6))
def test_images_of_many_folders_and_few_hashes(conn, seed):
    """Where hashes crowd, a few edges stand for all: they must connect the same."""
    draw = random.Random(seed)
    count = 60
    hashes = [draw.choice((0, 1, 3, 0b1111000, None)) for _ in range(count)]
    seconds = [draw.choice((0, 0, 1, 7, None)) for _ in range(count)]
    images = [SimpleNamespace(phash=a, dhash=b) for a, b in zip(hashes, seconds, strict=True)]
    folders = [draw.randint(1, draw.choice((2, 5, 30))) for _ in range(count)]
    sides = [draw.choice((1, 2)) for _ in range(count)]
    pairs = {tuple(sorted(draw.sample(range(count), 2))) for _ in range(draw.choice((0, 8, 300)))}
    links = {tuple(draw.sample(range(count), 2)) for _ in range(draw.choice((0, 10)))}
    for rule, by_side, by_folder, radius in itertools.product(
        model.RULES, (0, 1), (0, 1), (0, 1, 2, 4)
    ):
        graph = nx.Graph()
        for a, b in itertools.combinations(range(count), 2):
            measured = model.apart(rule, images[a], images[b])
            near = measured is not None and measured <= radius
            if (
                (near or (a, b) in links or (b, a) in links)
                and (a, b) not in pairs
                and not (by_side and sides[a] == sides[b])
                and not (by_folder and folders[a] == folders[b])
            ):
                graph.add_edge(a, b)
        known = [
            (a is not None) + 2 * (b is not None) for a, b in zip(hashes, seconds, strict=True)
        ]
        compared = Compared(
            image_ids=np.arange(count) + 1,
            hashes=np.array([value or 0 for value in hashes], np.uint64),
            seconds=np.array([value or 0 for value in seconds], np.uint64),
            known=np.array(known, np.int8) & (3 if "+" in rule else 1),
            contents=np.zeros(count, np.int32),
            pdq=(),
            sides=np.array(sides, np.int8) if by_side else None,
            folders=np.array(folders, np.int32) if by_folder else None,
        )
        connected = connect_images(
            conn, DuplicateChoice(space=rule), compared, radius,
            different=[(a + 1, b + 1) for a, b in pairs],
            linked=[(a + 1, b + 1) for a, b in links],
        )  # fmt: skip
        found = {}
        for ids, firsts, _ in connected.batches():
            for image, first in zip(ids, firsts, strict=True):
                found.setdefault(first - 1, set()).add(image - 1)
        assert all(first == min(members) for first, members in found.items())
        assert sorted(map(sorted, found.values())) == sorted(
            map(sorted, nx.connected_components(graph))
        )


@pytest.mark.parametrize("crowded", [0, 1])
@pytest.mark.parametrize("radius", [9, 17])
def test_each_hash_is_searched_as_far_as_it_must(conn, crowded, radius):
    """Two hashes share the distance unevenly, and what lacks one is still found by the other."""
    draw = random.Random(radius)
    count = 160
    centres = [[draw.getrandbits(64) for _ in range(2)] for _ in range(40)]
    rows = [[one ^ _some_bits(draw, radius) for one in draw.choice(centres)] for _ in range(count)]
    for row in rows[:100]:
        row[crowded] = rows[0][crowded]
    known = [draw.choice((1, 2, 3, 3, 3, 3)) for _ in range(count)]
    images = [
        SimpleNamespace(phash=row[0] if have & 1 else None, dhash=row[1] if have & 2 else None)
        for row, have in zip(rows, known, strict=True)
    ]
    graph = nx.Graph()
    for a, b in itertools.combinations(range(count), 2):
        measured = model.apart("phash+dhash", images[a], images[b])
        if measured is not None and measured <= radius:
            graph.add_edge(a, b)
    hashes, seconds = np.array(rows, np.uint64).T.copy()
    compared = Compared(
        image_ids=np.arange(count),
        hashes=hashes,
        seconds=seconds,
        known=np.array(known, np.int8),
        contents=np.zeros(count, np.int32),
        pdq=(),
        sides=None,
        folders=None,
    )
    choice = DuplicateChoice(space="phash+dhash")
    connected = connect_images(conn, choice, compared, radius)
    found = {}
    for image, group in zip(connected.image_ids.tolist(), connected.groups.tolist(), strict=True):
        found.setdefault(group, set()).add(image)
    assert sorted(map(sorted, found.values())) == sorted(
        map(sorted, nx.connected_components(graph))
    )


def _some_bits(draw, most):
    return sum(1 << place for place in draw.sample(range(64), draw.randint(0, most // 2 + 1)))


@pytest.mark.parametrize("rule", model.RULES)
@pytest.mark.parametrize("seed", range(2))
def test_what_is_said_of_a_group(database, seed, rule):
    draw = random.Random(seed)
    with psycopg.connect(database, autocommit=True) as conn:
        rows = model.fill(conn, draw, count=60, marks=3).rows
        for keep, order in KEEP.items():
            against = draw.choice((None, "old"))
            choice = DuplicateChoice(space=rule, against=against, keep=keep)
            found = duplicates(conn, choice)
            assert found
            for group in found:
                members = [rows[member.image_id] for member in group.members]
                check_keeper(group, members, order, against, rule)
                check_tier(group, members)
                apart = [model.apart(rule, *two) for two in itertools.combinations(members, 2)]
                known = [bits for bits in apart if bits is not None]
                hashed = any(model.apart(rule, row, row) is not None for row in members)
                assert group.diameter == max(known, default=0 if hashed else None)
            sizes = [group.reclaimable_bytes for group in found]
            assert sizes == sorted(sizes, reverse=True)
            first = duplicates(conn, replace(choice, limit=2))
            assert first == found[:2]


def best(row):
    return (-row.width * row.height, -row.byte_size, row.modified_at, row.path)


KEEP = {
    "most-pixels": best,
    "most-bytes": lambda row: (-row.byte_size, *best(row)),
    "newest": lambda row: (-row.modified_at.timestamp(), *best(row)),
    "oldest": lambda row: (row.modified_at, *best(row)),
    "shortest-path": lambda row: (len(row.path), *best(row)),
}


def check_keeper(group, members, order, against, rule):
    first = min(members, key=lambda row: (against is not None and row.collection != against,
                                          order(row)))  # fmt: skip
    assert group.keeper.image_id == first.image_id
    assert [m.keeper for m in group.members] == [True] + [False] * (len(members) - 1)
    assert group.reclaimable_bytes == sum(m.byte_size for m in group.removable)
    for member, row in zip(group.members, members, strict=True):
        assert member.same_bytes == (row.sha256 == first.sha256)
        for name in model.NAMES:
            a, b = getattr(row, name), getattr(first, name)
            apart = None if a is None or b is None else model.distance(a, b)
            assert getattr(member, f"{name}_distance") == apart
        assert member.distance == model.apart(rule, row, first)


def check_tier(group, members):
    if len({row.sha256 for row in members}) == 1:
        expected = "same-bytes"
    elif (
        len({row.hashes for row in members}) == 1
        and None not in members[0].hashes
        and not any(row.flat for row in members)
    ):
        expected = "same-picture"
    else:
        expected = "near"
    assert group.tier == expected


def test_the_far_end_of_a_chain_stays(database):
    with psycopg.connect(database, autocommit=True) as conn:
        library = model.fill(conn, random.Random(2), count=6, marks=0)
        conn.execute(
            "UPDATE imgdb.image SET phash = (1 << (4 * image_id::integer)) - 1, flat = false,"
            " missing_since = NULL, sha256 = sha256(image_id::text::bytea), width = 100 - image_id"
        )
        (group,) = duplicates(conn, DuplicateChoice(space="phash", max_distance=4))
        assert len(group.members) == len({row.path for row in library.rows.values()}) > 3
        assert [m.distance for m in group.members] == [4 * n for n in range(len(group.members))]
        assert group.removable == group.members[1:2]
        # Nor does what a person said is different from what is kept, however near it is.
        conn.execute(model.MARK, [m.image_id for m in group.members[:2]])
        (again,) = duplicates(conn, DuplicateChoice(space="phash", max_distance=64))
        assert [m.image_id for m in again.members] == [m.image_id for m in group.members]
        assert again.removable == [m for m in again.members[1:] if m.distance != 4]


def test_images_in_a_folder_are_kept_first(database):
    with psycopg.connect(database, autocommit=True) as conn:
        rows = model.fill(conn, random.Random(5), count=60, marks=0).rows
        found = duplicates(conn, DuplicateChoice(keep_in="/c", keep="newest"))
    for group in found:
        members = [rows[member.image_id] for member in group.members]
        inside = [row for row in members if row.path.startswith("/c/")]
        assert group.keeper.image_id == min(inside or members, key=KEEP["newest"]).image_id
    assert any(group.keeper.path.startswith("/c/") for group in found)


ADD = (
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
    " SELECT collection_id, %s, %s, 'imported' FROM imgdb.collection WHERE name = 'one'"
)


def test_a_chain_shows_by_its_diameter(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('one')")
        for name, value in (("a", 0), ("b", 0xF), ("c", 0xFF), ("d", 0xFFF)):
            conn.execute(ADD, (name, value))
        (group,) = duplicates(conn, DuplicateChoice(space="phash", max_distance=4))
        assert (len(group.members), group.diameter, group.tier) == (4, 12, "near")
        # Of imported hashes there is no file that could be removed, or be kept for another.
        assert (group.removable, group.reclaimable_bytes) == ([], 0)


def test_a_file_is_not_removed_for_one_in_an_archive(database):
    with psycopg.connect(database, autocommit=True) as conn:
        rows = model.fill(conn, random.Random(1), count=2, marks=0).rows
        conn.execute(
            "UPDATE imgdb.image SET phash = 1, flat = false, missing_since = NULL,"
            " sha256 = sha256('x'), width = image_id * 100, path = CASE image_id WHEN %s"
            " THEN '/a.zip!/big.png' ELSE '/small.png' END", (max(rows),),
        )  # fmt: skip
        (group,) = duplicates(conn, DuplicateChoice())
    assert [(m.path, m.removable) for m in group.members] == [
        ("/small.png", False),
        ("/a.zip!/big.png", False),
    ]


@pytest.mark.parametrize(
    ("choice", "sqlstate"),
    [
        ({"space": "nosuch"}, "IM001"),
        ({"max_distance": 129}, "IM002"),
        ({"space": "phash", "max_distance": 65}, "IM002"),
        ({"collection": "nosuch"}, "IM011"),
        ({"against": "nosuch"}, "IM011"),
        ({"tier": "alike"}, "IM012"),
        ({"limit": 0}, "IM012"),
    ],
)
def test_bad_arguments(database, choice, sqlstate):
    with psycopg.connect(database, autocommit=True) as conn:
        with pytest.raises(psycopg.DatabaseError) as error:
            duplicates(conn, DuplicateChoice(**choice))
        assert error.value.sqlstate == sqlstate
        assert error.value.diag.message_hint


def test_how_much_is_done_grows_to_all(database):
    with psycopg.connect(database, autocommit=True) as conn:
        model.fill(conn, random.Random(1), count=40, marks=0)
        told = []
        assert duplicates(conn, DuplicateChoice(), watching=told.append)
    assert told == sorted(told) and told[0] < 0.5 and told[-1] == 1


def test_no_images_make_no_groups(database):
    with psycopg.connect(database, autocommit=True) as conn:
        assert duplicates(conn, DuplicateChoice(other_folders=True)) == []
