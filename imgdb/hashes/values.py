"""Hashes as values: signed as stored, unsigned, hex and decimal text; scalars and arrays.

A hash is 64 bits. PostgreSQL stores it as a signed bigint (two's complement); imagehash prints it
as 16 hex digits. Only this module knows the difference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgdb.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALGORITHMS = ("ahash", "dhash", "phash", "whash")

_SIGN = 1 << 63
_HEX = re.compile(r"[0-9A-Fa-f]{16}")
_DECIMAL = re.compile(r"-?[0-9]{1,20}")
_DECIMALS = re.compile(r"[-0-9]*")

# The hashes of a solid colour. The first bit of phash is the sum of the pixels: 1 unless black.
_SOLID = {"ahash": (0,), "dhash": (0,), "phash": (-_SIGN, 0), "whash": (0,)}


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hashes of one picture as stored: signed 64-bit, None where not asked for."""

    ahash: int | None = None
    dhash: int | None = None
    phash: int | None = None
    whash: int | None = None


def check_algorithms(names: Collection[str]) -> None:
    """Raise UsageError when `names` is empty or holds one that is none of ALGORITHMS."""
    unknown = sorted(set(names) - set(ALGORITHMS))
    if unknown or not names:
        wrong = f"no such hash: {', '.join(unknown)}" if unknown else "no hash is chosen"
        raise UsageError(f"{wrong}; choose from {', '.join(ALGORITHMS)}")


def to_bigint(unsigned: int) -> int:
    """Return the signed bigint that stores an unsigned 64-bit hash."""
    if not 0 <= unsigned < 2 * _SIGN:
        raise UsageError(f"not an unsigned 64-bit number: {unsigned}")
    return _signed(unsigned)


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
    try:
        return hex_value(text)
    except ValueError:
        raise UsageError(f"not a hash of 16 hex digits: {text!r}") from None


def bit_distance(a: int, b: int) -> int:
    """Return the number of differing bits of two stored hashes, 0 to 64."""
    return (from_bigint(a) ^ from_bigint(b)).bit_count()


def is_flat(hashes: Hashes) -> bool:
    """Guess from hashes alone, without the pixels, whether a picture is flat.

    With phash, each hash that was made must be within 4 bits of a solid colour's. Without phash,
    each must be equal to it: ahash, dhash and whash come near it on many pictures with structure.
    """
    slack = 4 if hashes.phash is not None else 0
    made = [
        min(bit_distance(value, solid) for solid in solids) <= slack
        for name, solids in _SOLID.items()
        if (value := getattr(hashes, name)) is not None
    ]
    return bool(made) and all(made)


def hex_value(text: str) -> int:
    """Return the stored form of 16 hex digits; ValueError says what is wrong."""
    if not _HEX.fullmatch(text):
        raise ValueError("not 16 hex digits")
    return _signed(int(text, 16))


def decimal_value(text: str) -> int:
    """Return the stored form of a 64-bit number, signed or not; ValueError says what is wrong."""
    if not _DECIMAL.fullmatch(text) or not -_SIGN <= int(text) < 2 * _SIGN:
        raise ValueError("not a whole number of 64 bits")
    return _signed(int(text))


def _signed(value: int) -> int:
    return value - 2 * _SIGN if value >= _SIGN else value


def all_hex(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the stored forms, one for each text, if every text is 16 hex digits; else None."""
    import numpy as np  # not at the top: the command line reads ALGORITHMS for its help

    if set(map(len, texts)) != {16}:
        return None
    try:
        content = bytes.fromhex("".join(texts))
    except ValueError:
        return None
    # fromhex passes over spaces.
    if len(content) != 8 * len(texts):
        return None
    return np.frombuffer(content, ">i8").astype(np.int64)


def all_decimal(texts: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the stored forms, one for each text, if all are 64-bit numbers, signed or not."""
    import numpy as np

    if "" in texts or not _DECIMALS.fullmatch("".join(texts)):
        return None
    try:
        numbers = list(map(int, texts))
    except ValueError:
        return None
    if min(numbers) < -_SIGN or max(numbers) >= 2 * _SIGN:
        return None
    if max(numbers) < _SIGN:
        return np.array(numbers, np.int64)
    return np.array([number % (2 * _SIGN) for number in numbers], np.uint64).view(np.int64)
