"""The taps of Pillow's 8-bit Lanczos resampler: one weighted sum for each output pixel.

Source: `precompute_coeffs` and `normalize_coeffs_8bpc` in src/libImaging/Resample.c of Pillow. The
taps are those of Pillow 11.3 to 13.0; `imgdb.hashes.resample` compares them with the running one.
"""

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_SUPPORT = 3.0
_ONE = float(1 << 22)  # PRECISION_BITS of Pillow's 8-bit resampler
# numpy's sine may differ from the C library's in the last bit, which moves a tap by less than
# 1e-8 units; a tap nearer than this to a rounding edge is computed again as Pillow computes it.
_EDGE = 1e-7


def taps(size: int, out: int) -> Values:
    """Return Pillow's integer Lanczos taps divided by 2**22, for an axis of `size` pixels.

    The shape is size x out (input pixels x output pixels); each column adds up to about 1.
    """
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
    matrix = np.zeros((size, out))
    inside = inputs < stops[:, None]
    matrix[inputs[inside], np.nonzero(inside)[0]] = units[inside] / _ONE
    return matrix


def _lanczos(x: Values) -> Values:
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
