"""Tables of hashes that somebody else made -> checked rows: CSV, JSON Lines, Parquet."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TextIO

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, decimal_value, hex_value, number_value
from imgdb.ingest.tables import csv_columns, exported, json_lines
from imgdb.ingest.tables.bad_lines import Complaints
from imgdb.ingest.tables.naming import HASHES, find_columns
from imgdb.ingest.tables.opening import is_json, is_parquet, open_table
from imgdb.paths import LONGEST

ROWS = 5000  # of a Parquet file at a time


Parser = Callable[[str], int]
Column = Sequence[object]
# The numbers of the lines, and columns by name.
Chunk = tuple[Sequence[int], dict[str, Column]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Checked rows, column by column: signed hashes, and of an export all that it says."""

    lines: Sequence[int]
    names: Sequence[str]
    columns: dict[str, Sequence[object]]


def read(
    file: str, complaints: Complaints, given: Mapping[str, str] | None = None
) -> Iterator[Rows]:
    """Yield the good rows of a file, `-` for stdin; the bad ones go to `complaints`.

    `given` says for path, id and hashes which column holds them. Raises UsageError for a file that
    cannot be read as a table with the columns that it takes.
    """
    parsers: dict[str, Parser] = {}
    with open_table(file) as opened:
        if is_parquet(opened) or file.lower().endswith((".parquet", ".pq")):
            found = _parquet(file, opened, given or {})
        else:
            # utf-8-sig: spreadsheets put a mark before the first name. Bytes that are no UTF-8 are
            # found again, with their line, when the names are checked.
            as_json = is_json(opened)
            text = io.TextIOWrapper(opened, "utf-8-sig", errors="surrogateescape", newline="")
            rows = _json if as_json else _csv
            found = rows(text, complaints, given or {})
        for lines, columns in found:
            yield _checked(lines, columns, parsers, complaints)


def _csv(file: TextIO, complaints: Complaints, given: Mapping[str, str]) -> Iterator[Chunk]:
    head = csv_columns.header(file)
    wanted = {name: head.names.index(c) for name, c in find_columns(head.names, given).items()}
    for numbers, columns in csv_columns.chunks(file, head, complaints):
        yield numbers, {name: columns[at] for name, at in wanted.items()}


def _json(file: TextIO, complaints: Complaints, given: Mapping[str, str]) -> Iterator[Chunk]:
    columns: dict[str, str] = {}
    for numbers, objects in json_lines.object_chunks(file, complaints):
        # An object need not have all hashes, so what the first of them have decides.
        known = dict.fromkeys(name for one in objects for name in one)
        columns = columns or find_columns([*known], given)
        missing = [name for name in HASHES if name not in columns]
        names = columns | {name: name for name in missing}
        found: dict[str, Column] = {
            name: [one.get(column) for one in objects] for name, column in names.items()
        }
        yield numbers, found


def _parquet(file: str, opened: IO[bytes], given: Mapping[str, str]) -> Iterator[Chunk]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("Parquet needs the package pyarrow: pip install pyarrow") from None
    try:
        # Its list of contents is at the end.
        table = pq.ParquetFile(opened if opened.seekable() else io.BytesIO(opened.read()))
        wanted = find_columns(table.schema_arrow.names, given)
        line = 1
        for batch in table.iter_batches(ROWS, columns=[*wanted.values()]):
            numbers = range(line, line + batch.num_rows)
            yield numbers, {name: batch.column(c).to_pylist() for name, c in wanted.items()}
            line += batch.num_rows
    except pa.ArrowException as error:
        raise UsageError(f"cannot read {file} as Parquet: {error}") from error


def _checked(
    lines: Sequence[int],
    columns: dict[str, Column],
    parsers: dict[str, Parser],
    complaints: Complaints,
) -> Rows:
    bad: dict[int, str] = {}
    name, *others = columns
    names = _names(columns[name], name, bad)
    checked: dict[str, Sequence[object]] = {}
    for column in others:
        if column in ALGORITHMS:
            checked[column] = _hashes(columns[column], column, parsers, bad)
        else:
            checked[column] = exported.values(columns[column], column, bad)
    if "recipe" in checked:
        exported.check_rows(checked, bad)
    else:
        hashes = [checked[column] for column in others if column in HASHES]
        for at, known in enumerate(zip(*hashes, strict=True)):
            if known.count(None) == len(known):
                bad.setdefault(at, "no hash")
    rows = Rows(lines, names, checked)
    if not bad:
        return rows
    for at in sorted(bad):
        complaints.add(lines[at], bad[at])
    good = [at for at in range(len(lines)) if at not in bad]
    return Rows(
        [lines[at] for at in good],
        [names[at] for at in good],
        {name: [column[at] for at in good] for name, column in checked.items()},
    )


_SAYS_HEX = ("0x", "0X")


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
        undecided = [text for text in texts if text and not text.startswith(_SAYS_HEX)]
        if undecided:
            hexadecimal = 2 * sum(len(text) == 16 for text in undecided) > len(undecided)
            parsers[column] = hex_value if hexadecimal else decimal_value
    parse = parsers.get(column, decimal_value)
    found: list[int | None] = []
    for at, value in enumerate(values):
        try:
            if value is None or value == "":
                found.append(None)
            elif type(value) is int:
                found.append(number_value(value))
            elif isinstance(value, str) and value.startswith(_SAYS_HEX):
                found.append(hex_value(value[2:]))
            else:
                found.append(parse(str(value)))
        except ValueError as error:
            bad.setdefault(at, f"{column} is {error}: {str(value)[:40]!a}")
            found.append(None)
    return found
