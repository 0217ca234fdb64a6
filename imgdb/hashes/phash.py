"""phash: which of the 8 x 8 lowest DCT coefficients of a 32 x 32 picture lie above their median.

Source: `phash` of imagehash 4.3.2, which takes the unnormalised DCT-II of scipy.fftpack.
"""

import numpy as np
from numpy.typing import NDArray

from imgdb.hashes.resample import Pixels

# The first 8 rows of the (unnormalised) DCT-II of length 32.
_BASIS = 2.0 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)
# Coefficients are at most 1.05e6, and this product and scipy's transform each err by less than
# 1e-7: two coefficients further apart than this stand in the same order in both.
_CERTAIN = 1e-6


def phash_bits(grids: Pixels) -> NDArray[np.bool_]:
    """Return the bits (pictures, 8, 8) of a stack of grids (pictures, 32, 32)."""
    coefficients = low_coefficients(grids)
    ordered = np.sort(coefficients.reshape(-1, 64), axis=1)
    low, high = ordered[:, 31], ordered[:, 32]
    bits: NDArray[np.bool_] = coefficients >= high[:, None, None]
    for near in (high - low <= _CERTAIN).nonzero()[0]:
        bits[near] = _bits_near_tie(grids[near])
    return bits


def low_coefficients(grids: Pixels) -> NDArray[np.float64]:
    """Return the lowest coefficients of the two-dimensional DCT-II of each grid.

    The shape is (pictures, 8, 8) for a stack, 8 x 8 for one grid; rows are vertical frequencies.
    """
    return _BASIS @ grids @ _BASIS.T


def _bits_near_tie(grid: Pixels) -> NDArray[np.bool_]:
    if grid.min() == grid.max():
        # Solid colour: the sum of the pixels is positive unless black, the rest exactly zero.
        bits = np.zeros((8, 8), np.bool_)
        bits[0, 0] = grid[0, 0] > 0
        return bits
    return _bits_at_tie(grid)


def _bits_at_tie(grid: Pixels) -> NDArray[np.bool_]:
    """Decide as imagehash does where the middle coefficients are equal, as in symmetric pictures.

    There the bits are the rounding noise of scipy's transform, so they are taken from it.
    """
    import scipy.fftpack  # loaded only for the few pictures that need it

    full = scipy.fftpack.dct(scipy.fftpack.dct(grid, axis=0), axis=1)
    low: NDArray[np.float64] = full[:8, :8]
    noise: NDArray[np.bool_] = low > np.median(low)
    return noise
