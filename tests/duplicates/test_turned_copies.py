"""Turned and mirrored duplicates: all of them, told apart, and nothing lost in silence."""

import json
import random
from pathlib import Path

import psycopg
import pytest
from duplicate_model import components
from hash_sets import flipped
from library import add, scene
from PIL import Image

from examples import ORIGINALS, turn
from imgdb.duplicates import turned_copies
from imgdb.duplicates.groups import DuplicateChoice, duplicates
from imgdb.duplicates.turned_copies import TurnedHashes, turned_pairs
from imgdb.hashes.orientations import AS_IS, ONE_OF_TWO, ORIENTATIONS, by_words
from imgdb.hashes.values import USUAL_RULE, bit_distance

ADD = (
    "INSERT INTO imgdb.image (collection_id, path, phash, dhash, recipe)"
    " SELECT c.collection_id, %s, %s, %s, 'x' FROM imgdb.collection AS c WHERE c.name = %s"
    " RETURNING image_id"
)
MARK = "INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b) VALUES (%s, %s)"


def random_hash(draw):
    return draw.getrandbits(64) - 2**63


def added(a, b):
    return sum(bit_distance(one, other) for one, other in zip(a, b, strict=True))


def test_one_of_two_is_turned_into_every_other_orientation():
    for orientation in ORIENTATIONS[1:]:
        assert orientation in ONE_OF_TWO or orientation.inverse() in ONE_OF_TWO
    for orientation in ONE_OF_TWO:  # and none of them could be left out
        rest = {*ONE_OF_TWO} - {orientation}
        assert orientation not in rest and orientation.inverse() not in rest


@pytest.mark.parametrize("way", ["plain", "marked", "folders", "against"])
@pytest.mark.parametrize("rule", ["phash", "phash+dhash"])
@pytest.mark.parametrize("seed", range(2))
def test_groups_are_the_components_of_comparing_everything(database, seed, way, rule):
    """Hashes of turned pictures are drawn, so that each comes near some other picture's."""
    draw = random.Random(f"{seed} {way}")
    several = len(rule.split("+"))
    radius = 4 * several
    centres = [tuple(random_hash(draw) for _ in range(several)) for _ in range(14)]

    def drawn():
        """The hashes of a picture, each near that of one of few."""
        return tuple(
            flipped(one, frozenset(draw.sample(range(64), draw.choice([0, 0, 0, 1, 2, 3, 5]))))
            for one in draw.choice(centres)
        )

    hashes, homes, folders, turned = {}, {}, {}, {}
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("INSERT INTO imgdb.collection (name) VALUES ('a'), ('b')")
        for number in range(30):
            home, folder, value = draw.choice("ab"), draw.choice("xyz"), drawn()
            given = (f"/{folder}/{number}.jpg", value[0], value[-1], home)
            row = conn.execute(ADD, given).fetchone()
            hashes[row[0]], homes[row[0]], folders[row[0]] = value, home, folder
        for image in draw.sample(sorted(hashes), 12):
            if way != "against" or homes[image] == "a":
                turned[image] = [hashes[image]] + [
                    drawn()
                    if draw.random() < 0.3
                    else tuple(random_hash(draw) for _ in range(several))
                    for _ in ORIENTATIONS[1:]
                ]
        marks = set()
        if way == "marked":
            marks = {tuple(sorted(draw.sample(sorted(hashes), 2))) for _ in range(60)}
            conn.cursor().executemany(MARK, sorted(marks))
        against = way == "against"
        choice = DuplicateChoice(
            space=rule,
            max_distance=radius,
            other_folders=way == "folders",
            collection="a" if against else None,
            against="b" if against else None,
        )
        laid = {
            image: [one[place] for place in range(several) for one in orientations]
            for image, orientations in turned.items()
        }
        # Of one colour, so that only hashes count.
        colours = dict.fromkeys(hashes, bytes([100, 140, 128] * 9))
        known = TurnedHashes(upright=hashes, turned=laid, colours=colours)
        pairs = turned_pairs(conn, choice, known)
        groups = duplicates(conn, choice, pairs)
    assert pairs

    def turns(image):
        wanted = ORIENTATIONS[1:] if against else ONE_OF_TWO
        return [turned[image][ORIENTATIONS.index(one)] for one in wanted if image in turned]

    def near(a, b):
        if (min(a, b), max(a, b)) in marks:
            return False
        if choice.other_folders and folders[a] == folders[b]:
            return False
        if against and homes[a] == homes[b]:
            return False
        apart = [added(hashes[a], hashes[b])]
        apart += [added(one, hashes[b]) for one in turns(a)]
        apart += [added(one, hashes[a]) for one in turns(b)]
        return min(apart) <= radius

    found = {frozenset(member.image_id for member in group.members) for group in groups}
    assert found == components(hashes, near)


@pytest.fixture
def gallery(tmp_path):
    """Write a picture, a copy in every orientation, smaller than it, and another picture."""
    folder = tmp_path / "gallery"
    folder.mkdir()
    with Image.open(ORIGINALS[1]) as picture:
        picture.save(folder / "original.png")
        for number, orientation in enumerate(ORIENTATIONS[1:], 1):
            copy = turn(picture, orientation)
            copy.resize((copy.width * 2 // 3, copy.height * 2 // 3)).save(
                folder / f"copy-{number}.jpg", quality=80
            )
    scene(7).save(folder / "other.png")
    return folder


def found(cli, *args, dsn, code=0):
    result = cli("duplicates", "--format", "json", *args, dsn=dsn)
    assert result.code == code, result
    return json.loads(result.stdout), result.stderr


def test_every_turned_copy_is_found_and_named(cli, database, gallery):
    add(database, *sorted(gallery.iterdir()))
    (group,), said = found(cli, "--any-orientation", dsn=database)
    assert said.startswith("imgdb: 1 group, 8 images")
    told = {Path(one["path"]).stem: one["orientation"] for one in group["members"]}
    assert told == {"original": "as is"} | {
        f"copy-{number}": one.words for number, one in enumerate(ORIENTATIONS[1:], 1)
    }
    assert all(one["distance"] <= 8 for one in group["members"])
    assert 0 <= group["diameter"] <= 16
    assert [one["removable"] for one in group["members"]] == [False] + [True] * 7
    # What is turned is measured as it was found, and only by the hashes that were searched.
    for one in group["members"][1:]:
        assert one["phash_distance"] + one["dhash_distance"] == one["distance"]
        assert (one["ahash_distance"], one["whash_distance"]) == (None, None)
    plain, _ = found(cli, dsn=database)
    assert plain == []
    table = cli(
        "duplicates", "--any-orientation", "--format", "table", "--flood", "3", dsn=database
    ).stdout
    assert table.splitlines()[-1] == "and 5 more (--flood 0 lists them all)"
    assert "clockwise" in table or "180°" in table


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:], ids=lambda one: one.words)
def test_either_of_two_may_be_the_turned_one(database, tmp_path, orientation):
    scene(5).save(tmp_path / "a.png")
    turn(scene(5, (640, 480)), orientation).save(tmp_path / "b.png")
    add(database, tmp_path / "a.png", tmp_path / "b.png")
    with psycopg.connect(database, autocommit=True) as conn:
        known = turned_copies.turn_images(
            turned_copies.turnable(conn, DuplicateChoice()), USUAL_RULE, jobs=1
        )
        pairs = turned_pairs(conn, DuplicateChoice(), known)
        (group,) = turned_copies.oriented(
            duplicates(conn, DuplicateChoice(), pairs), known, USUAL_RULE
        )
    keeper, other = group.members
    assert Path(keeper.path).name == "b.png"
    assert (keeper.orientation, other.orientation) == (
        AS_IS.words, by_words(orientation.words).inverse().words,
    )  # fmt: skip


def test_a_reference_is_not_read_again(cli, database, gallery):
    add(database, gallery / "original.png", collection="reference")
    add(database, *sorted(gallery.glob("copy-*")), collection="fresh")
    (gallery / "original.png").unlink()
    args = ("--any-orientation", "--collection", "fresh", "--against", "reference")
    (group,), said = found(cli, *args, dsn=database)
    assert "could not" not in said
    assert Path(group["members"][0]["path"]).name == "original.png"
    assert {one["orientation"] for one in group["members"][1:]} == {
        one.words for one in ORIENTATIONS[1:]
    }


def test_what_cannot_be_turned_is_said(cli, database, gallery):
    add(database, *sorted(gallery.iterdir()))
    with psycopg.connect(database) as conn:
        conn.execute(ADD, ("imported", 5, 5, "default"))
    (gallery / "copy-1.jpg").unlink()
    scene(9).save(gallery / "copy-2.jpg")
    (group,), said = found(cli, "--any-orientation", dsn=database, code=3)
    # The others are still compared with what these two were.
    assert len(group["members"]) == 8
    lines = said.splitlines()
    assert sum("copy-1.jpg" in line or "copy-2.jpg" in line for line in lines) == 2
    assert "imgdb: files that could not be turned: 2" in lines
    assert sum("imported without files: 1" in line for line in lines) == 1


def test_only_near_ones_can_be_turned(cli, database):
    result = cli("duplicates", "--any-orientation", "--tier", "same-bytes", dsn=database)
    assert (result.code, result.stdout) == (2, "")
    assert "tier near" in result.stderr
