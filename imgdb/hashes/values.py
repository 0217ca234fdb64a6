"""Hashes as values: signed as stored, unsigned, hex and decimal text.

A hash is 64 bits. PostgreSQL stores it as a signed bigint (two's complement); imagehash prints it
as 16 hex digits. Only this module knows the difference.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import index

from imgdb.errors import UsageError

# A PDQ hash, 256 bits, as four stored words: the first one has the first 16 of the 64 hex digits.
Pdq = tuple[int, int, int, int]

ALGORITHMS = ("ahash", "dhash", "phash", "whash")

# The rule by which images are searched and compared: the sum of two distances finds more than
# either, with fewer wrong images (docs/hashes.md).
USUAL_RULE = "phash+dhash"

# Where PDQ is stored: it alone, or phash for candidates (within 12) and PDQ to decide. By each the
# largest distance that counts as alike, as imgdb._found_by_pdq has it, too.
PDQ_DIGITS = 64
PDQ_RULES = {"pdq": 31, "phash-pdq": 70}
PDQ_CANDIDATES = 12

_SIGN = 1 << 63
_HEX = re.compile(r"[0-9A-Fa-f]{16}")
_PDQ_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_DECIMAL = re.compile(r"-?[0-9]{1,20}")
_NO_NUMBER = "not a whole number of 64 bits"


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


def rule_hashes(rule: str) -> list[str]:
    """Return the names of the hashes that a rule adds up: one or two of ALGORITHMS."""
    return rule.split("+")


def largest_distance(rule: str) -> int:
    """Return the largest distance that two pictures can have by a rule."""
    return 256 if rule in PDQ_RULES else 64 * len(rule_hashes(rule))


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


def rule_distance(a: Sequence[int | None], b: Sequence[int | None]) -> int | None:
    """Return the distance by a rule, given the hashes of each side that it adds up.

    A hash that one of the two lacks is left out, and the other counts twice; None if no hash is
    left. imgdb._rule_distance does the same in SQL.
    """
    known = [
        bit_distance(one, other)
        for one, other in zip(a, b, strict=True)
        if one is not None and other is not None
    ]
    return sum(known) * len(a) // len(known) if known else None


def hex_value(text: str) -> int:
    """Return the stored form of 16 hex digits; ValueError says what is wrong."""
    if not _HEX.fullmatch(text):
        raise ValueError("not 16 hex digits")
    return _signed(int(text, 16))


def pdq_to_hex(pdq: Pdq) -> str:
    """Spell a stored PDQ hash in 64 hex digits, as ThreatExchange does."""
    return "".join(map(to_hex, pdq))


def pdq_from_hex(text: str) -> Pdq:
    """Return the stored form of a PDQ hash in 64 hex digits; anything else is a UsageError."""
    try:
        return pdq_value(text)
    except ValueError:
        raise UsageError(f"not a PDQ hash of 64 hex digits: {text!r}") from None


def pdq_distance(a: Pdq, b: Pdq) -> int:
    """Return the number of differing bits of two stored PDQ hashes, 0 to 256."""
    return sum(map(bit_distance, a, b))


def is_pdq(text: str) -> bool:
    """Tell whether a text spells a PDQ hash."""
    return bool(_PDQ_HEX.fullmatch(text))


def pdq_value(text: str) -> Pdq:
    """Return the stored form of 64 hex digits; ValueError says what is wrong."""
    if not _PDQ_HEX.fullmatch(text):
        raise ValueError("not 64 hex digits")
    first, second, third, fourth = (hex_value(text[at : at + 16]) for at in range(0, 64, 16))
    return first, second, third, fourth


def decimal_value(text: str) -> int:
    """Return the stored form of a 64-bit number, signed or not; ValueError says what is wrong."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(_NO_NUMBER)
    return number_value(int(text))


def number_value(number: int) -> int:
    """Return the stored form of a 64-bit number, signed or not; ValueError says what is wrong."""
    if not -_SIGN <= number < 2 * _SIGN:
        raise ValueError(_NO_NUMBER)
    return _signed(number)


def any_value(value: object) -> int:
    """Return the stored form of a hash in any spelling; ValueError says what is wrong.

    That is an ImageHash of 64 bits, 16 hex digits, or a 64-bit number, signed or not.
    """
    if isinstance(value, str):
        return hex_value(value)
    if hasattr(value, "__index__") and not isinstance(value, bool):
        return number_value(index(value))
    # An ImageHash: its text is its bits, four to a digit.
    if isinstance(size := getattr(getattr(value, "hash", None), "size", None), int):
        if size != 64:
            raise ValueError(f"a hash of {size} bits, not of 64")
        return hex_value(str(value))
    raise ValueError(f"{type(value).__name__} is no hash")


def _signed(value: int) -> int:
    return value - 2 * _SIGN if value >= _SIGN else value
