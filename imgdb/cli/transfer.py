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
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSON Lines or Parquet, plain or packed by gzip; - is stdin. It has a column "
            "path or id, and any of the four hashes, or PDQ. Or a list of PDQ hashes, one a line.",
        ),
    ],
    collection: Annotated[
        str | None,
        collection_option(
            "Where the hashes go; a new one is made. An export of imgdb knows it already."
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME=COLUMN",
            help="The column that holds the path, the id or a hash, if it is called otherwise: "
            "phash=hash. It can be given several times.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Store hashes that are made already: CSV, JSON, Parquet.

    What imgdb export has written comes back as a whole: files, regions, PDQ hashes, marks. Hashes
    are 16 hex digits, with 0x or without, or 64-bit numbers, signed or not. Columns of CSV are
    separated by commas, semicolons or tabs. A file with a bad line is not imported at all.
    """
    from imgdb.cli import progress
    from imgdb.database.connect import open_database
    from imgdb.ingest.tables.bad_lines import BadLines
    from imgdb.ingest.tables.importing import import_hashes
    from imgdb.ingest.tables.naming import read_given

    columns = read_given(given or [])
    try:
        with open_database(dsn) as conn:
            with progress.bar() as bar:
                done = import_hashes(
                    conn, file, collection=collection, columns=columns, watching=bar.update
                )
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
    """Write all that is known of images as CSV or Parquet.

    `imgdb import` makes the same images of it in another database.
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
