"""What stands in the columns of an export beside the four hashes -> values of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from imgdb.hashes.values import hex_value, pdq_value

# What a file says is known as a whole, or not at all.
FILE = ("byte_size", "modified_at", "sha256", "format", "width", "height", "frames")


def values(column: Sequence[object], name: str, bad: dict[int, str]) -> Sequence[object]:
    """Return the values of a column, None where there is none; those of a wrong kind are bad."""
    read = _READ[name]
    found: list[object] = []
    for at, value in enumerate(column):
        try:
            found.append(None if value is None or value == "" else read(value))
        except (ValueError, TypeError, IndexError) as error:
            bad.setdefault(at, f"{name} is {error}: {str(value)[:40]!a}")
            found.append(None)
    return found


def check_rows(columns: Mapping[str, Sequence[object]], bad: dict[int, str]) -> None:
    """Note the rows of an export that say less than a row must."""
    for at, known in enumerate(zip(*(columns[name] for name in FILE), strict=True)):
        if known.count(None) not in (0, len(FILE)):
            bad.setdefault(at, f"all of {', '.join(FILE)}, or none of them")
    for name in ("collection", "recipe", "flat"):
        for at, value in enumerate(columns[name]):
            if value is None:
                bad.setdefault(at, f"no {name}")


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    return value


def _number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise ValueError("no whole number")


def _quality(value: object) -> int:
    if (number := _number(value)) > 100:
        raise ValueError("not between 0 and 100")
    return number


def _pdq(value: object) -> list[int]:
    return [*pdq_value(_text(value).removeprefix("0x"))]


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value not in _FLAGS:
        raise ValueError("neither true nor false")
    return _FLAGS[str(value)]


_FLAGS = {"t": True, "true": True, "f": False, "false": False}


def _time(value: object) -> datetime:
    time = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def _bytes(value: object) -> bytes:
    return bytes.fromhex(_text(value))


def _regions(value: object) -> str:
    for *box, hash_value in _list(value):
        if len(box) != 4 or not all(type(side) is int for side in box):
            raise ValueError("no list of left, top, width, height and hash")
        hex_value(_text(hash_value))
    return str(value)


def _marks(value: object) -> str:
    for collection, path, time in _list(value):
        _text(collection), _text(path), _time(time)
    return str(value)


def _list(value: object) -> list[list[object]]:
    found = json.loads(_text(value))
    if not isinstance(found, list) or not all(isinstance(one, list) for one in found):
        raise ValueError("no list of lists")
    return found


_READ: dict[str, Callable[[object], object]] = {
    "pdq": _pdq,
    "pdq_quality": _quality,
    "collection": _text,
    "flat": _flag,
    "recipe": _text,
    "byte_size": _number,
    "modified_at": _time,
    "sha256": _bytes,
    "format": _text,
    "width": _number,
    "height": _number,
    "frames": _number,
    "colours": _bytes,
    "missing_since": _time,
    "ingested_at": _time,
    "pdq_recipe": _text,
    "region_recipe": _text,
    "regions": _regions,
    "different_from": _marks,
}
