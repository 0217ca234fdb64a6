"""`imgdb matches`: what arrived near a hash that somebody watches."""

from __future__ import annotations

import sys
from dataclasses import asdict, astuple, fields
from typing import Annotated

import typer

from imgdb.cli.options import Dsn, FormatOption
from imgdb.cli.output import Format, print_line, print_rows
from imgdb.errors import UsageError


def matches_command(
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Go on, and print each match as it comes, until Ctrl-C. With --json each is an "
            "object on a line of its own.",
        ),
    ] = False,
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="Remove from the database what was printed."),
    ] = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show what arrived near hashes that are watched.

    imgdb.watch puts a hash on the watch list of a space, by SQL. A match stays until it is
    acknowledged. A match without a relation was there before, or came by imgdb.track or
    imgdb.catch_up. Join your table on the hash to see which rows have it.
    """
    from imgdb.database import watching
    from imgdb.database.connect import open_database

    if follow and format is Format.csv:
        raise UsageError("--follow prints lines, or objects with --json")
    names = [field.name for field in fields(watching.LiveMatch)]
    with open_database(dsn) as conn:
        steps = watching.follow_matches(conn) if follow else [watching.live_matches(conn)]
        for found in steps:
            if not follow:
                print_rows([astuple(one) for one in found], names, format)
            elif format is Format.json:
                for one in found:
                    print_line(asdict(one))
            else:
                print_rows([astuple(one) for one in found], names, Format.lines)
            # What nobody has got is not acknowledged.
            sys.stdout.flush()
            if acknowledge and found:
                watching.acknowledge(conn, found)
