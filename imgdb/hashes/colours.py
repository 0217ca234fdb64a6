"""How far the colours of two pictures are apart, and what that says of copies.

Colours are the 27 bytes of `imgdb.pictures.mean_colours`. Functions in SQL say the same;
docs/colours.md has the measurements behind the constants.
"""

from __future__ import annotations

import math

import numpy as np

from imgdb.hashes.orientations import Orientation
from imgdb.pictures.mean_colours import GRID

# Up to this the colours of two pictures are the same to `imgdb.same_colours`.
SAME_COLOURS = 3.5

# Levels of grey by which the cells of a picture and its grey copy may differ.
_GREY_COPY = 16


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
    return colour_difference(a, b) <= SAME_COLOURS


def may_be_copies(a: bytes, b: bytes) -> bool:
    """Tell whether one of two pictures may be a copy of the other: also a grey or sepia one."""
    return same_colours(a, b) or _fades_to(a, b) or _fades_to(b, a)


def _fades_to(original: bytes, copy: bytes) -> bool:
    if set(copy[1::3] + copy[2::3]) == {128}:
        greys = zip(original[::3], copy[::3], strict=True)
        return all(abs(a - b) <= _GREY_COPY for a, b in greys)
    return all(map(_is_sepia, copy[1::3], copy[2::3]))


def _is_sepia(a: int, b: int) -> bool:
    a, b = a - 128, b - 128
    return 5 <= b <= 36 and -b <= 2 * a and 4 * a <= b


def turned(colours: bytes, orientation: Orientation) -> bytes:
    """Return the colours of a picture that is turned."""
    cells = np.frombuffer(colours, dtype=np.uint8).reshape(GRID, GRID, 3)
    if orientation.mirrored:
        cells = cells[:, ::-1]
    return np.rot90(cells, -orientation.degrees // 90).tobytes()
