"""Colours compared, in Python and in SQL: the same numbers, and what they mean."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import grey_scene, scene
from PIL import Image, ImageEnhance

from imgdb.hashes.colours import (
    colour_difference,
    equal_colours,
    may_be_copy,
    same_colours,
    turned,
)
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


def cells(*changed, plain=(100, 140, 128)):
    """Return colours of nine cells, the first ones changed."""
    return b"".join(bytes(cell) for cell in [*changed, *[plain] * (9 - len(changed))])


def greys(first, others=240):
    return cells((first, 128, 128), plain=(others, 128, 128))


WHAT_COUNTS = {
    "strength": (cells(plain=(9, 152, 128)), cells(plain=(9, 176, 128)), True),
    "too strong": (cells(plain=(9, 152, 128)), cells(plain=(9, 177, 128)), False),
    # The tangent of 3 to 18 is below that of ten degrees.
    "hue": (cells(plain=(9, 146, 128)), cells(plain=(9, 146, 131)), True),
    "turned hue": (cells(plain=(9, 146, 128)), cells(plain=(9, 146, 132)), False),
    "a step is noise": (cells(plain=(9, 129, 128)), cells(plain=(9, 128, 129)), True),
    "two are not": (cells(plain=(9, 130, 128)), cells(plain=(9, 128, 130)), False),
    "one cell fades": (
        cells(plain=(9, 148, 128)),
        cells((9, 138, 128), plain=(9, 148, 128)),
        False,
    ),
    "all cells fade": (cells(plain=(9, 148, 128)), cells(plain=(9, 138, 128)), True),
    "one cell darkens": (greys(99), greys(75), False),
    "one cell darkens a bit": (greys(99), greys(85), True),
    "all cells darken": (greys(100), greys(60, 144), True),
    "black and white": (greys(0, 0), greys(255, 255), True),
}


@pytest.mark.parametrize("what", WHAT_COUNTS)
def test_what_same_colours_are(conn, what):
    a, b, same = WHAT_COUNTS[what]
    assert same_colours(a, b) == same_colours(b, a) == same
    assert measured(conn, a, b)[1] == measured(conn, b, a)[1] == same


@given(a=COLOURS | NEAR, steps=st.lists(st.integers(-9, 9), min_size=SIZE, max_size=SIZE))
def test_sql_and_python_agree_near_the_limits(conn, a, steps):
    b = bytes(min(max(value + step, 0), 255) for value, step in zip(a, steps, strict=True))
    assert measured(conn, a, b) == (colour_difference(a, b), same_colours(a, b))
    for tier, told in (("near", may_be_copy(a, b)), ("same-picture", equal_colours(a, b))):
        query = "SELECT imgdb._may_be_copy(%b, %b, %s)"
        assert conn.execute(query, (a, b, tier)).fetchone() == (told,)


def test_a_grey_copy_may_be_a_copy_and_no_grey_picture_has_one_in_colours(conn):
    colours = cells((180, 150, 128), (60, 128, 100))
    grey = bytes(128 if place % 3 else value for place, value in enumerate(colours))
    lighter = bytes(value if place % 3 else value + 5 for place, value in enumerate(grey))
    for copy, of, told in (
        (grey, colours, True), (colours, grey, False), (lighter, colours, False),
    ):  # fmt: skip
        assert may_be_copy(copy, of) == told
        query = "SELECT imgdb._may_be_copy(%b, %b, 'near')"
        assert conn.execute(query, (copy, of)).fetchone() == (told,)


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
