"""`imgdb import` and `imgdb export`: hashes in bulk."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from imgdb.cli.compact import compact_after
from imgdb.cli.options import Dsn, FormatOption, collection_option
from imgdb.cli.output import print_facts
from imgdb.errors import UsageError
from imgdb.words import printable

COUNTS = ("added", "updated", "unchanged")


class TableFormat(StrEnum):
    """The shapes that `imgdb export` writes."""

    csv = "csv"
    parquet = "parquet"


def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV file, or Parquet by its suffix: a column path or id, and any of the four "
            "hashes.",
            exists=True,
            dir_okay=False,
        ),
    ],
    collection: Annotated[str, collection_option("Where the hashes go; a new one is made.")],
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Store hashes that are made already, from CSV or Parquet.

    Hashes are 16 hex digits or 64-bit numbers. A file with a bad line is not imported at all.
    """
    from imgdb.cli import progress
    from imgdb.database.connect import open_database
    from imgdb.ingest.tables.bad_lines import BadLines
    from imgdb.ingest.tables.importing import import_hashes

    try:
        with open_database(dsn) as conn:
            with progress.bar() as bar:
                done = import_hashes(conn, file, collection=collection, watching=bar.update)
            compact_after(conn, done.added + done.updated)
    except BadLines as error:
        for line in error.told:
            typer.echo(f"imgdb: {printable(line)}", err=True)
        raise
    print_facts({name: getattr(done, name) for name in COUNTS}, format)


def export(
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    format: Annotated[
        TableFormat, typer.Option(help="csv has the hashes in hex, parquet has them as integers.")
    ] = TableFormat.csv,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file to write. Default: stdout.",
            dir_okay=False,
        ),
    ] = None,
    dsn: Dsn = None,
) -> None:
    """Write the images with their hashes as CSV or Parquet.

    `imgdb import` can read it.
    """
    from imgdb.atomic import replacing
    from imgdb.database.connect import open_database
    from imgdb.ingest.tables.exporting import export_csv, export_parquet

    write = export_parquet if format is TableFormat.parquet else export_csv
    if output is None:
        if format is TableFormat.parquet and sys.stdout.isatty():
            raise UsageError("Parquet is nothing for a terminal: give --output FILE")
        with open_database(dsn) as conn:
            write(conn, sys.stdout.buffer, collection)
        return
    with replacing(output) as file, open_database(dsn) as conn:
        write(conn, file, collection)
