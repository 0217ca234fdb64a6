"""One grey picture -> its regions: squares that a crop or a collage keeps, each with a hash.

The recipe `regions-1`: the picture is shrunk to 320 pixels. A region is where a square stands out
from what is around it: where the difference of the means of two boxes is an extreme, by place and
by size. The region is six times as wide as the inner box. Its hash is made as `imagehash.phash`
(4.3.2) makes that of a picture, from 16 x 16 cells of the region. A crop shows the same extremes in
the same places of the scene, whatever its edges are. Everything is computed in whole numbers, or by
single float operations on them, so that no value depends on how a library rounds. The values never
change: another rule here is a new recipe.

The rule is imgdb's own. `imagehash.crop_resistant_hash` (4.3.2), after Steinebach, Liu and
Yannikos, "Efficient cropping-resistant robust image hashing" (ARES 2014), solves the same task by
splitting a picture into bright and dark segments; docs/regions.md compares the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.hashes import resample

RECIPE = "regions-1"

Sums = NDArray[np.int64]
Values = NDArray[np.float64]

# A layer compares boxes of 2 n + 1 blocks with boxes of 4 n + 1. The outermost two are there only
# to be compared with: blocks of the next octave are twice as large.
_LAYERS = (2, 3, 4, 5, 6, 7)
_SIDES = np.array([2.0 * n + 1 for n in _LAYERS])
_WINDOW = 6  # times the side of the inner box: the side of the region
_SMALLEST = _WINDOW * 7
_UNIT = 64  # of a grey level
_LEAST = 4 * _UNIT  # what stands out by less is noise, or JPEG's
_PARTS = 16  # of a pixel
_CELLS = 16
_ACROSS = 4  # parts of the picture that take turns, in each direction


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """How finely to look: the longer side of the shrunk picture, in pixels, and how many regions.

    The limit holds for the regions of all sizes together, or with `each_octave` for each octave.
    """

    side: int
    limit: int
    each_octave: bool = False


STORED = RegionPlan(side=320, limit=64)
# A search looks closer: at the small members of a collage, and at what other regions outshine.
ASKED = RegionPlan(side=640, limit=192, each_octave=True)


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a picture: its box in pixels of the upright picture, and its signed hash."""

    left: int
    top: int
    width: int
    height: int
    hash: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.width, self.height

    def stretched(self, across: float, down: float) -> "Region":
        """Return the region of a picture that is so many times wider and higher."""
        if across == down == 1:
            return self
        left, top = round(self.left * across), round(self.top * down)
        width = round((self.left + self.width) * across) - left
        height = round((self.top + self.height) * down) - top
        return Region(left, top, width, height, self.hash)


def find_regions(grey: Image.Image, plan: RegionPlan = STORED) -> list[Region]:
    """Find the regions of a picture of mode "L".

    First come those that stand out most in one of 4 x 4 parts of the picture, then the next of each
    part, and so on.
    """
    width, height = size = _shrunk_size(grey, plan.side)
    found = list(_octaves(size))
    if not found:
        return []
    sums = _sums(resample.resize(grey, size))
    extremes = [_extremes(sums, block) for block in found]
    if not plan.each_octave:
        extremes = [np.concatenate(extremes)]
    squares = np.concatenate([_choose(part, size, plan.limit) for part in extremes])
    scale = np.array([grey.width / width, grey.height / height])
    starts = np.rint(squares[:, :2] * scale).astype(int)
    ends = np.rint((squares[:, :2] + squares[:, 2:]) * scale).astype(int)
    columns = [*starts.T.tolist(), *(ends - starts).T.tolist(), _hashes(sums, squares)]
    return [Region(*row) for row in zip(*columns, strict=True)]


def shrink_for_regions(grey: Image.Image, plan: RegionPlan) -> Image.Image:
    """Return a picture as small as its regions are found in: in it they are the same."""
    return Image.fromarray(resample.resize(grey, _shrunk_size(grey, plan.side)))


def _shrunk_size(grey: Image.Image, side: int) -> resample.Size:
    scale = min(1.0, side / max(grey.size))
    # Four columns at a time are resized quicker.
    return max(4, round(grey.width * scale / 4) * 4), max(1, round(grey.height * scale))


def _octaves(size: resample.Size) -> Iterator[int]:
    """Yield the sizes of blocks at which the smallest region fits in."""
    block = 1
    while _SMALLEST * block <= min(size):
        yield block
        block *= 2


def _sums(pixels: resample.Pixels) -> Sums:
    """Return the sum of the pixels above and left of each corner: (rows + 1) x (columns + 1)."""
    height, width = pixels.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    np.cumsum(pixels, axis=0, dtype=np.int64, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _extremes(sums: Sums, block: int) -> Values:
    """Return the regions of an octave as rows x 4 columns: strength, middle (x, y) and side."""
    # At every so many corners, the sums of pixels are those of blocks.
    corners = np.ascontiguousarray(sums[::block, ::block])
    rows, columns = corners.shape[0] - 1, corners.shape[1] - 1
    layers = np.zeros((len(_LAYERS), rows, columns), np.int16)
    for layer, n in zip(layers, _LAYERS, strict=True):
        if 4 * n + 1 <= min(rows, columns):
            np.abs(
                _contrast(corners, n, block),
                out=layer[2 * n : rows - 2 * n, 2 * n : columns - 2 * n],
            )
    around = _largest_of_nine(layers)
    middle = layers[1:-1, 1:-1, 1:-1]
    is_peak = (middle >= _LEAST) & (middle == around[1:-1])
    is_peak &= (middle >= around[:-2]) & (middle >= around[2:])
    at, y, x = np.nonzero(is_peak)
    below, peak, above = (layers[at + i, y + 1, x + 1].astype(np.float64) for i in range(3))
    side = _side_at_top(at + 1, below, peak, above) * (_WINDOW * block)
    return np.column_stack([peak, (x + 1.5) * block, (y + 1.5) * block, side])


def _contrast(corners: Sums, n: int, block: int) -> NDArray[np.int16]:
    """Return by how much boxes are brighter than the rings around them, in `_UNIT`s."""
    inner, outer = 2 * n + 1, 4 * n + 1
    large = _boxes(corners, outer)
    rows, columns = large.shape
    small = _boxes(corners, inner)[n : n + rows, n : n + columns]
    ring = outer * outer - inner * inner
    scale = _UNIT / (inner * inner * ring * block * block)
    difference = small * (outer * outer) - large * (inner * inner)
    contrast: NDArray[np.int16] = np.rint(difference * scale).astype(np.int16)
    return contrast


def _boxes(corners: Sums, side: int) -> Sums:
    boxes: Sums = corners[side:, side:] - corners[:-side, side:]
    boxes -= corners[side:, :-side]
    boxes += corners[:-side, :-side]
    return boxes


def _largest_of_nine(layers: NDArray[np.int16]) -> NDArray[np.int16]:
    across = np.maximum(np.maximum(layers[:, :, :-2], layers[:, :, 2:]), layers[:, :, 1:-1])
    nine: NDArray[np.int16] = np.maximum(np.maximum(across[:, :-2], across[:, 2:]), across[:, 1:-1])
    return nine


def _side_at_top(at: NDArray[np.intp], below: Values, peak: Values, above: Values) -> Values:
    """Return the side of the inner box where a parabola through three layers is highest."""
    curve = below - 2 * peak + above
    shift = (below - above) / np.where(curve == 0, -1.0, curve) / 2
    shift = np.clip(shift, -0.5, 0.5)
    step = np.where(shift > 0, _SIDES[at + 1] - _SIDES[at], _SIDES[at] - _SIDES[at - 1])
    top: Values = _SIDES[at] + shift * step
    return top


def _choose(extremes: Values, size: resample.Size, limit: int) -> Values:
    """Return those to keep as rows x 3 columns: left, top and side.

    They lie inside the picture, are the strongest, spread over it, and no two are much alike.
    """
    strength, x, y, side = extremes.T
    side = np.rint(side * _PARTS) / _PARTS
    left = np.rint((x - side / 2) * _PARTS) / _PARTS
    top = np.rint((y - side / 2) * _PARTS) / _PARTS
    is_inside = (left >= 0) & (top >= 0) & (left + side <= size[0]) & (top + side <= size[1])
    order = np.lexsort((x, y, side, -strength))
    order = order[is_inside[order]]
    # What is left of a crop, and each member of a collage, needs regions of its own: so the parts
    # of the picture take turns, each with the strongest that it has left.
    part = x[order] * _ACROSS // size[0] * _ACROSS + y[order] * _ACROSS // size[1]
    order = order[np.argsort(_turns(part), kind="stable")]
    squares = np.column_stack([left, top, side])[order]
    middles = np.column_stack([x, y])[order]
    kept: list[int] = []
    for place, (middle, own) in enumerate(zip(middles, squares[:, 2], strict=True)):
        apart = np.abs(middles[kept] - middle).max(axis=1)
        small, large = np.minimum(squares[kept, 2], own), np.maximum(squares[kept, 2], own)
        if not ((apart * 4 < small) & (large * 4 < small * 5)).any():
            kept.append(place)
            if len(kept) == limit:
                break
    chosen: Values = squares[kept]
    return chosen


def _turns(parts: Values) -> NDArray[np.intp]:
    """Count for each item how many of the same part come before it."""
    order = np.argsort(parts, kind="stable")
    ordered = parts[order]
    turns = np.empty(len(parts), np.intp)
    turns[order] = np.arange(len(parts)) - np.searchsorted(ordered, ordered)
    return turns


# The first 8 rows of the DCT-II of length 16, in whole numbers.
_BASIS = np.rint(
    1024 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(_CELLS) + 1) / (2 * _CELLS))
).astype(np.int64)


def _hashes(sums: Sums, squares: Values) -> list[int]:
    """Tell which of the 8 x 8 lowest DCT coefficients of each square lie above their median."""
    units = (squares * _PARTS).astype(np.int64)
    steps = units[:, 2:] * np.arange(_CELLS + 1) // _CELLS
    between = _sums_between(sums, rows=units[:, 1:2] + steps, columns=units[:, :1] + steps)
    cells = np.diff(np.diff(between, axis=1), axis=2)
    lowest = (_BASIS @ cells @ _BASIS.T).reshape(-1, 64)
    medians = np.sort(lowest, axis=1)[:, 31:32]
    numbers: list[int] = np.packbits(lowest > medians, axis=1).view(">i8")[:, 0].tolist()
    return numbers


def _sums_between(sums: Sums, rows: Sums, columns: Sums) -> Sums:
    """Read the sums between corners, at places in parts of a pixel."""
    y, down = np.divmod(rows[:, :, None], _PARTS)
    x, right = np.divmod(columns[:, None, :], _PARTS)
    next_y, next_x = np.minimum(y + 1, sums.shape[0] - 1), np.minimum(x + 1, sums.shape[1] - 1)
    above = sums[y, x] * (_PARTS - right) + sums[y, next_x] * right
    below = sums[next_y, x] * (_PARTS - right) + sums[next_y, next_x] * right
    between: Sums = above * (_PARTS - down) + below * down
    return between
