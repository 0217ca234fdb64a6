"""How commands print data: a table for people, JSON or CSV for programs."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TextIO

from imgdb.words import printable


class Format(StrEnum):
    """The shapes that `--format` offers."""

    table = "table"
    json = "json"
    csv = "csv"


Row = Sequence[object]


def default_format(file: TextIO | None = None) -> Format:
    """Return table for a terminal, JSON for a pipe or a file."""
    file = file or sys.stdout
    return Format.table if file.isatty() else Format.json


def print_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    format: Format | None = None,
    file: TextIO | None = None,
    *,
    shorten: str | None = None,
) -> None:
    """Print rows under their column names to `file`, default stdout.

    JSON is a list of objects with the columns as keys. JSON and CSV never wrap, and they are valid
    with every value. `shorten` names the column whose middle a table leaves out where the screen
    is too narrow.
    """
    file = file or sys.stdout
    format = format or default_format(file)
    if format is Format.json:
        print_object([dict(zip(columns, row, strict=True)) for row in rows], file)
    elif format is Format.csv:
        _render_csv(rows, columns, file)
    else:
        _render_table(rows, columns, file, shorten)


def print_object(value: object, file: TextIO | None = None) -> None:
    """Print one value as JSON: dates in ISO 8601, bytes in hex."""
    # ASCII only: valid in every encoding of a pipe, and lone surrogates survive.
    print(json.dumps(value, indent=2, default=_plain), file=file or sys.stdout)


def _render_csv(rows: Iterable[Row], columns: Sequence[str], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    # Python before 3.13 does not quote a carriage return, which ends a line to others.
    careful = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        cells = [_encodable(_csv_cell(value), file) for value in row]
        (careful if any("\r" in cell for cell in cells) else writer).writerow(cells)


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return json.dumps(value)
    if not isinstance(value, str):
        return str(_plain(value))
    # A file may be called `=HYPERLINK(...)`; behind this sign a spreadsheet takes it for text.
    return f"'{value}" if len(value) > 1 and value.startswith(_FORMULA) else value


# With these a spreadsheet takes a text for a formula, quoted or not.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _render_table(
    rows: Iterable[Row], columns: Sequence[str], file: TextIO, shorten: str | None
) -> None:
    # Half of what `imgdb --help` would take otherwise.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    body = [list(row) for row in rows]
    if not body:
        return
    console = Console(file=file, highlight=False)
    cells = [[_encodable(_table_cell(value), file) for value in row] for row in body]
    if shorten is not None:
        # Folding every cell on a narrow screen would leave nothing to be read.
        console.width = _fit_column(cells, columns, columns.index(shorten), console.width)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        numbers = all(isinstance(row[position], int | float | None) for row in body)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for line in cells:
        # Text, not str: brackets in a file name are no markup.
        table.add_row(*map(Text, line))
    console.print(table)


_GAP = 2  # cells between two columns
_NARROWEST = 16


def _fit_column(cells: list[list[str]], columns: Sequence[str], position: int, screen: int) -> int:
    """Shorten the cells of one column to fit the screen; return the width that is needed."""
    from rich.cells import cell_len

    others = [
        max(cell_len(text) for text in (name, *(line[place] for line in cells))) + _GAP
        for place, name in enumerate(columns)
        if place != position
    ]
    width = max(screen - sum(others), _NARROWEST)
    for line in cells:
        if cell_len(line[position]) > width:
            line[position] = _without_middle(line[position], width)
    return max(screen, width + sum(others))


def _without_middle(text: str, width: int) -> str:
    """Leave out the middle: of a path the file name is kept whole if it fits."""
    from rich.cells import cell_len, chop_cells, set_cell_size

    gap = "\N{HORIZONTAL ELLIPSIS}"
    name = text[text.rfind("/") :]
    room = width - cell_len(gap + name)
    if name[0] == "/" and room >= 0:
        return f"{set_cell_size(text, room).rstrip()}{gap}{name}"
    start = set_cell_size(text, width // 3).rstrip()
    end = chop_cells(text[::-1], width - cell_len(start + gap))[0][::-1]
    return f"{start}{gap}{end}"


def _table_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return printable(value if isinstance(value, str) else str(_plain(value)))


def _encodable(text: str, file: TextIO) -> str:
    """Replace what the encoding of `file` cannot spell by escapes."""
    encoding = file.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    return value if isinstance(value, int | float) else str(value)
