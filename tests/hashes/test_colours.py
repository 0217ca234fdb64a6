"""Colours compared, in Python and in SQL: the same numbers, and what they mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import grey_scene, scene
from PIL import Image, ImageEnhance

from imgdb.hashes.colours import SAME_COLOURS, colour_difference, same_colours, turned
from imgdb.hashes.orientations import ORIENTATIONS
from imgdb.pictures.mean_colours import SIZE, mean_colours

pytestmark = pytest.mark.sql

COLOURS = st.binary(min_size=SIZE, max_size=SIZE)
NEAR = st.lists(st.integers(120, 136), min_size=SIZE, max_size=SIZE).map(bytes)


def measured(conn, a, b):
    query = "SELECT imgdb.colour_difference(%b, %b), imgdb.same_colours(%b, %b)"
    return conn.execute(query, (a, b, a, b)).fetchone()


@given(a=COLOURS | NEAR, b=COLOURS | NEAR)
def test_sql_and_python_agree(conn, a, b):
    assert measured(conn, a, b) == (colour_difference(a, b), same_colours(a, b))


@given(a=COLOURS, b=COLOURS)
def test_a_difference_has_no_direction(a, b):
    assert colour_difference(a, b) == colour_difference(b, a) >= 0 == colour_difference(a, a)


def one(*cells):
    return bytes([100, 128, 128]) * (9 - len(cells)) + b"".join(bytes(cell) for cell in cells)


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        # Brightness does not count, chroma half, hue in full; the most different cell counts alone.
        (one((0, 168, 128)), one((255, 168, 128)), 0),
        (one((9, 168, 128)), one((9, 148, 128)), 2.5),
        (one((9, 168, 128)), one((9, 88, 128)), 20),
        (one((9, 168, 128)), one((9, 128, 168)), round(10 * math.sqrt(2), 1)),
        (one((9, 168, 128), (9, 138, 128)), one((9, 148, 128), (9, 128, 128)), 2.5),
    ],
)
def test_what_counts(conn, a, b, difference):
    assert colour_difference(a, b) == difference
    assert measured(conn, a, b)[0] == difference


def test_what_is_not_known_is_not_known(conn):
    assert measured(conn, None, bytes(SIZE)) == (None, None)


def test_the_threshold_is_one_number(conn):
    step = one((9, 156, 128))  # 28 steps of chroma
    assert measured(conn, one(), step) == (SAME_COLOURS, True)
    assert measured(conn, one(), one((9, 157, 128))) == (3.6, False)


def test_edits_keep_the_colours_and_other_colours_do_not():
    picture = mean_colours(scene())
    for change in (
        ImageEnhance.Brightness(scene()).enhance(0.7),
        ImageEnhance.Contrast(scene()).enhance(1.3),
        scene().resize((97, 71)),
    ):
        assert same_colours(picture, mean_colours(change))
    red, green, blue = scene().split()
    for change in (Image.merge("RGB", (green, blue, red)), grey_scene().convert("RGB")):
        assert not same_colours(picture, mean_colours(change))


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=lambda one: one.words)
def test_turning_goes_back(orientation):
    picture = mean_colours(scene())
    assert turned(turned(picture, orientation), orientation.inverse()) == picture
