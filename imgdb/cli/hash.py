"""`imgdb hash`: the four hashes of files, without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.errors import PictureError
from imgdb.output import Format, Row, default_format, render

if TYPE_CHECKING:
    from imgdb.fingerprint import Fingerprint


def hash_files(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Pictures to hash.")],
    format: Annotated[
        Format | None,
        typer.Option(help="Default: table on a terminal, json in a pipe."),
    ] = None,
) -> None:
    """Print the four hashes of pictures, in hex as imagehash prints them and as stored."""
    from imgdb.fingerprint import fingerprint
    from imgdb.loader import explain, path_text

    format = format or default_format()
    rows: list[Row] = []
    failed = 0
    for file in files:
        name = path_text(file)
        try:
            found = fingerprint(file)
        except PictureError as error:
            failed += 1
            typer.echo(f"imgdb: {name}: {explain(error)}", err=True)
        else:
            rows += _four_rows(name, found) if format is Format.table else [_one_row(name, found)]
    render(rows, _FOUR_ROWS if format is Format.table else _one_row_columns(), format)
    if failed:
        raise typer.Exit(1 if failed == len(files) else 3)


# A screen has no room for eight hashes side by side; a program wants one object for each file.
_FOUR_ROWS = ("path", "space", "hex", "bigint", "flat")


def _four_rows(name: str, found: Fingerprint) -> list[Row]:
    from imgdb.hashing import ALGORITHMS, to_hex

    hashes = [(space, getattr(found, space)) for space in ALGORITHMS]
    rows: list[Row] = [("", space, to_hex(value), value, "") for space, value in hashes]
    return [(name, *rows[0][1:-1], found.flat), *rows[1:]]


def _one_row_columns() -> tuple[str, ...]:
    from imgdb.hashing import ALGORITHMS

    return ("path", *ALGORITHMS, *(f"{name}_bigint" for name in ALGORITHMS), "flat")


def _one_row(name: str, found: Fingerprint) -> Row:
    from imgdb.hashing import ALGORITHMS, to_hex

    values = [getattr(found, space) for space in ALGORITHMS]
    return (name, *map(to_hex, values), *values, found.flat)
