"""PDQ: one picture -> 256 bits and a quality, bit for bit as Meta's code makes them.

64 x 64 samples are taken of the filtered luminance. The bits say which of 16 x 16 low coefficients
of their DCT lie above the median. The quality, 0 to 100, is how much neighbouring samples differ.

Meta's code adds up in single precision. Where a coefficient is near the median, as in symmetric
pictures, the rounding decides, so there all is done in the same order; elsewhere the quick way to
the samples gives the same bits.

Source: "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (hashing.pdf of
ThreatExchange, 2019); the values are those of pdqhash 0.2.8.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.hashes import jarosz
from imgdb.hashes.jarosz import SIDE, Floats
from imgdb.hashes.values import Pdq

_FREQUENCIES = 16
# With fewer pixels there is nothing to hash, says Meta's code.
_LEAST_SIDE = 5
_MOST_QUALITY = 100
# Samples and coefficients of the two ways differ by rounding that grows with the square root of
# the way that a window slides. Further apart than this, up to 1,000 pixels, order is certain: it is
# about ten times the largest difference that was seen (docs/decisions/pdq-by-code-of-our-own.md).
_CERTAIN = 0.01

# Frequencies 1 to 16 of the DCT-II of length 64: the mean, frequency 0, is left out.
_BASIS = (
    np.float64(np.sqrt(np.float32(2 / SIDE)))
    * np.cos(np.pi / 2 / SIDE * np.arange(1, 17)[:, None] * (2 * np.arange(SIDE) + 1))
).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PdqReading:
    """What PDQ says of a picture; below a quality of 50 its makers do not use the hash."""

    pdq: Pdq
    quality: int


def read_pdq(luma: Image.Image) -> PdqReading:
    """Hash an upright picture of mode "RGB" or "L"."""
    if min(luma.size) < _LEAST_SIDE:
        return PdqReading((0, 0, 0, 0), 0)
    if luma.size == (SIDE, SIDE):
        return _reading(jarosz.luminance(luma))
    near = _certain_reading(jarosz.near_samples(luma), _margin(luma))
    return near or _reading(jarosz.samples(luma))


def _margin(luma: Image.Image) -> float:
    return _CERTAIN * math.sqrt(max(1.0, max(luma.size) / 1000))


def _reading(samples: Floats) -> PdqReading:
    coefficients = _coefficients(samples)
    middle = np.sort(coefficients, axis=None)[_FREQUENCIES**2 // 2 - 1]
    total = sum(float(np.abs(np.trunc(steps)).sum(dtype=np.float64)) for steps in _steps(samples))
    return PdqReading(_packed(coefficients > middle), _quality(total))


def _certain_reading(samples: Floats, margin: float) -> PdqReading | None:
    """Return the reading if no sample or coefficient that is off by `margin` changes it."""
    coefficients = _BASIS @ samples @ _BASIS.T
    below, above = np.sort(coefficients, axis=None)[_FREQUENCIES**2 // 2 - 1 :][:2]
    if above - below <= 2 * margin:
        return None
    steps = [np.abs(step) for step in _steps(samples)]
    least, most = (
        _quality(sum(float(np.floor(step + off).clip(0).sum(dtype=np.float64)) for step in steps))
        for off in (-margin, margin)
    )
    return PdqReading(_packed(coefficients > below), least) if least == most else None


def _coefficients(samples: Floats) -> Floats:
    """Return the coefficients, 16 x 16; rows are vertical frequencies."""
    return _transformed(_transformed(samples).T).T


def _transformed(samples: Floats) -> Floats:
    """Multiply the basis and the samples, adding up in the order of the rows."""
    total = np.zeros((_FREQUENCIES, samples.shape[1]), np.float32)
    for place in range(SIDE):
        total += _BASIS[:, place, None] * samples[place]
    return total


def _packed(bits: NDArray[np.bool_]) -> Pdq:
    """Pack the bits: the last coefficient is the first bit."""
    first, second, third, fourth = np.packbits(bits.ravel()[::-1]).view(">i8").tolist()
    return first, second, third, fourth


def _steps(samples: Floats) -> list[Floats]:
    """Return by how many hundredths of white each sample differs from the next one."""
    return [np.diff(samples, axis=axis) * np.float32(100) / np.float32(255) for axis in (0, 1)]


def _quality(total: float) -> int:
    return min(int(total) // 90, _MOST_QUALITY)
