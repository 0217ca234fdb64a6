"""Files of hashes that somebody else made -> checked rows: CSV, or Parquet through pyarrow."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from imgdb.errors import UsageError
from imgdb.hashing import ALGORITHMS

NAMES = ("path", "id")
PARQUET_SUFFIXES = (".parquet", ".pq")

CHUNK = 20_000

# So many bad lines are told; more are only counted.
TOLD = 20

_HEX = re.compile(r"[0-9A-Fa-f]{16}")
_DECIMAL = re.compile(r"-?[0-9]{1,20}")
_DECIMALS = re.compile(r"[-0-9]*")
_SIGN = 1 << 63

Value = str | int | None
Parser = Callable[[str], int]


@dataclass(slots=True)
class Complaints:
    """What is wrong with a file, by line; in Parquet a line is a row, counted from 1."""

    count: int = 0
    _told: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, words: str) -> None:
        """Note a bad line."""
        self.count += 1
        if len(self._told) < TOLD:
            self._told.append((line, words))

    def told(self) -> list[str]:
        """Return the first bad lines in words."""
        return [f"line {line}: {words}" for line, words in sorted(self._told)]


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked rows, column by column; hashes are signed, one of the four at least in each row."""

    lines: Sequence[int]
    names: Sequence[str]
    hashes: dict[str, Sequence[int | None]]


def read(path: Path, complaints: Complaints) -> Iterator[Rows]:
    """Yield the good rows of a file; the bad ones go to `complaints`.

    Raises UsageError for a file that cannot be read as a table with the columns that it takes.
    """
    chunks = (
        _parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _csv(path, complaints)
    )
    parsers: dict[str, Parser] = {}
    for lines, columns in chunks:
        yield _checked(lines, columns, parsers, complaints)


def _csv(path: Path, complaints: Complaints) -> Iterator[tuple[list[int], dict[str, list[Value]]]]:
    # utf-8-sig: spreadsheets put a mark before the first name. Bytes that are no UTF-8 are found
    # again, with their line, when the names are checked.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from _csv_chunks(file, complaints)


def _csv_chunks(
    file: TextIO, complaints: Complaints
) -> Iterator[tuple[list[int], dict[str, list[Value]]]]:
    reader = csv.reader(file, strict=True)
    header = [name.strip() for name in next(reader, [])]
    wanted = _wanted(header)
    width = len(header)
    while True:
        lines: list[int] = []
        rows: list[list[str]] = []
        try:
            for row in islice(reader, CHUNK):
                if len(row) == width:
                    lines.append(reader.line_num)
                    rows.append(row)
                elif row:
                    complaints.add(reader.line_num, f"{len(row)} columns instead of {width}")
        except csv.Error as error:
            complaints.add(reader.line_num, f"no CSV from here on: {error}")
            return
        ended = not rows and next(reader, None) is None
        if rows:
            columns = list(zip(*rows, strict=True))
            yield lines, {name: list(columns[at]) for name, at in wanted.items()}
        elif ended:
            return


def _parquet(path: Path) -> Iterator[tuple[list[int], dict[str, list[Value]]]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("Parquet needs pyarrow: pip install 'imgdb[parquet]'") from None
    try:
        file = pq.ParquetFile(path)
        wanted = list(_wanted(file.schema_arrow.names))
        line = 1
        for batch in file.iter_batches(CHUNK, columns=wanted):
            yield (
                list(range(line, line + batch.num_rows)),
                {name: batch.column(name).to_pylist() for name in wanted},
            )
            line += batch.num_rows
    except pa.ArrowException as error:
        raise UsageError(f"cannot read {path} as Parquet: {error}") from error


def _wanted(header: Sequence[str]) -> dict[str, int]:
    """Return the columns to read and where they stand."""
    names = [name for name in NAMES if name in header]
    hashes = [name for name in ALGORITHMS if name in header]
    if len(names) != 1 or not hashes:
        raise UsageError(
            "the first line must name a column path or id, and at least one of "
            f"{', '.join(ALGORITHMS)}; it names: {', '.join(header) or 'nothing'}"
        )
    if twice := [name for name in names + hashes if header.count(name) > 1]:
        raise UsageError(f"the column {twice[0]} is there twice")
    return {name: header.index(name) for name in names + hashes}


def _checked(
    lines: list[int],
    columns: dict[str, list[Value]],
    parsers: dict[str, Parser],
    complaints: Complaints,
) -> Rows:
    bad: dict[int, str] = {}
    name, *hash_names = columns
    names = _names(columns[name], name, bad)
    hashes = {column: _hashes(columns[column], column, parsers, bad) for column in hash_names}
    for at in _without_hash(list(hashes.values())):
        bad.setdefault(at, "no hash")
    if not bad:
        return Rows(lines, names, hashes)
    for at in sorted(bad):
        complaints.add(lines[at], bad[at])
    good = [at for at in range(len(lines)) if at not in bad]
    return Rows(
        [lines[at] for at in good],
        [names[at] for at in good],
        {column: [values[at] for at in good] for column, values in hashes.items()},
    )


def _without_hash(columns: list[Sequence[int | None]]) -> list[int]:
    if not any(None in column for column in columns):
        return []
    return [
        at
        for at, values in enumerate(zip(*columns, strict=True))
        if all(value is None for value in values)
    ]


def _names(values: list[Value], column: str, bad: dict[int, str]) -> list[str]:
    """Check that each is text that PostgreSQL can hold."""
    names = [value if isinstance(value, str) else str(value or "") for value in values]
    try:
        together = "\0".join(names).encode()
    except UnicodeEncodeError:
        together = b""
    if together.count(b"\0") != len(names) - 1 or "" in names:
        for at, name in enumerate(names):
            if not name:
                bad[at] = f"no {column}"
            elif "\0" in name or not _is_utf8(name):
                bad[at] = f"{column} is no text in UTF-8: {name!a}"
    return names


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hashes(
    values: list[Value], column: str, parsers: dict[str, Parser], bad: dict[int, str]
) -> Sequence[int | None]:
    """Return the signed hashes of a column: all of them hex, or all of them decimal."""
    texts = ["" if value is None else str(value) for value in values]
    if column not in parsers and any(texts):
        # Of a thousand decimals one has 16 digits.
        hexadecimal = 2 * sum(len(text) == 16 for text in texts) > sum(map(bool, texts))
        parsers[column] = _hex_value if hexadecimal else _decimal_value
    parse = parsers.get(column, _hex_value)
    fast = all_hex(texts) if parse is _hex_value else _all_decimal(texts)
    if fast is not None:
        return fast
    found: list[int | None] = []
    for at, text in enumerate(texts):
        try:
            found.append(parse(text) if text else None)
        except ValueError as error:
            found.append(None)
            bad.setdefault(at, f"{column} is {error}: {text[:40]!a}")
    return found


def all_hex(texts: list[str]) -> Sequence[int] | None:
    """Return the hashes if every one is 16 hex digits."""
    if set(map(len, texts)) != {16}:
        return None
    try:
        content = bytes.fromhex("".join(texts))
    except ValueError:
        return None
    # fromhex passes over spaces.
    if len(content) != 8 * len(texts):
        return None
    hashes: list[int] = np.frombuffer(content, ">i8").tolist()
    return hashes


def _all_decimal(texts: list[str]) -> Sequence[int] | None:
    """Return the hashes if every one is a number of 64 bits, signed or unsigned."""
    if "" in texts or not _DECIMALS.fullmatch("".join(texts)):
        return None
    try:
        numbers = list(map(int, texts))
    except ValueError:
        return None
    if min(numbers) < -_SIGN or max(numbers) >= 2 * _SIGN:
        return None
    if max(numbers) < _SIGN:
        return numbers
    return [number - 2 * _SIGN if number >= _SIGN else number for number in numbers]


def _hex_value(text: str) -> int:
    if not _HEX.fullmatch(text):
        raise ValueError("not 16 hex digits")
    value = int(text, 16)
    return value - 2 * _SIGN if value >= _SIGN else value


def _decimal_value(text: str) -> int:
    if not _DECIMAL.fullmatch(text) or not -_SIGN <= int(text) < 2 * _SIGN:
        raise ValueError("not a whole number of 64 bits")
    value = int(text)
    return value - 2 * _SIGN if value >= _SIGN else value
