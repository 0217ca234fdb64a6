"""The recipe's resize: Pillow's 8-bit Lanczos (11.3 to 13.0), horizontal pass first, then vertical.

Pillow 13 runs the vertical pass first on tall pictures, so the order is fixed here by two passes of
one axis each. Several small sizes of one picture share one sweep over its pixels, as matrix
products in float64: every product and every sum is an integer below 2**53 times one power of two,
so the result does not depend on the BLAS, its order of adding or its fused multiply-adds.

Pixels are rows x columns; a stack of pictures of one size has the shape (pictures, rows, columns).
"""

import functools
import itertools
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.hashes.lanczos import taps

Pixels = NDArray[np.uint8]
Values = NDArray[np.float64]
Size = tuple[int, int]  # width, height

_LANCZOS = Image.Resampling.LANCZOS
# Rows and columns of one matrix product, small enough for the cache. Where OpenBLAS may start
# threads, it also stays below the 2**18 multiplications from which it does, with at most 49 output
# columns (widths 8, 9 and 32): waking them costs more than the product. Workers and commands have
# one thread each, and there larger products take a quarter to a third less time.
_ROWS, _COLUMNS = (128, 250) if os.environ.get("OPENBLAS_NUM_THREADS") == "1" else (32, 160)
# Rows of several tiny pictures that make one product.
_TOGETHER = 128
_CHANNELS_FROM = 1 << 16  # pixels; below this, packing costs more than it saves
_STRIP = 1 << 18  # pixels of each of the four strips that are packed at once
_PIECE = 1 << 22  # bytes that are taken out of a picture at once


def pixels_of(image: Image.Image) -> Pixels:
    """Return the bytes of a picture of mode "L" or "CMYK": rows x (columns times channels)."""
    length = image.width * len(image.getbands())
    rows = max(1, _PIECE // length)
    if rows >= image.height:
        return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, length)
    # In pieces, since tobytes() needs twice the memory of what it returns.
    pixels = np.empty((image.height, length), np.uint8)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        pixels[top:bottom] = pixels_of(image.crop((0, top, image.width, bottom)))
    return pixels


def resize(grey: Image.Image, size: Size) -> Pixels:
    """Resize a picture of mode "L" in two passes of Pillow's own code, horizontal first."""
    width, _ = size
    if grey.width * grey.height >= _CHANNELS_FROM and width % 4 == 0 and _rounds_like_pillow():
        return _resize_by_channels(grey, size)
    return _resize_in_passes(grey, size)


def _resize_in_passes(grey: Image.Image, size: Size) -> Pixels:
    width, height = size
    if grey.width != width:
        grey = grey.resize((width, grey.height), _LANCZOS)
    if grey.height != height:
        grey = grey.resize((width, height), _LANCZOS)
    return pixels_of(grey)


def _resize_by_channels(grey: Image.Image, size: Size) -> Pixels:
    """Resize with four grey pixels as the channels of one CMYK pixel.

    Pillow treats channels alike and independently but is 1.6 times faster on four than on one.
    """
    width, height = size
    lines = pixels_of(grey) if grey.width == width else _narrow(grey, width)
    # The vertical pass treats columns independently: four neighbours make one pixel.
    packed = Image.frombuffer("CMYK", (width // 4, grey.height), lines, "raw", "CMYK", 0, 1)
    if grey.height != height:
        packed = packed.resize((width // 4, height), _LANCZOS)
    return pixels_of(packed)


def _narrow(grey: Image.Image, width: int) -> Pixels:
    """Run the horizontal pass, which treats rows independently: strips of a quarter's rows."""
    narrow = np.empty((grey.height, width), np.uint8)
    rows = max(1, _STRIP // grey.width)
    for top in range(0, grey.height, 4 * rows):
        count = min(rows, -(-(grey.height - top) // 4))
        edges = range(top, top + 4 * count, count)
        # Rows past the end of the picture are black, and cut off again.
        strips = [grey.crop((0, edge, grey.width, edge + count)) for edge in edges]
        packed = Image.merge("CMYK", strips).resize((width, count), _LANCZOS)
        for edge, band in zip(edges, packed.split(), strict=True):
            inside = narrow[edge : edge + count]
            inside[:] = pixels_of(band)[: len(inside)]
    return narrow


def shrink(
    greys: Sequence[Image.Image], sizes: Sequence[Size], *, areas: bool = False
) -> list[Values]:
    """Resize pictures of one size to several small sizes, up to the last rounding.

    Return one stack for each size, in grey levels; `rounded`, it equals what `resize` makes of each
    picture. With `areas` there is one stack more: the mean greys of 8 x 8 equal parts.
    """
    by_pillow: list[Values] = []
    if not _rounds_like_pillow():
        by_pillow = [
            stacked([resize(grey, size) for grey in greys]).astype(np.float64) for size in sizes
        ]
        sizes = ()
    if not sizes and not areas:
        return by_pillow
    pixels = stacked([pixels_of(grey) for grey in greys])
    return by_pillow + _shrink(pixels, tuple(sizes), areas)


def stacked(pictures: Sequence[Pixels]) -> Pixels:
    """Put pictures of one size into one array; a single large one is not copied."""
    return pictures[0][None] if len(pictures) == 1 else np.stack(pictures)


def is_tiny(grey: Image.Image) -> bool:
    """Tell whether `shrink` makes the square of whash as well faster than `resize`.

    The square has at most 32 columns there, so that a product stays below the threads' threshold.
    """
    return grey.width <= 96 and min(grey.size) < 64


def rounded(values: Values) -> Pixels:
    """Round as Pillow's 8-bit resampler does: halves up, then clip to 0..255."""
    return _round(values.copy()).astype(np.uint8)


def _round(values: Values) -> Values:
    values += 0.5
    np.floor(values, out=values)
    np.maximum(values, 0.0, out=values)
    return np.minimum(values, 255.0, out=values)


@functools.cache
def _rounds_like_pillow() -> bool:
    """Compare both short cuts with the two passes of the running Pillow, on a hard picture.

    It takes some milliseconds, once a process. Where they differ, Pillow's own passes are used.
    """
    # Scattered by multiplication: loading numpy.random takes longer than all of this.
    scattered = np.arange(70 * 501, dtype=np.uint32) ** 2 * np.uint32(0x9E3779B1) >> 21
    noise = scattered.astype(np.uint8).reshape(70, 501)
    noise[:, ::7] = 255
    noise[:, 3::7] = 0
    noise[20:30] = 255
    small: tuple[Size, ...] = ((8, 8), (9, 8), (32, 32))
    for pixels in (noise, np.ascontiguousarray(noise[:, :21])):
        grey = Image.fromarray(pixels)
        for size, values in zip(small, _shrink(pixels[None], small, areas=False), strict=True):
            if not np.array_equal(rounded(values[0]), _resize_in_passes(grey, size)):
                return False
        for size in ((32, 32), (512, 96)):
            by_channels = _resize_by_channels(grey, size)
            if not np.array_equal(by_channels, _resize_in_passes(grey, size)):
                return False
    return True


def _shrink(pixels: Pixels, sizes: tuple[Size, ...], areas: bool) -> list[Values]:
    count, height, width = pixels.shape
    plan = _plan(width, tuple(w for w, _ in sizes), areas)
    verticals = [_vertical(height, h) for _, h in sizes]
    if areas:
        verticals.append(_eighths(height).T)
    results = [np.zeros((count, len(v), w)) for v, w in zip(verticals, plan.widths, strict=True)]
    together = max(1, _TOGETHER // height)
    floats = np.empty((min(together, count), min(_ROWS, height), width))
    for first in range(0, count, together):
        some = slice(first, first + together)
        for top in range(0, height, _ROWS):
            part = pixels[some, top : top + _ROWS]
            rows = floats[: part.shape[0], : part.shape[1]]
            rows[:] = part
            swept = _sweep(rows.reshape(-1, width), plan).reshape(*rows.shape[:2], -1)
            left = 0
            for vertical, result in zip(verticals, results, strict=True):
                right = left + result.shape[2]
                result[some] += vertical[:, top : top + _ROWS] @ swept[:, :, left:right]
                left = right
    if areas:
        # 64 times the sum, of a 64th of the pixels: divided last, what comes before is exact.
        results[-1] /= height * width
    return results


def _sweep(rows: Values, plan: "_Plan") -> Values:
    """Run the horizontal pass over some rows."""
    sums = np.zeros((len(rows), len(plan.order)))
    for start, stop, first, last, weights in plan.segments:
        sums[:, first:last] += rows[:, start:stop] @ weights
    swept = sums[:, plan.order]
    _round(swept[:, : plan.rounded])
    return swept


class _Segment(NamedTuple):
    """Input columns, `start` to `stop`, and the output columns, `first` to `last`, they add to."""

    start: int
    stop: int
    first: int
    last: int
    weights: Values


class _Plan(NamedTuple):
    """The horizontal pass of several widths at once.

    Output columns are computed in the order of their centres, so that those of a segment lie side
    by side; `order` puts them back, width by width. The first `rounded` of them are rounded, and
    those after them, which are sums of areas, are not.
    """

    widths: list[int]
    segments: list[_Segment]
    order: NDArray[np.intp]
    rounded: int


@functools.lru_cache(maxsize=16)
def _plan(width: int, resized: tuple[int, ...], areas: bool) -> _Plan:
    widths = [*resized, 8] if areas else list(resized)
    matrix = np.hstack([taps(width, w) for w in resized] + ([_eighths(width)] if areas else []))
    centres = np.concatenate([(np.arange(w) + 0.5) / w for w in widths])
    by_centre = np.argsort(centres, kind="stable")
    matrix = matrix[:, by_centre]
    count = -(-width // _COLUMNS)
    edges = [width * i // count for i in range(count + 1)]
    segments = []
    for start, stop in itertools.pairwise(edges):
        used = np.flatnonzero(matrix[start:stop].any(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        part = np.ascontiguousarray(matrix[start:stop, first:last])
        segments.append(_Segment(start, stop, first, last, part))
    return _Plan(widths, segments, np.argsort(by_centre), sum(resized))


@functools.lru_cache(maxsize=32)
def _eighths(size: int) -> Values:
    """Return how many eighths of each pixel lie in each eighth of an axis: size x 8."""
    pixels, parts = 8 * np.arange(size)[:, None], size * np.arange(8)
    ends = np.minimum(pixels + 8, parts + size)
    overlaps: Values = np.maximum(ends - np.maximum(pixels, parts), 0).astype(np.float64)
    return overlaps


@functools.lru_cache(maxsize=16)
def _vertical(height: int, out: int) -> Values:
    return np.ascontiguousarray(taps(height, out).T)
