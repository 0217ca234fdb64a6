"""The columns of a CSV file, many lines at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TextIO

from imgdb.errors import UsageError
from imgdb.hashes.values import is_pdq
from imgdb.ingest.tables.bad_lines import Complaints

LINES = 5000  # at a time
DELIMITERS = (",", ";", "\t")
LONGEST_HEADER = 100  # lines
# What Meta's programs print, a line for each picture: the hash, then its quality, then the file.
PDQ_LIST = ("pdq", "pdq_quality", "path")

_LINE_BREAK = re.compile(r"\r\n|\r|\n")

# The lines in which rows end, and the columns.
Chunk = tuple[Sequence[int], Sequence[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Header:
    """The names of the columns, how many lines they take, and what is between two columns."""

    names: list[str]
    lines: int
    delimiter: str = ","
    # Lines that were read for it and belong to the rows.
    again: tuple[str, ...] = ()


def header(file: TextIO) -> Header:
    """Read the names of the columns, and see by most of them what is between two.

    A list of PDQ hashes has none. UsageError where that is no line of CSV.
    """
    lines = [file.readline()]
    for delimiter in DELIMITERS:
        first = lines[0].strip().split(delimiter)
        if len(first) <= len(PDQ_LIST) and is_pdq(first[0]):
            return Header([*PDQ_LIST[: len(first)]], 0, delimiter, (lines[0],))
    # A name may hold a line break: the line ends where no quote is open.
    while sum(line.count('"') for line in lines) % 2 and len(lines) < LONGEST_HEADER:
        lines.append(file.readline())
    found, wrong = [], None
    for delimiter in DELIMITERS:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
        except csv.Error as error:  # for one of them a quoted name may go on behind its quote
            wrong = wrong or error
        else:
            found.append(Header(names, reader.line_num, delimiter))
    if not found:
        raise UsageError(f"the first line is no CSV: {wrong}")
    return max(found, key=lambda one: len(one.names))


def chunks(file: TextIO, head: Header, complaints: Complaints) -> Iterator[Chunk]:
    """Yield all rows behind the header as columns; `complaints` gets those of another width."""
    width, before = len(head.names), head.lines
    lines = chain(head.again, file)
    reader = csv.reader(lines, delimiter=head.delimiter, strict=True)
    ended = False
    while not ended:
        start = reader.line_num
        rows: list[list[str]] = []
        try:
            for row in islice(reader, LINES):
                rows.append(row)
        except csv.Error as error:
            # The row that it is in begins behind the last good one; a quote that nobody closes
            # would blame the last line of the file.
            line = before + start + sum(map(_lines_of, rows)) + 1
            complaints.add(line, f"no CSV from here on: {error}")
            ended = True
        ended = ended or not rows
        numbers: Sequence[int] = range(before + start + 1, before + start + 1 + len(rows))
        if reader.line_num - start != len(rows) or set(map(len, rows)) != {width}:
            numbers, rows = _of_width(width, rows, before + start, complaints)
        if rows:
            yield numbers, list(zip(*rows, strict=True))


def _lines_of(row: list[str]) -> int:
    return 1 + sum(len(_LINE_BREAK.findall(cell)) for cell in row)


def _of_width(
    width: int, rows: list[list[str]], line: int, complaints: Complaints
) -> tuple[list[int], list[list[str]]]:
    numbers, whole = [], []
    for row in rows:
        line += _lines_of(row)
        if len(row) == width:
            numbers.append(line)
            whole.append(row)
        elif row:
            complaints.add(line, f"{len(row)} columns instead of {width}")
    return numbers, whole
