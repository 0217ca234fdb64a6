"""The hashes of a picture that was decoded at a reduced size, where they can be trusted.

A JPEG that is decoded at a half, a quarter or an eighth of its size differs a little from the full
picture, even when both are shrunk to the grid of a hash. So a bit may flip if its value lies near
its threshold. Such bits are called loose here. A picture with more than a few loose bits in any
hash is refused and must be decoded in full. docs/hashes.md has the measurements behind the
constants.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from PIL import Image

from imgdb.hashes import exact, phash, resample
from imgdb.hashes.exact import Bits, Reading
from imgdb.hashes.resample import Values
from imgdb.hashes.values import ALGORITHMS


class _Slack(NamedTuple):
    """A bit within `margin` of its threshold is loose; more than `bits` of them are too many."""

    margin: float
    bits: int


_SLACK = {
    "ahash": _Slack(0.2, 8),  # grey levels
    "dhash": _Slack(0.2, 12),  # grey levels
    "phash": _Slack(80.0, 8),  # DCT units: one grey level more all over is 4096
    "whash": _Slack(0.15, 4),  # grey levels
}


def read_scaled(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> Reading | None:
    """Hash a reduced picture of mode "L"; None if the hashes need the full picture.

    Raises UsageError when `algorithms` is empty or holds a name that is none of ALGORITHMS.
    """
    reading, loose = read_with_loose_bits(grey, algorithms)
    enough = all(loose[name] <= _SLACK[name].bits for name in algorithms)
    return reading if enough else None


def read_with_loose_bits(
    grey: Image.Image, algorithms: Collection[str] = ALGORITHMS
) -> tuple[Reading, dict[str, int]]:
    """Hash a reduced picture, trusted or not, and count the loose bits of each hash."""
    stacks = exact.unrounded_grids([grey], algorithms, areas=True)
    values = {name: stack[0] for name, stack in stacks.items()}
    grid = resample.rounded(values["phash"])
    bits, loose = {}, {}
    for name in algorithms:
        bits[name], near = _MEASURES[name](values[name], _SLACK[name].margin)
        loose[name] = int(np.count_nonzero(near))
    (reading,) = exact.pack_readings(bits, grid[None])
    return reading, loose


def _ahash(values: Values, margin: float) -> tuple[Bits, Bits]:
    pixels = resample.rounded(values)
    mean = pixels.mean()
    if_brighter = resample.rounded(values + margin) > mean - margin
    if_darker = resample.rounded(values - margin) > mean + margin
    return pixels > mean, if_brighter != if_darker


def _dhash(values: Values, margin: float) -> tuple[Bits, Bits]:
    pixels = resample.rounded(values)
    brighter, darker = resample.rounded(values + margin), resample.rounded(values - margin)
    if_rising = brighter[:, 1:] > darker[:, :-1]
    if_falling = darker[:, 1:] > brighter[:, :-1]
    return pixels[:, 1:] > pixels[:, :-1], if_rising != if_falling


def _phash(values: Values, margin: float) -> tuple[Bits, Bits]:
    return _against_median(phash.low_coefficients(resample.rounded(values)), margin)


def _whash(values: Values, margin: float) -> tuple[Bits, Bits]:
    return _against_median(values, margin)


def _against_median(values: Values, margin: float) -> tuple[Bits, Bits]:
    median = np.median(values)
    return values > median, np.abs(values - median) <= margin


_MEASURES = {"ahash": _ahash, "dhash": _dhash, "phash": _phash, "whash": _whash}
