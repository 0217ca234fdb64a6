"""whash: which of the 8 x 8 Haar low-band coefficients of a square picture lie above their median.

In exact arithmetic a coefficient is a block's pixel sum, shifted and scaled alike for all blocks,
so integer block sums decide. If the two middle sums are equal, the answer depends on how the
wavelet library of imagehash rounds; then its operations are repeated here, in its order.

Source: `whash` of imagehash 4.3.2 with its default, the Haar wavelet, as PyWavelets 1.9.0 computes
it. A square has the shape (side, side), a stack of squares (squares, side, side).
"""

import numpy as np
from numpy.typing import NDArray

from imgdb.hashes.resample import Pixels

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]

# The bands of one level: sums and differences along the rows, each of the sums [0] and of the
# differences [1] along the columns; sums[0] is the low band.
_Bands = tuple[Floats, Floats]

_SIDE = 8
_LEVELS = 3  # from 8 x 8 blocks up to the whole picture
_TAP = 0.7071067811865476  # both taps of the Haar filter, as PyWavelets spells them
_BATCH = 1 << 20  # pixels that are analysed at once: bounds the memory of the float copies


def whash_bits(pixels: Pixels) -> Bits:
    """Return the bits (squares, 8, 8) of a stack of squares whose side is a power of two >= 8."""
    sums = block_sums(pixels)
    ordered = np.sort(sums.reshape(-1, _SIDE * _SIDE), axis=1)
    low, high = ordered[:, 31], ordered[:, 32]
    bits = sums >= high[:, None, None]
    tied = (low == high).nonzero()[0]
    if len(tied):
        bits[tied] = _bits_at_ties(pixels[tied], sums[tied], low[tied])
    return bits


def block_sums(pixels: Pixels) -> NDArray[np.int64]:
    """Return the sums of the pixels of each of the 8 x 8 blocks of each square: (squares, 8, 8)."""
    count, side, _ = pixels.shape
    block = side // _SIDE
    rows = np.add.reduce(pixels.reshape(count, _SIDE, block, side), axis=2, dtype=np.uint32)
    sums: NDArray[np.int64] = np.add.reduce(
        rows.reshape(count, _SIDE, _SIDE, block), axis=3, dtype=np.int64
    )
    return sums


def _bits_at_ties(pixels: Pixels, sums: NDArray[np.int64], middles: NDArray[np.int64]) -> Bits:
    """Decide the blocks whose sum is the median of their square as PyWavelets rounds.

    imagehash decomposes to one coefficient, sets it to zero, rebuilds the picture and decomposes
    that to 8 x 8. Haar blocks do not overlap, so only the tied blocks need the way down and up
    again inside a block.
    """
    levels = (pixels.shape[1] // _SIDE).bit_length() - 1
    blocks = _blocks(pixels)
    coefficients = _decompose_blocks(blocks, levels).reshape(sums.shape)
    top, bands = _decompose(coefficients, _LEVELS)
    rebuilt = _rebuild(top * 0.0, bands)
    tied = sums == middles[:, None, None]
    values = _through_blocks(blocks[tied.ravel()], rebuilt[tied], levels)
    bits = sums > middles[:, None, None]
    below = (sums < middles[:, None, None]).sum(axis=(1, 2)).tolist()
    ends = tied.sum(axis=(1, 2)).cumsum().tolist()
    for square, start, end, less in zip(range(len(sums)), [0, *ends], ends, below, strict=False):
        own = values[start:end]
        ordered = np.sort(own)
        bits[square, tied[square]] = own > (ordered[31 - less] + ordered[32 - less]) / 2
    # Of one colour: every coefficient is exactly zero.
    bits[pixels.min(axis=(1, 2)) == pixels.max(axis=(1, 2))] = False
    return bits


def _blocks(pixels: Pixels) -> Pixels:
    """Cut each square into its 64 blocks, row by row; shape (64 a square, side, side)."""
    block = pixels.shape[1] // _SIDE
    grid = pixels.reshape(-1, _SIDE, block, _SIDE, block)
    return grid.transpose(0, 1, 3, 2, 4).reshape(-1, block, block)


def _decompose_blocks(blocks: Pixels, levels: int) -> Floats:
    """Decompose every block to its one low coefficient."""
    step = max(1, _BATCH // blocks[0].size)
    coefficients = np.empty(len(blocks))
    for first in range(0, len(blocks), step):
        values = blocks[first : first + step] / 255.0
        for _ in range(levels):
            values = _low(values)
        coefficients[first : first + step] = values[:, 0, 0]
    return coefficients


def _through_blocks(blocks: Pixels, rebuilt: Floats, levels: int) -> Floats:
    """Rebuild each block from its low coefficient and its details, and decompose it again."""
    values = rebuilt.copy()
    extremes = blocks.reshape(len(blocks), -1)
    uneven = extremes.min(axis=1) != extremes.max(axis=1)
    values[~uneven] = _through_even_blocks(values[~uneven], levels)
    step = max(1, _BATCH // blocks[0].size)
    for first in range(0, len(blocks), step):
        chosen = np.flatnonzero(uneven[first : first + step]) + first
        if len(chosen):
            values[chosen] = _through(blocks[chosen] / 255.0, values[chosen], levels)
    return values


def _through(pixels: Floats, rebuilt: Floats, levels: int) -> Floats:
    _, bands = _decompose(pixels, levels)
    pixels = _rebuild(rebuilt.reshape(-1, 1, 1), bands)
    for _ in range(levels):
        pixels = _low(pixels)
    return pixels[:, 0, 0]


def _through_even_blocks(values: Floats, levels: int) -> Floats:
    """Do as `_through` for blocks of one colour, whose details are exactly zero."""
    for _ in range(levels):
        values = values * _TAP * _TAP
    for _ in range(levels):
        values = 2.0 * (2.0 * (values * _TAP) * _TAP)
    return values


def _low(pixels: Floats) -> Floats:
    """One level, low band alone: columns first, then rows, later sample first, as PyWavelets."""
    scaled = pixels * _TAP
    scaled = (scaled[..., 1::2, :] + scaled[..., ::2, :]) * _TAP
    return scaled[..., 1::2] + scaled[..., ::2]


def _decompose(pixels: Floats, levels: int) -> tuple[Floats, list[_Bands]]:
    """Return the low band of the last level and the bands of every level."""
    bands = []
    for _ in range(levels):
        scaled = pixels * _TAP
        later, earlier = scaled[..., 1::2, :], scaled[..., ::2, :]
        rows = np.empty((2, *later.shape))
        np.add(later, earlier, out=rows[0])
        np.subtract(earlier, later, out=rows[1])
        rows *= _TAP
        later, earlier = rows[..., 1::2], rows[..., ::2]
        bands.append((later + earlier, earlier - later))
        pixels = bands[-1][0][0]
    return pixels, bands


def _rebuild(low: Floats, bands: list[_Bands]) -> Floats:
    """Undo `_decompose` with another low band at its end: rows first, then columns."""
    for sums, differences in reversed(bands):
        sums[0] = low
        sums *= _TAP
        differences *= _TAP
        rows = _interleaved(sums, differences)
        rows *= _TAP
        # Columns are rows of the transpose.
        low = _interleaved(rows[0].swapaxes(-1, -2), rows[1].swapaxes(-1, -2)).swapaxes(-1, -2)
    return low


def _interleaved(sums: Floats, differences: Floats) -> Floats:
    pairs = np.empty((*sums.shape, 2))
    np.add(sums, differences, out=pairs[..., 0])
    np.subtract(sums, differences, out=pairs[..., 1])
    return pairs.reshape(*sums.shape[:-1], -1)
