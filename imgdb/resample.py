"""The recipe's resize: Pillow's 8-bit Lanczos, horizontal pass first, then vertical.

Pillow 13 runs the vertical pass first on tall pictures, so the order is pinned here by two
single-axis passes. Several small sizes of one picture share one sweep over its pixels, as matrix
products in float64: every product and every sum is an integer below 2**53 times one power of two,
so the result does not hang on the BLAS, its order of adding or its fused multiply-adds.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Size = tuple[int, int]  # width, height

_LANCZOS = Image.Resampling.LANCZOS
_SUPPORT = 3.0
_ONE = float(1 << 22)  # PRECISION_BITS of Pillow's 8-bit resampler
# numpy's sine may differ from the C library's in the last bit, which moves a tap by less than
# 1e-8 units; a tap nearer than this to a rounding edge is computed again as Pillow computes it.
_EDGE = 1e-7
# Rows and columns of one matrix product, small enough for the cache. With at most 49 output columns
# (widths 8, 9 and 32) it also stays below the 2**18 multiplications from which OpenBLAS starts
# threads: worker processes already fill the cores, and waking threads costs more than the product.
_ROWS = 32
_COLUMNS = 160
_CHANNELS_FROM = 1 << 16  # pixels; below this, packing costs more than it saves


def pixels_of(grey: Image.Image) -> Pixels:
    """Return the pixels of a mode "L" picture as rows; read-only."""
    return np.frombuffer(grey.tobytes(), np.uint8).reshape(grey.height, grey.width)


def resize(grey: Image.Image, size: Size) -> Pixels:
    """Resize in two passes of Pillow's own code, horizontal first."""
    width, height = size
    if grey.width * grey.height >= _CHANNELS_FROM and width % 4 == 0:
        return _resize_by_channels(grey, size)
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
    if grey.width != width:
        # The horizontal pass treats rows independently: quarter the rows. Rows past the end
        # are black and cut off again.
        rows = -(-grey.height // 4)
        quarters = [grey.crop((0, i * rows, grey.width, (i + 1) * rows)) for i in range(4)]
        packed = Image.merge("CMYK", quarters).resize((width, rows), _LANCZOS)
        lines = b"".join(band.tobytes() for band in packed.split())[: width * grey.height]
    else:
        lines = grey.tobytes()
    # The vertical pass treats columns independently: four neighbours make one pixel.
    packed = Image.frombuffer("CMYK", (width // 4, grey.height), lines, "raw", "CMYK", 0, 1)
    if grey.height != height:
        packed = packed.resize((width // 4, height), _LANCZOS)
    return np.frombuffer(packed.tobytes(), np.uint8).reshape(height, width)


def shrink(grey: Image.Image, sizes: Sequence[Size]) -> list[Pixels]:
    """Resize one picture to several small sizes; each result equals that of `resize`."""
    if not _rounds_like_pillow():
        return [resize(grey, size) for size in sizes]
    return _shrink(pixels_of(grey), tuple(sizes))


@functools.cache
def _rounds_like_pillow() -> bool:
    """Compare the matrix products with the running Pillow on a picture that has every hard case."""
    noise = np.random.default_rng(1).integers(0, 256, (70, 501), dtype=np.uint8)
    noise[:, ::7] = 255
    noise[:, 3::7] = 0
    noise[20:30] = 255
    sizes: tuple[Size, ...] = ((8, 8), (9, 8), (32, 32), (512, 96))
    for pixels in (noise, np.ascontiguousarray(noise[:, :21])):
        ours = _shrink(pixels, sizes)
        grey = Image.fromarray(pixels)
        if not all(np.array_equal(a, resize(grey, b)) for a, b in zip(ours, sizes, strict=True)):
            return False
    return True


def _shrink(pixels: Pixels, sizes: tuple[Size, ...]) -> list[Pixels]:
    height, width = pixels.shape
    plan = _plan(width, tuple(w for w, _ in sizes))
    verticals = [_vertical(height, h) for _, h in sizes]
    results = [np.zeros((h, w)) for w, h in sizes]
    for top in range(0, height, _ROWS):
        rows = pixels[top : top + _ROWS].astype(np.float64)
        sums = np.zeros((len(rows), len(plan.order)))
        for start, stop, first, last, taps in plan.segments:
            sums[:, first:last] += rows[:, start:stop] @ taps
        _round(sums)
        swept = sums[:, plan.order]
        left = 0
        for vertical, result in zip(verticals, results, strict=True):
            right = left + result.shape[1]
            result += vertical[:, top : top + _ROWS] @ swept[:, left:right]
            left = right
    for result in results:
        _round(result)
    return [result.astype(np.uint8) for result in results]


def _round(sums: NDArray[np.float64]) -> None:
    """Round in place as Pillow's 8-bit resampler does: halves up, then clip to 0..255."""
    sums += 0.5
    np.floor(sums, out=sums)
    np.clip(sums, 0.0, 255.0, out=sums)


class _Segment(NamedTuple):
    """A stretch of input columns and the output columns, `first` to `last`, that it adds to."""

    start: int
    stop: int
    first: int
    last: int
    taps: NDArray[np.float64]


class _Plan(NamedTuple):
    """The horizontal pass of several widths at once.

    Output columns are swept in the order of their centres, so that those of a segment lie side by
    side; `order` puts them back, width by width.
    """

    segments: list[_Segment]
    order: NDArray[np.intp]


@functools.lru_cache(maxsize=16)
def _plan(width: int, widths: tuple[int, ...]) -> _Plan:
    taps = np.hstack([_taps(width, w) for w in widths])
    centres = np.concatenate([(np.arange(w) + 0.5) / w for w in widths])
    by_centre = np.argsort(centres, kind="stable")
    taps = taps[:, by_centre]
    count = -(-width // _COLUMNS)
    edges = [width * i // count for i in range(count + 1)]
    segments = []
    for start, stop in itertools.pairwise(edges):
        used = np.flatnonzero(taps[start:stop].any(axis=0))
        first, last = int(used[0]), int(used[-1]) + 1
        part = np.ascontiguousarray(taps[start:stop, first:last])
        segments.append(_Segment(start, stop, first, last, part))
    return _Plan(segments, np.argsort(by_centre))


@functools.lru_cache(maxsize=16)
def _vertical(height: int, out: int) -> NDArray[np.float64]:
    return np.ascontiguousarray(_taps(height, out).T)


def _taps(size: int, out: int) -> NDArray[np.float64]:
    """Return Pillow's integer Lanczos taps divided by 2**22, one column per output pixel."""
    scale = size / out
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    centres = (np.arange(out) + 0.5) * scale
    # The additions and the truncation are those of Pillow's precompute_coeffs.
    starts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    stops = np.minimum((centres + support + 0.5).astype(np.int64), size)
    inputs = starts[:, None] + np.arange(int((stops - starts).max()))
    x = (inputs - centres[:, None] + 0.5) * (1.0 / stretch)
    weights = np.where(inputs < stops[:, None], _lanczos(x), 0.0)
    scaled = weights / weights.sum(axis=1, keepdims=True) * _ONE
    units = np.trunc(scaled + np.copysign(0.5, scaled))
    fraction = np.abs(scaled) % 1.0
    for row in np.flatnonzero((np.abs(fraction - 0.5) < _EDGE).any(axis=1)):
        span = range(starts[row], stops[row])
        units[row, : len(span)] = _taps_like_c(span, float(centres[row]), 1.0 / stretch)
    taps = np.zeros((size, out))
    inside = inputs < stops[:, None]
    taps[inputs[inside], np.nonzero(inside)[0]] = units[inside] / _ONE
    return taps


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    angle = x * math.pi
    third = x / _SUPPORT * math.pi
    with np.errstate(invalid="ignore"):
        weights = np.sin(angle) / angle * (np.sin(third) / third)
    weights[x == 0.0] = 1.0
    weights[(x < -_SUPPORT) | (x >= _SUPPORT)] = 0.0
    return weights


def _taps_like_c(span: range, centre: float, inverse: float) -> list[float]:
    """Compute one output pixel's taps with the operations of Pillow's C code, in their order."""
    weights = []
    for position in span:
        x = (position - centre + 0.5) * inverse
        if x == 0.0:
            weights.append(1.0)
        elif -_SUPPORT <= x < _SUPPORT:
            angle, third = x * math.pi, x / _SUPPORT * math.pi
            weights.append(math.sin(angle) / angle * (math.sin(third) / third))
        else:
            weights.append(0.0)
    total = 0.0
    for weight in weights:
        total += weight
    return [float(int(math.copysign(0.5, w) + w / total * _ONE)) for w in weights]
