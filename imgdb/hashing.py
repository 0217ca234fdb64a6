"""One grey picture -> four 64-bit hashes, by the recipe, bit for bit as imagehash 4.3.2.

The recipe: `average_hash`, `dhash`, `phash` and `whash` of size 8, with Pillow's 8-bit Lanczos
resize, horizontal pass first. The values are for ever: a change here is a new recipe.
"""

import string
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb import dct, haar, resample
from imgdb.errors import UsageError
from imgdb.resample import Pixels, Size

ALGORITHMS = ("ahash", "dhash", "phash", "whash")

Bits = NDArray[np.bool_]

_SIGN = 1 << 63
_GRIDS: dict[str, Size] = {"ahash": (8, 8), "dhash": (9, 8), "phash": (32, 32)}


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hashes of one picture as stored: signed 64-bit, None where not asked for."""

    ahash: int | None = None
    dhash: int | None = None
    phash: int | None = None
    whash: int | None = None


def hash_grey(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> Hashes:
    """Hash a picture of mode "L".

    Raises UsageError when `algorithms` holds a name that is none of ALGORITHMS.
    """
    if unknown := set(algorithms) - set(ALGORITHMS):
        known = ", ".join(ALGORITHMS)
        raise UsageError(f"no such hash: {', '.join(sorted(unknown))}; choose from {known}")
    names = [name for name in _GRIDS if name in algorithms]
    grids = resample.shrink(grey, [_GRIDS[name] for name in names]) if names else []
    bits = {name: _BITS[name](grid) for name, grid in zip(names, grids, strict=True)}
    if "whash" in algorithms:
        bits["whash"] = haar.whash_bits(resample.resize(grey, whash_size(grey)))
    return Hashes(**{name: _pack(values) for name, values in bits.items()})


def whash_size(grey: Image.Image) -> Size:
    """Return the largest power of two that fits into the picture, at least 8, as a square."""
    side = max(8, 1 << (min(grey.size).bit_length() - 1))
    return side, side


def _ahash_bits(grid: Pixels) -> Bits:
    # pixel > mean of the 64, without leaving integers
    bits: Bits = grid * np.uint16(64) > grid.sum()
    return bits


def _dhash_bits(grid: Pixels) -> Bits:
    return grid[:, 1:] > grid[:, :-1]


_BITS: dict[str, Callable[[Pixels], Bits]] = {
    "ahash": _ahash_bits,
    "dhash": _dhash_bits,
    "phash": dct.phash_bits,
}


def _pack(bits: Bits) -> int:
    return int.from_bytes(np.packbits(bits).tobytes(), "big", signed=True)


def to_bigint(unsigned: int) -> int:
    """Return the signed bigint that stores an unsigned 64-bit hash."""
    if not 0 <= unsigned < 2 * _SIGN:
        raise UsageError(f"not an unsigned 64-bit number: {unsigned}")
    return unsigned - 2 * _SIGN if unsigned >= _SIGN else unsigned


def from_bigint(signed: int) -> int:
    """Return the unsigned 64-bit hash that a stored bigint means."""
    if not -_SIGN <= signed < _SIGN:
        raise UsageError(f"not a signed 64-bit number: {signed}")
    return signed % (2 * _SIGN)


def to_hex(hash_value: int) -> str:
    """Spell a stored hash in 16 hex digits, as imagehash prints it."""
    return f"{from_bigint(hash_value):016x}"


def from_hex(text: str) -> int:
    """Return the stored form of a hash in 16 hex digits; anything else is a UsageError."""
    if len(text) != 16 or not set(text) <= set(string.hexdigits):
        raise UsageError(f"not a hash of 16 hex digits: {text!r}")
    return to_bigint(int(text, 16))


def distance(a: int, b: int) -> int:
    """Return the number of differing bits of two stored hashes, 0 to 64."""
    return (from_bigint(a) ^ from_bigint(b)).bit_count()


_FLAT_BITS = 4
# What imgdb gives for solid colours: phash keeps the sum of the pixels as its first bit.
_SOLID = {"ahash": (0,), "dhash": (0,), "phash": (-_SIGN, 0), "whash": (0,)}


def is_flat(hashes: Hashes) -> bool:
    """Tell whether every hash that was made is within 4 bits of a solid colour's."""
    made = [
        min(distance(value, solid) for solid in solids) <= _FLAT_BITS
        for name, solids in _SOLID.items()
        if (value := getattr(hashes, name)) is not None
    ]
    return bool(made) and all(made)
