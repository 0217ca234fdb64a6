"""Files of hashes that somebody else made -> checked rows: CSV, or Parquet through pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, all_decimal, all_hex, decimal_value, hex_value
from imgdb.ingest.tables import csv_columns
from imgdb.ingest.tables.bad_lines import Complaints
from imgdb.paths import LONGEST

NAMES = ("path", "id")
PARQUET_SUFFIXES = (".parquet", ".pq")
ROWS = 5000  # of a Parquet file at a time


Value = str | int | None
Parser = Callable[[str], int]
# The numbers of the lines, and columns by name: hashes may be numbers in an array.
Column = Sequence[Value] | NDArray[Any]
Chunk = tuple[Sequence[int], dict[str, Column]]


@dataclass(frozen=True, slots=True)
class HashColumn:
    """Signed hashes, one for each row; a row that is not `known` has none, and 0 stands there."""

    values: NDArray[np.int64]
    known: NDArray[np.bool_]

    def at(self, places: list[int]) -> HashColumn:
        """Return those of some rows."""
        return HashColumn(self.values[places], self.known[places])


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked rows, column by column; one of the four hashes at least is known in each row.

    The names are in UTF-8.
    """

    lines: NDArray[np.int64]
    names: Sequence[bytes]
    hashes: dict[str, HashColumn]


def read(path: Path, complaints: Complaints) -> Iterator[Rows]:
    """Yield the good rows of a file; the bad ones go to `complaints`.

    Raises UsageError for a file that cannot be read as a table with the columns that it takes.
    """
    chunks = _parquet(path) if path.suffix.lower() in PARQUET_SUFFIXES else _csv(path, complaints)
    parsers: dict[str, Parser] = {}
    for lines, columns in chunks:
        yield _checked(lines, columns, parsers, complaints)


def _csv(path: Path, complaints: Complaints) -> Iterator[Chunk]:
    # utf-8-sig: spreadsheets put a mark before the first name. Bytes that are no UTF-8 are found
    # again, with their line, when the names are checked.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header, lines = csv_columns.header(file)
        wanted = _wanted(header)
        for numbers, columns in csv_columns.chunks(file, len(header), lines, complaints):
            yield numbers, {name: columns[at] for name, at in wanted.items()}


def _parquet(path: Path) -> Iterator[Chunk]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("Parquet needs the package pyarrow: pip install pyarrow") from None
    try:
        file = pq.ParquetFile(path)
        wanted = list(_wanted(file.schema_arrow.names))
        line = 1
        for batch in file.iter_batches(ROWS, columns=wanted):
            columns = {name: batch.column(name) for name in wanted}
            yield (
                range(line, line + batch.num_rows),
                {
                    name: column.to_numpy()
                    if pa.types.is_integer(column.type) and not column.null_count
                    else column.to_pylist()
                    for name, column in columns.items()
                },
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
    lines: Sequence[int],
    columns: dict[str, Column],
    parsers: dict[str, Parser],
    complaints: Complaints,
) -> Rows:
    bad: dict[int, str] = {}
    name, *hash_names = columns
    names = _names(columns[name], name, bad)
    hashes = {column: _hashes(columns[column], column, parsers, bad) for column in hash_names}
    some = np.logical_or.reduce([column.known for column in hashes.values()])
    for at in np.flatnonzero(~some).tolist():
        bad.setdefault(at, "no hash")
    rows = Rows(np.asarray(lines, np.int64), names, hashes)
    if not bad:
        return rows
    for at in sorted(bad):
        complaints.add(lines[at], bad[at])
    good = [at for at in range(len(lines)) if at not in bad]
    return Rows(
        rows.lines[good],
        [names[at] for at in good],
        {name: column.at(good) for name, column in hashes.items()},
    )


def _names(values: Column, column: str, bad: dict[int, str]) -> Sequence[bytes]:
    """Check that each is text that PostgreSQL can hold, and give it in UTF-8."""
    texts = _texts(values)
    try:
        names = "\0".join(texts).encode().split(b"\0")
    except UnicodeEncodeError:
        names = []
    if len(names) != len(texts) or b"" in names:
        for at, text in enumerate(texts):
            if not text:
                bad[at] = f"no {column}"
            elif "\0" in text or not _is_utf8(text):
                bad[at] = f"{column} is no text in UTF-8: {text!a}"
        names = [text.encode("utf-8", "replace") for text in texts]
    if max(map(len, names), default=0) > LONGEST:
        for at in [at for at, name in enumerate(names) if len(name) > LONGEST]:
            bad.setdefault(at, f"{column} is longer than {LONGEST:,} bytes: {texts[at][:40]!a}")
    return names


def _texts(values: Column) -> Sequence[str]:
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if set(map(type, values)) == {str}:
        return cast(Sequence[str], values)
    return ["" if value is None else str(value) for value in values]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hashes(
    values: Column, column: str, parsers: dict[str, Parser], bad: dict[int, str]
) -> HashColumn:
    """Return the signed hashes of a column: all of them hex, or all of them decimal."""
    if isinstance(values, np.ndarray):
        # Unsigned ones of 64 bits wrap around, as they should.
        return HashColumn(values.astype(np.int64), np.ones(len(values), bool))
    texts = _texts(values)
    if column not in parsers and any(texts):
        # Of a thousand decimals one has 16 digits.
        hexadecimal = 2 * sum(len(text) == 16 for text in texts) > sum(map(bool, texts))
        parsers[column] = hex_value if hexadecimal else decimal_value
    parse = parsers.get(column, hex_value)
    fast = all_hex(texts) if parse is hex_value else all_decimal(texts)
    if fast is not None:
        return HashColumn(fast, np.ones(len(texts), bool))
    found = HashColumn(np.zeros(len(texts), np.int64), np.zeros(len(texts), bool))
    for at, text in enumerate(texts):
        try:
            if text:
                found.values[at], found.known[at] = parse(text), True
        except ValueError as error:
            bad.setdefault(at, f"{column} is {error}: {text[:40]!a}")
    return found
