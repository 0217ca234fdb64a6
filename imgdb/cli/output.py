"""How commands print data: a table on a terminal, lines in a pipe, JSON or CSV when asked.

docs/output.md has the contract. A command that prints rows gives them to `print_rows`, and one that
prints facts about a single thing gives them to `print_facts`.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from imgdb.words import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


class Format(StrEnum):
    """The shapes that `--format` offers."""

    table = "table"
    lines = "lines"
    json = "json"
    csv = "csv"


Row = Sequence[object]


def default_format(file: TextIO | None = None) -> Format:
    """Return table for a terminal; for a pipe or a file lines: the same rows, made plain."""
    file = file or sys.stdout
    return Format.table if file.isatty() else Format.lines


def print_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    format: Format | None = None,
    file: TextIO | None = None,
    *,
    paths: str | None = None,
) -> None:
    """Print rows to `file`, default stdout; a table and CSV have the names of the columns above.

    JSON is a list of objects with the columns as keys. Lines have a tab between two columns and no
    names. `paths` names the column that holds paths as they are spelled: a table makes links of
    them and leaves out their middle where the screen is too narrow, or, where the terminal draws no
    links, shows them in full.
    """
    file = file or sys.stdout
    format = format or default_format(file)
    if format is Format.json:
        print_object([dict(zip(columns, row, strict=True)) for row in rows], file)
    elif format is Format.csv:
        _render_csv(rows, columns, file)
    elif format is Format.lines:
        _render_lines(rows, file)
    else:
        _render_table(rows, columns, file, paths)


def print_facts(facts: Mapping[str, object], format: Format | None = None) -> None:
    """Print what is known of one thing: an object in JSON, one row in CSV, else a line for each."""
    format = format or default_format()
    if format is Format.json:
        print_object(facts)
    elif format is Format.csv:
        print_rows([tuple(facts.values())], tuple(facts), format)
    else:
        print_rows(list(facts.items()), ("what", "value"), format)


def print_object(value: object, file: TextIO | None = None) -> None:
    """Print one value as JSON: dates in ISO 8601, bytes in hex."""
    # ASCII only: valid in every encoding of a pipe, and lone surrogates survive.
    print(json.dumps(value, indent=2, default=_plain), file=file or sys.stdout)


def print_line(value: object, file: TextIO | None = None) -> None:
    """Print one value as JSON on a line of its own, for output that goes on and on."""
    print(json.dumps(value, default=_plain), file=file or sys.stdout)


def _render_lines(rows: Iterable[Row], file: TextIO) -> None:
    for row in rows:
        cells = (_encodable(printable(_plain_text(value)), file) for value in row)
        print("\t".join(cells), file=file)


def _render_csv(rows: Iterable[Row], columns: Sequence[str], file: TextIO) -> None:
    writer = csv.writer(file, lineterminator="\n")
    # Python before 3.13 does not quote a carriage return, which ends a line to others.
    careful = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(columns)
    for row in rows:
        cells = [_encodable(_csv_cell(value), file) for value in row]
        (careful if any("\r" in cell for cell in cells) else writer).writerow(cells)


def _plain_text(value: object) -> str:
    """Spell a value for a program: nothing for None, true and false, dates in ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return json.dumps(value)
    return value if isinstance(value, str) else str(_plain(value))


def _csv_cell(value: object) -> str:
    if not isinstance(value, str):
        return _plain_text(value)
    # A file may be called `=HYPERLINK(...)`; behind this sign a spreadsheet takes it for text.
    return f"'{value}" if len(value) > 1 and value.startswith(_FORMULA) else value


# With these a spreadsheet takes a text for a formula, quoted or not.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _render_table(
    rows: Iterable[Row], columns: Sequence[str], file: TextIO, paths: str | None
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
    place = None if paths is None else columns.index(paths)
    if place is not None:
        for line in cells:
            line[place] = near_path(line[place])
        # Folding every cell on a narrow screen would leave nothing to be read.
        width = _fit_column(cells, columns, place, console)
        # With a height: to rich, a dumb terminal has 80 columns whatever it is told otherwise.
        console = Console(file=file, highlight=False, width=width, height=console.height)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(columns):
        numbers = all(isinstance(row[position], int | float | None) for row in body)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row, line in zip(body, cells, strict=True):
        # Text, not str: brackets in a file name are no markup.
        texts = [Text(cell) for cell in line]
        if place is not None:
            texts[place] = _linked(line[place], row[place])
        table.add_row(*texts)
    console.print(table)


def near_path(path: str) -> str:
    """Spell a path below the working directory as a person there would."""
    from imgdb.paths import path_text

    return path.removeprefix(path_text(Path.cwd()).rstrip("/") + "/")


def _linked(cell: str, path: object) -> Text:
    """Return a path as it is shown, as a link to the file where the terminal can draw one."""
    from rich.style import Style
    from rich.text import Text

    from imgdb.errors import UsageError
    from imgdb.paths import path_from_text

    try:
        # What was imported need be no path, and a file in an archive has no address.
        link = Path(path_from_text(str(path))).as_uri() if str(path).startswith("/") else None
    except (UsageError, ValueError):
        link = None
    return Text(cell, style=Style(link=link))


_GAP = 2  # cells between two columns
_NARROWEST = 16


def _fit_column(
    cells: list[list[str]], columns: Sequence[str], position: int, console: Console
) -> int:
    """Shorten the cells of a column of links to fit the screen; return the width that is needed."""
    from rich.cells import cell_len

    others = [
        max(cell_len(text) for text in (name, *(line[place] for line in cells))) + _GAP
        for place, name in enumerate(columns)
        if place != position
    ]
    width = max(console.width - sum(others), _NARROWEST)
    if console.color_system is None:  # no links: a path that is copied must be whole
        width = max(width, *(cell_len(line[position]) for line in cells))
    for line in cells:
        if cell_len(line[position]) > width:
            line[position] = _without_middle(line[position], width)
    return max(console.width, width + sum(others))


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
