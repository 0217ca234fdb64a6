"""How far the colours of two pictures are apart, and what that says of copies.

Colours are the 27 bytes of `imgdb.pictures.mean_colours`. Functions in SQL say the same;
docs/colours.md has the measurements behind the constants.
"""

from __future__ import annotations

import math

import numpy as np

from imgdb.hashes.orientations import Orientation
from imgdb.pictures.mean_colours import GRID

# Up to this colour_difference the colours of two pictures may be the same to `same_colours`, and
# up to the other one they are equal: pictures that were only saved anew.
SAME_COLOURS = 3.0
EQUAL_COLOURS = 1.0

# The tangent of the angle by which the hues of the same colours may be turned: ten degrees.
_TURN = 0.176

# Steps of colour and levels of grey by which a cell may differ, after scaling to one mean. A step
# is a quarter of a hundredth.
_STEPS = 6
_GREYS = 20

# Levels of grey by which the cells of a picture and its grey copy may differ.
_GREY_COPY = 4


def colour_difference(a: bytes, b: bytes) -> float:
    """Return the largest difference of two cells, in hundredths of OKLab, to one decimal.

    Another hue counts in full, a paler or stronger colour half, brightness not at all.
    """
    most = max(
        _difference(a1 - 128, b1 - 128, a2 - 128, b2 - 128)
        for a1, b1, a2, b2 in zip(a[1::3], a[2::3], b[1::3], b[2::3], strict=True)
    )
    # A step is a quarter of a hundredth. Half a tenth is rounded up, as in SQL.
    return math.floor(math.sqrt(most) * 2.5 + 0.5) / 10


def _difference(a1: int, b1: int, a2: int, b2: int) -> float:
    """Return the square of the difference of two cells, in steps."""
    squares = a1 * a1 + b1 * b1, a2 * a2 + b2 * b2
    product = math.sqrt(squares[0] * squares[1])
    # A root that is rounded may be less than what is subtracted.
    hue = max(2 * (product - (a1 * a2 + b1 * b2)), 0.0)
    return hue + max(squares[0] + squares[1] - 2 * product, 0.0) / 4


def same_colours(a: bytes, b: bytes) -> bool:
    """Tell whether two pictures have the same colours, as far as edits leave them."""
    return a == b or (
        colour_difference(a, b) <= SAME_COLOURS
        and _same_hues(a, b)
        and _same_strengths(a, b)
        and _same_greys(a[::3], b[::3])
    )


def _same_hues(a: bytes, b: bytes) -> bool:
    """Tell whether the hues are not turned, taken together."""
    cells = [*zip(_ab(a), _ab(b), strict=True)]
    along = sum(a1 * a2 + b1 * b2 for (a1, b1), (a2, b2) in cells)
    across = sum(a1 * b2 - b1 * a2 for (a1, b1), (a2, b2) in cells)
    # A step in each cell is no more than noise.
    noise = 3 * math.sqrt(math.sqrt(float(_squares(a)) * _squares(b)))
    return abs(across) <= max(along * _TURN, noise)


def _same_strengths(a: bytes, b: bytes) -> bool:
    """Tell whether the same cells have more colour than others; an edit scales all of them."""
    squares = _squares(a), _squares(b)
    scale = 1.0
    if all(squares):
        scale = max(min(math.sqrt(math.sqrt(squares[1] / squares[0])), 2.0), 0.5)
    return all(
        (a1 * scale - a2 / scale) ** 2 + (b1 * scale - b2 / scale) ** 2 <= _STEPS**2
        for (a1, b1), (a2, b2) in zip(_ab(a), _ab(b), strict=True)
    )


def _same_greys(a: bytes, b: bytes) -> bool:
    """Tell whether the same cells are darker than others; more light multiplies all greys alike."""
    sum1, sum2 = sum(a) + len(a), sum(b) + len(b)
    return all(
        abs((grey1 + 1) * sum2 - (grey2 + 1) * sum1) * (sum1 + sum2) <= 2 * _GREYS * sum1 * sum2
        for grey1, grey2 in zip(a, b, strict=True)
    )


def _ab(colours: bytes) -> list[tuple[int, int]]:
    """Return a and b of each cell, in steps from no colour."""
    return [(a - 128, b - 128) for a, b in zip(colours[1::3], colours[2::3], strict=True)]


def _squares(colours: bytes) -> int:
    return sum(a * a + b * b for a, b in _ab(colours))


def equal_colours(a: bytes, b: bytes) -> bool:
    """Tell whether two pictures have the same colours, as saving a picture anew leaves them."""
    return colour_difference(a, b) <= EQUAL_COLOURS and same_colours(a, b)


def may_be_copy(colours: bytes, of: bytes) -> bool:
    """Tell whether a picture may be a copy of another one: of its colours, or its grey copy."""
    if same_colours(colours, of):
        return True
    greys = zip(colours[::3], of[::3], strict=True)
    return _is_grey(colours) and all(abs(one - other) <= _GREY_COPY for one, other in greys)


def _is_grey(colours: bytes) -> bool:
    return set(colours[1::3] + colours[2::3]) == {128}


def turned(colours: bytes, orientation: Orientation) -> bytes:
    """Return the colours of a picture that is turned."""
    cells = np.frombuffer(colours, dtype=np.uint8).reshape(GRID, GRID, 3)
    if orientation.mirrored:
        cells = cells[:, ::-1]
    return np.rot90(cells, -orientation.degrees // 90).tobytes()
