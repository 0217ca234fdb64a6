"""The columns of a CSV file, many lines at a time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TextIO

from imgdb.ingest.tables.bad_lines import Complaints

LINES = 5000  # at a time

_LINE_BREAK = re.compile(r"\r\n|\r|\n")

# The lines in which rows end, and the columns.
Chunk = tuple[Sequence[int], Sequence[Sequence[str]]]


def header(file: TextIO) -> tuple[list[str], int]:
    """Return the names of the columns, and how many lines they take."""
    reader = csv.reader(file, strict=True)
    names = [name.strip() for name in next(reader, [])]
    return names, reader.line_num


def chunks(file: TextIO, width: int, before: int, complaints: Complaints) -> Iterator[Chunk]:
    """Yield all rows of `width` columns behind the first lines; `complaints` gets the others."""
    reader = csv.reader(file, strict=True)
    ended = False
    while not ended:
        start = reader.line_num
        rows: list[list[str]] = []
        try:
            for row in islice(reader, LINES):
                rows.append(row)
        except csv.Error as error:
            complaints.add(before + reader.line_num, f"no CSV from here on: {error}")
            ended = True
        ended = ended or not rows
        numbers: Sequence[int] = range(before + start + 1, before + start + 1 + len(rows))
        if reader.line_num - start != len(rows) or set(map(len, rows)) != {width}:
            numbers, rows = _of_width(width, rows, before + start, complaints)
        if rows:
            yield numbers, list(zip(*rows, strict=True))


def _of_width(
    width: int, rows: list[list[str]], line: int, complaints: Complaints
) -> tuple[list[int], list[list[str]]]:
    numbers, whole = [], []
    for row in rows:
        line += 1 + sum(len(_LINE_BREAK.findall(cell)) for cell in row)
        if len(row) == width:
            numbers.append(line)
            whole.append(row)
        elif row:
            complaints.add(line, f"{len(row)} columns instead of {width}")
    return numbers, whole
