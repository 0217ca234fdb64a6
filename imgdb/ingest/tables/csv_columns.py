"""The columns of a CSV file, many lines at a time.

Lines without quotes are split at their commas, in a third of the time that the csv module takes;
from the first quote on it reads the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from itertools import chain, islice
from typing import TextIO

from imgdb.ingest.tables.bad_lines import Complaints

# Characters and lines at a time. More take longer by the line: they leave the caches, and Python
# looks for garbage in them.
CHUNK = 1 << 18
LINES = 5000

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
    while text := file.read(CHUNK):
        text += file.readline()
        columns = _split(text, width)
        if columns is None:
            yield from _parsed(chain(StringIO(text, newline=""), file), width, before, complaints)
            return
        count = len(columns[0])
        yield range(before + 1, before + 1 + count), columns
        before += count


def _split(text: str, width: int) -> list[list[str]] | None:
    """Return the columns of some lines, unless that takes more than splitting."""
    text = text.replace("\r\n", "\n").removesuffix("\n")
    if '"' in text or "\r" in text:
        return None
    # A cell for the end of each line: they come after `width` cells if every line has as many.
    cells = f"{text}\n".replace("\n", ",\n,").split(",")
    count = text.count("\n") + 1
    if len(cells) != count * (width + 1) + 1 or cells[width :: width + 1] != ["\n"] * count:
        return None
    return [cells[at : -1 : width + 1] for at in range(width)]


def _parsed(
    lines: Iterable[str], width: int, before: int, complaints: Complaints
) -> Iterator[Chunk]:
    reader = csv.reader(lines, strict=True)
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
