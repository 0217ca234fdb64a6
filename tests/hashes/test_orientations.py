"""Turned and mirrored pictures: hashed as if they were turned by hand, found, and told apart."""

import json

import numpy as np
import psycopg
import pytest
from hash_pictures import random_pictures
from library import add, scene
from PIL import Image, ImageOps

from examples import ORIGINALS, turn
from imgdb.hashes import orientations
from imgdb.hashes.exact import hash_grey, read_grey
from imgdb.hashes.orientations import AS_IS, ORIENTATIONS, WORDS
from imgdb.hashes.values import ALGORITHMS
from imgdb.search import images


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_turned_hashes_are_those_of_the_turned_picture(algorithm):
    for grey in random_pictures(60, seed=ALGORITHMS.index(algorithm), largest=300):
        for orientation, found in zip(
            ORIENTATIONS, orientations.read_turned(grey, (algorithm,)), strict=True
        ):
            assert found == read_grey(turn(grey, orientation), (algorithm,)), grey.size


def test_turned_hashes_of_larger_pictures():
    """Where whash goes another way than the small grids do."""
    noise = np.random.default_rng(5).integers(0, 256, (701, 1100), dtype=np.uint8)
    for grey in (Image.fromarray(noise), scene(3, (640, 1037)).convert("L")):
        for orientation, found in zip(ORIENTATIONS, orientations.read_turned(grey), strict=True):
            assert found.hashes == hash_grey(turn(grey, orientation))


def test_orientations_are_a_group():
    corner = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    for one in ORIENTATIONS:
        assert one.then(one.inverse()) == one.inverse().then(one) == AS_IS
        assert orientations.by_words(one.words) == one
        for other in ORIENTATIONS:
            both = turn(turn(corner, one), other)
            assert turn(corner, one.then(other)).tobytes() == both.tobytes()
    assert len({turn(corner, one).tobytes() + bytes(one.sideways) for one in ORIENTATIONS}) == 8


def test_turned_back_is_turned_by_the_inverse():
    grey = scene(4).convert("L")
    for orientation, found in zip(ORIENTATIONS, orientations.read_turned_back(grey), strict=True):
        assert found == read_grey(turn(grey, orientation.inverse()))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_turned_copy_of_a_real_picture_finds_the_original(database, tmp_path, name):
    """The copies are recompressed, so their hashes are near, not equal."""
    add(database, *ORIGINALS)
    with psycopg.connect(database, autocommit=True) as conn:
        for number, original in enumerate(ORIGINALS):
            # A quarter of all for each hash: together they see every picture and orientation.
            for orientation in ORIENTATIONS[(number + ALGORITHMS.index(name)) % 4 :: 4]:
                copy = tmp_path / "copy.jpg"
                with Image.open(original) as picture:
                    turn(picture, orientation).save(copy, quality=70)
                query = images.query_by_file(copy, any_orientation=True)
                found = images.similar(conn, query, space=name, max_distance=6)
                assert (found[0].path, found[0].orientation) == (
                    str(original), orientation.words,
                )  # fmt: skip
                assert found[0].distance == getattr(found[0], f"{name}_distance")
                # The distances in all four hashes are those of that orientation.
                assert all(getattr(found[0], f"{n}_distance") <= 10 for n in ALGORITHMS)


def matches(cli, *args, dsn):
    result = cli("query", *args, "--format", "json", dsn=dsn)
    assert (result.code, result.stderr) == (0, ""), result
    return json.loads(result.stdout)


def test_the_command_says_which_orientation_matched(cli, database, tmp_path):
    scene(1).save(tmp_path / "lake.png")
    ImageOps.mirror(scene(1)).rotate(-90, expand=True).save(tmp_path / "turned.png")
    add(database, tmp_path / "lake.png", tmp_path / "turned.png")
    same, other = matches(cli, tmp_path / "turned.png", "--any-orientation", dsn=database)
    assert (same["path"], same["orientation"]) == (str(tmp_path / "turned.png"), "as is")
    assert same["same_bytes"] and not other["same_bytes"]
    assert (other["path"], other["orientation"]) == (
        str(tmp_path / "lake.png"), "mirrored, 90° clockwise",
    )  # fmt: skip
    assert {other[f"{name}_distance"] for name in ALGORITHMS} == {0}
    (alone,) = matches(cli, tmp_path / "turned.png", dsn=database)
    assert alone == same | {"orientation": None}
    table = cli(
        "query", tmp_path / "turned.png", "--any-orientation", "--format", "table", dsn=database
    ).stdout
    assert "orientation" in table and "mirrored, 90° clockwise" in table


def test_a_hash_alone_cannot_be_turned(cli):
    result = cli("query", "--hex", "0" * 16, "--any-orientation")
    assert (result.code, result.stdout) == (2, "")
    assert "cannot be turned" in result.stderr


def symmetric(*, sideways=False, diagonal=False):
    """Paint a picture that is its own mirror image, or its own transpose."""
    half = np.random.default_rng(8).integers(0, 256, (64, 64), dtype=np.uint8)
    if diagonal:
        half = np.maximum(half, half.T)
    whole = half if diagonal else np.hstack([half, half[:, ::-1]])
    return Image.fromarray(np.rot90(whole) if sideways else whole)


@pytest.mark.parametrize(
    ("stored", "query", "told"),
    [
        (symmetric(), "as is", "as is"),
        (symmetric(), "mirrored", "as is"),
        (symmetric(), "mirrored, 180°", "180°"),
        (symmetric(), "mirrored, 90° clockwise", "90° clockwise"),
        (symmetric(sideways=True), "mirrored", "180°"),
        (symmetric(diagonal=True), "mirrored, 90° clockwise", "180°"),
        (symmetric(diagonal=True), "mirrored, 270° clockwise", "as is"),
    ],
)
def test_of_equals_the_least_turned_is_told(database, tmp_path, stored, query, told):
    stored.save(tmp_path / "stored.png")
    turn(stored, orientations.by_words(query)).save(tmp_path / "query.bmp")
    add(database, tmp_path / "stored.png")
    with psycopg.connect(database, autocommit=True) as conn:
        for name in ALGORITHMS:
            asked = images.query_by_file(tmp_path / "query.bmp", any_orientation=True)
            (found,) = images.similar(conn, asked, space=name)
            assert (found.orientation, found.distance) == (told, 0)


def test_nothing_is_turned_unless_asked(monkeypatch, tmp_path):
    scene(1).save(tmp_path / "lake.png")
    monkeypatch.setattr(orientations, "read_turned_back", None)
    (as_it_is,) = images.query_by_file(tmp_path / "lake.png").looks
    assert as_it_is.orientation is None
    monkeypatch.undo()
    turned = images.query_by_file(tmp_path / "lake.png", any_orientation=True)
    assert [look.orientation for look in turned.looks] == list(WORDS)
    assert turned.looks[0].hashes == turned.hashes == as_it_is.hashes


def test_a_flat_query_finds_its_bytes_only_unless_asked_in_any_orientation(cli, database, tmp_path):
    Image.new("RGB", (64, 64), "navy").save(tmp_path / "navy.png")
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "teal.png")
    add(database, tmp_path / "navy.png")
    silent = cli("query", tmp_path / "teal.png", "--any-orientation", "--json", dsn=database)
    assert (silent.code, [found["path"] for found in json.loads(silent.stdout)]) == (0, [None])
    assert "is flat" in silent.stderr
    (found,) = matches(
        cli, tmp_path / "teal.png", "--any-orientation", "--include-flat", dsn=database
    )
    assert found["orientation"] == "as is"
