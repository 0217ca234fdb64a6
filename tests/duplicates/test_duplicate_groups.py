"""Groups of duplicates, and pairs that people marked as different, against a model in Python."""

import random
from collections import defaultdict

import psycopg
import pytest
from duplicate_model import components

pytestmark = pytest.mark.sql

ADD = (
    "INSERT INTO imgdb.image (collection_id, path, phash, flat, missing_since, recipe)"
    " VALUES ((SELECT collection_id FROM imgdb.collection WHERE name = %s), %s, %s, %s, %s, 'x')"
    " RETURNING image_id"
)
ADD_ALL = (
    "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
    " SELECT c.collection_id, n.number, n.phash, 'x'"
    " FROM unnest(%s::text[], %s::bigint[]) WITH ORDINALITY AS n (collection, phash, number)"
    " JOIN imgdb.collection AS c ON c.name = n.collection RETURNING image_id, phash, path"
)
MARK = "INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b) VALUES (%s, %s)"
GROUPS = (
    "SELECT group_id, image_id, path, distance_to_first"
    " FROM imgdb.duplicate_groups('phash', %s, collection_name => %s)"
)


def distance(a, b):
    return ((a ^ b) & (2**64 - 1)).bit_count()


@pytest.fixture
def add(conn):
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")

    def add(phash, *, collection="a", path=None, flat=False, missing_since=None):
        path = path or f"/{random.getrandbits(60):x}.jpg"
        row = conn.execute(ADD, (collection, path, phash, flat, missing_since)).fetchone()
        return row[0]

    return add


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("marks", [0, 4, 60])
def test_groups_are_the_connected_components(conn, add, seed, marks):
    draw = random.Random(f"{seed} {marks}")
    centres = [draw.getrandbits(64) for _ in range(5)]
    drawn = []
    for _ in range(50):
        value = draw.choice(centres)
        for bit in draw.sample(range(64), draw.randint(0, 5)):
            value ^= 1 << bit
        signed = value - 2**64 if value >> 63 else value
        drawn.append((draw.choice("ab"), signed))
    stored = conn.execute(ADD_ALL, [*map(list, zip(*drawn, strict=True))]).fetchall()
    hashes = {image: phash for image, phash, _ in stored}
    homes = {image: drawn[int(number) - 1][0] for image, _, number in stored}
    assert len(hashes) == 50
    marked = {tuple(sorted(draw.sample(sorted(hashes), 2))) for _ in range(marks)}
    for pair in marked:
        conn.execute(MARK, pair)
    distances = {(a, b): distance(hashes[a], hashes[b]) for a in hashes for b in hashes}
    for collection in (None, "a"):
        images = [image for image in hashes if collection in (None, homes[image])]
        for radius in (0, 3, 4, 8):

            def near(a, b, radius=radius):
                return distances[a, b] <= radius and (min(a, b), max(a, b)) not in marked

            groups = defaultdict(dict)
            for group, image, _, apart in conn.execute(GROUPS, (radius, collection)):
                groups[group][image] = apart
            assert {frozenset(group) for group in groups.values()} == components(images, near)
            for first, members in groups.items():
                assert first == min(members)
                assert members == {i: distances[i, first] for i in members}


def test_flat_and_missing_images_are_in_no_group(conn, add):
    add(5), add(5, flat=True), add(5, missing_since="2026-01-01")
    assert conn.execute(GROUPS, (8, None)).fetchall() == []


def test_no_images_make_no_groups(conn, add):
    assert conn.execute(GROUPS, (8, "b")).fetchall() == []


@pytest.mark.parametrize(
    ("arguments", "sqlstate"),
    [(("nosuch", 8, None), "IM001"), (("phash", 65, None), "IM002"), (("phash", 8, "z"), "IM011")],
)
def test_bad_arguments(conn, arguments, sqlstate):
    with pytest.raises(psycopg.DatabaseError) as error:
        conn.execute("SELECT imgdb.duplicate_groups(%s, %s, %s)", arguments)
    assert error.value.sqlstate == sqlstate
    assert error.value.diag.message_hint


def similar(conn, phash):
    rows = conn.execute("SELECT image_id FROM imgdb.similar_images('phash', %s, 8)", (phash,))
    return {image for (image,) in rows}


def test_what_is_marked_as_different_from_all_that_is_asked_for_is_no_match(conn, add):
    one, near, far = add(0b0), add(0b1), add(0b11)
    conn.execute(MARK, (one, near))
    assert similar(conn, 0b0) == {one, far}
    assert similar(conn, 0b1) == {near, far}
    assert similar(conn, 0b100) == {one, near, far}
    # Another image of the same hash was not marked: asked by hash, it may be meant.
    twin = add(0b0)
    assert similar(conn, 0b0) == {one, twin, near, far}
    conn.execute(MARK, (near, twin))
    assert similar(conn, 0b0) == {one, twin, far}


def test_a_mark_goes_with_its_image(conn, add):
    one, near = add(0b0), add(0b1)
    conn.execute(MARK, (one, near))
    conn.execute("DELETE FROM imgdb.image WHERE image_id = %s", (one,))
    assert similar(conn, 0b0) == {near}
