"""The 64 x 64 samples that PDQ takes of a picture: its luminance, filtered twice along the rows and
along the columns by a box (Jarosz), in the middle of each of 64 x 64 equal parts.

`samples` slides its windows in single precision in the order of Meta's code, rounding included: one
step for each column or row, done for all rows or columns at once. `near_samples` takes the mean
that both boxes make together, by matrix products: several times as quick, and off by rounding only.

Rows and samples are float32, in grey levels.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

SIDE = 64

# Pixels that are worked on at once: for a matrix product, and for steps along a block.
_FEW, _MANY = 1 << 18, 1 << 22
# Samples of a row that come out of one matrix product.
_TOGETHER = 8


def luminance(luma: Image.Image) -> Floats:
    """Return the luminance of a picture of mode "RGB" or "L": rows x columns."""
    # Pillow divides 299 R + 587 G + 114 B by 1000: rounded, the same as 0.299 R + 0.587 G + ...
    return np.asarray(luma.convert("F"))


def samples(luma: Image.Image) -> Floats:
    """Return the samples, 64 x 64, bit for bit as Meta's code takes them."""
    width, height = luma.size
    middles = _middles(width)
    down = _Box(height, width)
    lines = [
        _across(down.feed(_across(luminance(block))))[:, middles] for block in _blocks(luma, _MANY)
    ]
    return _Box(height, SIDE).feed(np.concatenate(lines))[_middles(height)]


def near_samples(luma: Image.Image) -> Floats:
    """Return nearly the same as `samples`."""
    width, height = luma.size
    across = [_sampled(luminance(block), width) for block in _blocks(luma, _FEW)]
    return _sampled(np.concatenate(across).T, height).T


def _blocks(luma: Image.Image, pixels: int) -> list[Image.Image]:
    """Cut into blocks of rows, so that a large picture never stands in memory as floats."""
    width, height = luma.size
    rows = max(1, pixels // width)
    tops = range(0, height, rows)
    return [luma.crop((0, top, width, min(top + rows, height))) for top in tops]


def _middles(length: int) -> NDArray[np.int64]:
    middles: NDArray[np.int64] = ((np.arange(SIDE) + 0.5) * length / SIDE).astype(np.int64)
    return middles


def _window(length: int) -> int:
    return -(-length // (2 * SIDE))


def _across(rows: Floats) -> Floats:
    """Filter along rows."""
    columns = np.ascontiguousarray(rows.T)
    return np.ascontiguousarray(_Box(*columns.shape).feed(columns).T)


class _Box:
    """The mean over a window that slides along lines, at all places of a line at once.

    At both ends the window is cut off. The lines can come in parts: `feed` takes the next ones and
    returns the means that are complete.
    """

    def __init__(self, length: int, places: int) -> None:
        self._length = length
        self._window = _window(length)
        self._ahead = self._window // 2
        self._sum = np.zeros(places, np.float32)
        self._held = np.empty((0, places), np.float32)
        self._fed = 0

    def feed(self, lines: Floats) -> Floats:
        """Take the next lines."""
        window, total = self._window, self._sum
        held = np.concatenate([self._held, lines]) if self._fed else lines
        new, growing = len(held) - len(lines), max(0, window - self._fed)
        sums = np.empty_like(lines)
        for line, into in zip(lines[:growing], sums, strict=False):
            total = np.add(total, line, out=into)
        slid = max(new, window)
        for line, left, into in zip(
            held[slid:], held[slid - window :], sums[slid - new :], strict=False
        ):
            np.add(total, line, out=into)
            total = np.subtract(into, left, out=into)
        sizes = np.minimum(np.arange(self._fed, self._fed + len(lines)) + 1, window)
        early = max(0, self._ahead - self._fed)
        self._fed += len(lines)
        if self._fed == self._length and self._ahead:
            # The window leaves the last lines one by one.
            ends = np.empty((self._ahead, len(total)), np.float32)
            for left, into in zip(held[len(held) - window :], ends, strict=False):
                total = np.subtract(total, left, out=into)
            sums = np.concatenate([sums, ends])
            sizes = np.append(sizes, window - 1 - np.arange(self._ahead))
        self._sum, self._held = total.copy(), held[-window:].copy()
        means = sums[early:]
        means /= sizes[early:, None].astype(np.float32)
        return means


def _sampled(rows: Floats, length: int) -> Floats:
    """Take the means of rows of a length that both passes of the box make at the middles."""
    parts = [rows[:, start:stop] @ weights for start, stop, weights in _weights(length)]
    return np.concatenate(parts, axis=1)


@functools.lru_cache(maxsize=32)
def _weights(length: int) -> list[tuple[int, int, Floats]]:
    """Return for some samples at a time where their pixels start and stop, and their weights."""
    window = _window(length)
    behind = (window - 1) // 2
    middles = _middles(length)[:, None]

    def box(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.maximum(places - behind, 0), np.minimum(places + window - behind, length)

    # The second pass takes the means of these places, which the first pass made.
    start, stop = box(middles)
    places = start + np.arange(window)
    inside = places < stop
    places = np.minimum(places, length - 1)
    left, right = box(places)
    shares = np.where(inside, 1.0 / (right - left) / (stop - start), 0.0)
    reach = 2 * window + 2
    first = np.maximum(middles - window, 0)
    slots = np.arange(SIDE)[:, None] * reach
    edges = np.bincount((slots + left - first).ravel(), shares.ravel(), SIDE * reach)
    edges -= np.bincount((slots + right - first).ravel(), shares.ravel(), SIDE * reach)
    tents = edges.reshape(SIDE, reach).cumsum(axis=1)
    parts = []
    for some in range(0, SIDE, _TOGETHER):
        own = slice(some, some + _TOGETHER)
        begin = int(first[own].min())
        end = min(int(first[own].max()) + reach, length)
        weights = np.zeros((end - begin + reach, _TOGETHER), np.float32)
        for column, (at, tent) in enumerate(zip(first[own, 0] - begin, tents[own], strict=True)):
            weights[at : at + reach, column] = tent
        parts.append((begin, end, weights[: end - begin]))
    return parts
