"""The eight ways to turn and mirror a picture: their names, and the hashes of a picture in each.

A perceptual hash says nothing of turned or mirrored copies, so these are found by turning the
query. An orientation is said of the query: it is the stored picture mirrored left to right (if
mirrored), and then turned clockwise.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from PIL import Image

from imgdb.hashes.exact import Reading, read_grids, shrunk_grids
from imgdb.hashes.resample import Pixels
from imgdb.hashes.values import ALGORITHMS
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source


@dataclass(frozen=True, slots=True)
class Orientation:
    """Mirrored left to right if `mirrored`, then turned clockwise by `degrees`."""

    words: str
    degrees: int
    mirrored: bool

    @property
    def sideways(self) -> bool:
        """Whether width and height change places."""
        return self.degrees in (90, 270)

    def inverse(self) -> Orientation:
        """Return the orientation that undoes this one; a mirrored one undoes itself."""
        degrees = self.degrees if self.mirrored else -self.degrees % 360
        return _BY_TURN[degrees, self.mirrored]

    def then(self, other: Orientation) -> Orientation:
        """Return what this orientation and then another one come to."""
        # A turn before a mirror is the opposite turn behind it.
        degrees = other.degrees + (-self.degrees if other.mirrored else self.degrees)
        return _BY_TURN[degrees % 360, self.mirrored != other.mirrored]


# The least turned first: among matches of equal distance the first one is told.
ORIENTATIONS = (
    Orientation("as is", 0, False),
    Orientation("90° clockwise", 90, False),
    Orientation("270° clockwise", 270, False),
    Orientation("180°", 180, False),
    Orientation("mirrored", 0, True),
    Orientation("mirrored, 90° clockwise", 90, True),
    Orientation("mirrored, 270° clockwise", 270, True),
    Orientation("mirrored, 180°", 180, True),
)
AS_IS = ORIENTATIONS[0]
# Where every picture is turned, a quarter to the left is left out: if X turned left is Y, then Y
# turned right is X. All others undo themselves, so the turned one may be either of two pictures.
ONE_OF_TWO = tuple(
    one for one in ORIENTATIONS if one != AS_IS and (one.degrees, one.mirrored) != (270, False)
)
WORDS = tuple(orientation.words for orientation in ORIENTATIONS)

_BY_TURN = {(one.degrees, one.mirrored): one for one in ORIENTATIONS}


def by_words(words: str) -> Orientation:
    """Return the orientation of these words."""
    return ORIENTATIONS[WORDS.index(words)]


def turned(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> tuple[Reading, ...]:
    """Hash a picture of mode "L" turned into each of ORIENTATIONS; UsageError as `hash_grey`.

    The pixels are swept twice, not eight times: Lanczos taps are symmetric, so a small grid of the
    turned picture is the grid of the picture itself, or of its transpose, turned.
    """
    grids = (
        shrunk_grids([grey], algorithms),
        shrunk_grids([grey.transpose(Image.Transpose.TRANSPOSE)], algorithms),
    )
    return tuple(
        read_grids(_flipped(grids[orientation.sideways], orientation), algorithms)[0]
        for orientation in ORIENTATIONS
    )


def turned_back(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> tuple[Reading, ...]:
    """Do as `turned` with the inverse of each: as if the picture were upright then."""
    readings = dict(zip(ORIENTATIONS, turned(grey, algorithms), strict=True))
    return tuple(readings[orientation.inverse()] for orientation in ORIENTATIONS)


@dataclass(frozen=True, slots=True)
class Turned:
    """A file and one of its hashes, turned into each of ORIENTATIONS."""

    sha256: bytes
    hashes: tuple[int, ...]


def turned_source(source: Source, algorithm: str, *, max_pixels: int = MAX_PIXELS) -> Turned:
    """Hash a file in every orientation, decoded in full; raises PictureError."""
    picture = source.picture(max_pixels=max_pixels)
    readings = turned(picture.grey, (algorithm,))
    return Turned(picture.sha256, tuple(getattr(one.hashes, algorithm) for one in readings))


def _flipped(grids: dict[str, Pixels], orientation: Orientation) -> dict[str, Pixels]:
    """Turn grids; where the orientation swaps width and height, those of the transpose."""
    degrees = orientation.degrees
    upside_down = degrees in ((90, 180) if orientation.mirrored else (180, 270))
    backwards = degrees in ((0, 90) if orientation.mirrored else (90, 180))
    rows, columns = (slice(None, None, -1 if back else 1) for back in (upside_down, backwards))
    return {name: np.ascontiguousarray(grid[:, rows, columns]) for name, grid in grids.items()}
