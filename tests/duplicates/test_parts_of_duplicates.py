"""Images that share regions: in one group, told apart from copies, and never removed for it."""

import random
from pathlib import Path

import duplicate_model as model
import psycopg
import pytest
from PIL import Image

from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.parts import WRONG_PER_IMAGE, PartPair, part_pairs, shared_by_copies
from imgdb.duplicates.plan import write_plan
from imgdb.hashes.regions import Region
from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest
from imgdb.search.parts import RegionQuery, sharing_parts

EXAMPLES = Path(__file__).parents[2] / "examples" / "images"

pytestmark = pytest.mark.sql

# A thing that many images show: so many regions of it, far from those of other things.
REGIONS = 6
ADD = "INSERT INTO imgdb.image_region VALUES (%s, %s, %s, %s, %s, %s, %s)"
STORED = (
    "SELECT region_hash, box_left, box_top, box_width, box_height FROM imgdb.image_region"
    " WHERE image_id = %s ORDER BY region"
)


def show(conn, draw, image_id, things):
    """Let an image show things, each somewhere at some scale, its regions nearly alike."""
    number = 0
    for thing in things:
        of_thing = random.Random(thing)
        scale, left, top = draw.choice((1, 2)), draw.randrange(50), draw.randrange(50)
        for _ in range(REGIONS):
            value = of_thing.getrandbits(64)
            x, y, side = (of_thing.randrange(*some) for some in ((0, 40), (0, 40), (10, 30)))
            for bit in draw.sample(range(64), draw.randrange(4)):
                value ^= 1 << bit
            row = (left + scale * x, top + scale * y, scale * side, scale * side, value - 2**63)
            conn.execute(ADD, (image_id, number, *row))
            number += 1
    conn.execute("UPDATE imgdb.image SET region_recipe = 'x' WHERE image_id = %s", [image_id])


@pytest.fixture
def library(database):
    """Rows of which some show one thing of eight, and some two."""
    draw = random.Random(7)
    with psycopg.connect(database, autocommit=True) as conn:
        rows = model.fill(conn, draw, count=60, marks=5)
        for image_id in draw.sample(sorted(rows.rows), 25):
            show(conn, draw, image_id, draw.sample(range(8), draw.choice((0, 1, 1, 2))))
        yield conn, rows


def test_the_pairs_are_those_that_a_search_for_each_image_finds(library):
    conn, rows = library
    found = {
        (p.image_id, p.other_id): (p.relation, p.votes) for p in part_pairs(conn, DuplicateChoice())
    }
    expected = {}
    for row in rows.rows.values():
        regions = [
            Region(left, top, width, height, value)
            for value, left, top, width, height in conn.execute(STORED, [row.image_id])
        ]
        query = RegionQuery("", row.width, row.height, row.sha256, regions)
        for match in sharing_parts(conn, query, wrong_per_query=WRONG_PER_IMAGE):
            other = rows.rows[match.image_id]
            if match.image_id != row.image_id and not (row.missing_since or other.missing_since):
                expected[row.image_id, match.image_id] = (match.relation, match.votes)
    found = {pair: of for pair, of in found.items() if not rows.rows[pair[1]].missing_since}
    assert found == expected
    assert len(found) > 10
    assert len({relation for relation, _ in found.values()}) > 1


def test_what_many_images_show_connects_none(library):
    conn, rows = library
    some = sorted(rows.rows)[0]
    conn.execute(
        "INSERT INTO imgdb.image (collection_id, path, byte_size, modified_at, sha256, format,"
        " width, height, frames, recipe, colours, region_recipe)"
        " SELECT collection_id, '/logo/' || number, 1, now(), sha256(number::text::bytea), 'PNG',"
        " 100, 100, 1, 'x', colours, 'x'"
        " FROM imgdb.image, generate_series(1, 101) AS number WHERE image_id = %s",
        [some],
    )
    ids = [
        one for (one,) in conn.execute("SELECT image_id FROM imgdb.image WHERE path ~ '^/logo/'")
    ]
    for image_id in ids[:100]:
        show(conn, random.Random(0), image_id, [99])
    pairs = {(p.image_id, p.other_id) for p in part_pairs(conn, DuplicateChoice())}
    assert sum(a in ids and b in ids for a, b in pairs) == 100 * 99
    show(conn, random.Random(0), ids[100], [99])
    pairs = {(p.image_id, p.other_id) for p in part_pairs(conn, DuplicateChoice())}
    assert not any(a in ids or b in ids for a, b in pairs)


@pytest.mark.parametrize(
    "choice",
    [{}, {"against": "old"}, {"other_folders": True}, {"collection": "new", "against": "old"}],
    ids=["all", "against", "folders", "two collections"],
)
def test_they_are_connected_and_nothing_more_is_removed(library, choice):
    conn, rows = library
    choice |= {"space": "phash", "max_distance": 4}
    together = duplicates(conn, DuplicateChoice(**choice))
    alone = duplicates(conn, DuplicateChoice(**choice, parts=False))
    removable = [m.image_id for group in alone for m in group.removable]
    assert sorted(m.image_id for group in together for m in group.removable) == sorted(removable)
    assert removable
    compared, matches = model.matcher(rows, **choice)
    shared = {(p.image_id, p.other_id) for p in part_pairs(conn, DuplicateChoice(**choice))}

    def allowed(a, b):
        paths = {(rows.rows[x].path, rows.rows[y].path) for x, y in rows.marks}
        return not (
            {(a.path, b.path), (b.path, a.path)} & paths
            or (choice.get("against") and (a.collection == "old") == (b.collection == "old"))
            or (choice.get("other_folders") and a.folder == b.folder)
        )

    def connected(a, b):
        pairs = {(a.image_id, b.image_id), (b.image_id, a.image_id)} & shared
        return matches(a, b) or bool(pairs and allowed(a, b))

    found = {frozenset(m.image_id for m in group.members) for group in together}
    expected = model.components(compared, connected)
    assert found == {frozenset(row.image_id for row in group) for group in expected}
    assert found != {frozenset(m.image_id for m in group.members) for group in alone}
    # What is a copy of what is as before, in groups that only parts connect, too.
    kept = {m.image_id for group in alone for m in group.members if m.keeper}
    for group in together:
        copies = [part for part in group.parts() if len(part.members) > 1]
        assert {part.keeper.image_id for part in copies} <= kept
        assert (group.tier == "parts") == any(
            m.relation != "same" or m.votes is not None for m in group.members
        )


def test_pictures(tmp_path, database):
    """A picture, a copy, a crop, a copy of the crop, and what nothing is like."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    whole = Image.open(EXAMPLES / "bauhaus.jpg")
    width, height = whole.size
    crop = whole.crop((width // 5, height // 5, width * 4 // 5, height * 4 // 5))
    shown = {
        "whole": whole,
        "copy": whole.resize((width * 3 // 4, height * 3 // 4)),
        "crop": crop,
        "crop-copy": crop.resize((crop.width * 3 // 4, crop.height * 3 // 4)),
        "other": Image.open(EXAMPLES / "sunflower.jpg"),
    }
    for name, picture in shown.items():
        picture.convert("RGB").save(folder / f"{name}.jpg")
    with psycopg.connect(database, autocommit=True) as conn:
        ingest(conn, [str(folder)], options=Options(jobs=1, regions=True))
        (group,) = duplicates(conn, DuplicateChoice())
        alone = duplicates(conn, DuplicateChoice(parts=False))
    assert group.tier == "parts"
    assert [(Path(m.path).stem, m.relation, m.keeper, m.removable) for m in group.members] == [
        ("whole", "same", True, False),
        ("copy", "same", False, True),
        ("crop", "part", True, False),
        ("crop-copy", "part", False, True),
    ]
    _, _, part, part_copy = group.members
    assert part.votes > 2
    assert (part.distance, part.colours_matter) == (None, "")
    assert part_copy.distance is not None
    assert group.diameter == max(one.diameter for one in alone)
    plans = []
    for number, groups in enumerate(([group], alone)):
        write_plan(tmp_path / f"{number}.txt", groups)
        lines = (tmp_path / f"{number}.txt").read_text().splitlines()
        entries = [line.split() for line in lines if line.startswith(("keep", "remove"))]
        plans.append(sorted((what, path) for what, *_, path in entries))
    assert plans[0] == plans[1]
    assert len(plans[0]) == 4


def test_chains_of_parts_and_how_they_are_told():
    """What is connected by others only, or is the inverse of what was asked."""

    def pair(a, b, relation, votes):
        return a, b, PartPair(a, b, relation, votes)

    shared = shared_by_copies(
        [pair(1, 2, "part", 4), pair(2, 1, "contains", 5), pair(2, 3, "overlaps", 3)]
    )
    assert shared == {
        (1, 2): (5, "part"), (2, 1): (5, "contains"),
        (2, 3): (3, "overlaps"), (3, 2): (3, "overlaps"),
    }  # fmt: skip
