"""The eight ways to turn and mirror a picture: their names, and the hashes of a picture in each.

A perceptual hash says nothing about turned or mirrored copies, so imgdb finds these by turning the
query. An orientation tells how the query came from the stored picture: mirrored left to right (if
`mirrored`), and then turned clockwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from imgdb.hashes.exact import Reading, make_grids, read_grids
from imgdb.hashes.resample import Pixels
from imgdb.hashes.values import ALGORITHMS
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source


@dataclass(frozen=True, slots=True)
class Orientation:
    """A way to turn a picture: mirror it left to right if `mirrored`, then turn it clockwise."""

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
        """Return the orientation that is this one and then another one."""
        # A turn before a mirror is the opposite turn behind it.
        degrees = other.degrees + (-self.degrees if other.mirrored else self.degrees)
        return _BY_TURN[degrees % 360, self.mirrored != other.mirrored]


# The least turned one comes first: where several give the same distance, the first one is shown.
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
# For pairs of which both pictures are turned. A quarter to the left is not needed: if X turned left
# is Y, then Y turned right is X. All others undo themselves, so turning one of the two is enough.
ONE_OF_TWO = tuple(
    one for one in ORIENTATIONS if one != AS_IS and (one.degrees, one.mirrored) != (270, False)
)
WORDS = tuple(orientation.words for orientation in ORIENTATIONS)

# Pillow turns to the left.
_TURNS = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}
_BY_TURN = {(one.degrees, one.mirrored): one for one in ORIENTATIONS}


def by_words(words: str) -> Orientation:
    """Return the orientation of these words."""
    return ORIENTATIONS[WORDS.index(words)]


def read_turned(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> tuple[Reading, ...]:
    """Hash a picture of mode "L" turned into each of ORIENTATIONS; UsageError as `hash_grey`.

    This reads the pixels twice, not eight times: Lanczos taps are symmetric, so the grid of the
    turned picture is the grid of the picture itself, or of its transpose, turned.
    """
    grids = (
        make_grids([grey], algorithms),
        make_grids([grey.transpose(Image.Transpose.TRANSPOSE)], algorithms),
    )
    return tuple(
        read_grids(_flipped(grids[orientation.sideways], orientation), algorithms)[0]
        for orientation in ORIENTATIONS
    )


def read_turned_back(
    grey: Image.Image, algorithms: Collection[str] = ALGORITHMS
) -> tuple[Reading, ...]:
    """Do as `read_turned` with the inverse of each: as if the picture were upright then."""
    readings = dict(zip(ORIENTATIONS, read_turned(grey, algorithms), strict=True))
    return tuple(readings[orientation.inverse()] for orientation in ORIENTATIONS)


def turned_back(picture: Image.Image) -> Iterator[Image.Image]:
    """Yield a picture turned by the inverse of each of ORIENTATIONS."""
    for orientation in map(Orientation.inverse, ORIENTATIONS):
        turned = ImageOps.mirror(picture) if orientation.mirrored else picture
        yield turned.transpose(_TURNS[orientation.degrees]) if orientation.degrees else turned


@dataclass(frozen=True, slots=True)
class Turned:
    """A file and its hashes: of each algorithm those of all ORIENTATIONS, one after the other."""

    sha256: bytes
    hashes: tuple[int, ...]


def hash_turned(
    source: Source, algorithms: Sequence[str], *, max_pixels: int = MAX_PIXELS
) -> Turned:
    """Hash a file in every orientation, decoded in full; raises PictureError."""
    picture = source.picture(max_pixels=max_pixels)
    readings = read_turned(picture.grey, algorithms)
    return Turned(
        picture.sha256,
        tuple(getattr(one.hashes, name) for name in algorithms for one in readings),
    )


def _flipped(grids: dict[str, Pixels], orientation: Orientation) -> dict[str, Pixels]:
    """Turn stacks of grids: those of the transpose where the orientation is sideways."""
    degrees = orientation.degrees
    upside_down = degrees in ((90, 180) if orientation.mirrored else (180, 270))
    backwards = degrees in ((0, 90) if orientation.mirrored else (90, 180))
    rows, columns = (slice(None, None, -1 if back else 1) for back in (upside_down, backwards))
    return {name: np.ascontiguousarray(grid[:, rows, columns]) for name, grid in grids.items()}
