"""Files of hashes that somebody else made -> checked rows: CSV, or Parquet through pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, decimal_value, hex_value, number_value
from imgdb.ingest.tables import csv_columns
from imgdb.ingest.tables.bad_lines import Complaints
from imgdb.paths import LONGEST

NAMES = ("path", "id")
PARQUET_SUFFIXES = (".parquet", ".pq")
ROWS = 5000  # of a Parquet file at a time


Parser = Callable[[str], int]
Column = Sequence[str | int | None]
# The numbers of the lines, and columns by name.
Chunk = tuple[Sequence[int], dict[str, Column]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked rows, column by column: signed hashes, of which each row has one at least."""

    lines: Sequence[int]
    names: Sequence[str]
    hashes: dict[str, Sequence[int | None]]


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
            numbers = range(line, line + batch.num_rows)
            yield numbers, {name: batch.column(name).to_pylist() for name in wanted}
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
    for at, known in enumerate(zip(*hashes.values(), strict=True)):
        if known.count(None) == len(known):
            bad.setdefault(at, "no hash")
    rows = Rows(lines, names, hashes)
    if not bad:
        return rows
    for at in sorted(bad):
        complaints.add(lines[at], bad[at])
    good = [at for at in range(len(lines)) if at not in bad]
    return Rows(
        [lines[at] for at in good],
        [names[at] for at in good],
        {name: [column[at] for at in good] for name, column in hashes.items()},
    )


def _names(values: Column, column: str, bad: dict[int, str]) -> Sequence[str]:
    """Return the texts; those that PostgreSQL or an index cannot hold are bad."""
    texts = ["" if value is None else str(value) for value in values]
    for at, text in enumerate(texts):
        if not text:
            bad[at] = f"no {column}"
        elif "\0" in text or (size := _utf8_size(text)) is None:
            bad[at] = f"{column} is no text in UTF-8: {text!a}"
        elif size > LONGEST:
            bad[at] = f"{column} is longer than {LONGEST:,} bytes: {text[:40]!a}"
    return texts


def _utf8_size(text: str) -> int | None:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def _hashes(
    values: Column, column: str, parsers: dict[str, Parser], bad: dict[int, str]
) -> Sequence[int | None]:
    """Return the signed hashes of a column: numbers, or texts that are all hex or all decimal."""
    if column not in parsers and (texts := [value for value in values if isinstance(value, str)]):
        # Of a thousand decimals one has 16 digits.
        hexadecimal = 2 * sum(len(text) == 16 for text in texts) > sum(map(bool, texts))
        if any(texts):
            parsers[column] = hex_value if hexadecimal else decimal_value
    parse = parsers.get(column, decimal_value)
    found: list[int | None] = []
    for at, value in enumerate(values):
        try:
            if value is None or value == "":
                found.append(None)
            elif type(value) is int:
                found.append(number_value(value))
            else:
                found.append(parse(str(value)))
        except ValueError as error:
            bad.setdefault(at, f"{column} is {error}: {str(value)[:40]!a}")
            found.append(None)
    return found
