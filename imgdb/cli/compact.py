"""`imgdb space compact`, and what large runs compact when they are done."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.options import Dsn, FormatOption, SpaceArgument
from imgdb.cli.output import Format, default_format, print_rows
from imgdb.words import byte_count

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import Diagnostic


def compact_command(
    space: SpaceArgument = None,
    full: Annotated[
        bool | None,
        typer.Option(
            "--full/--no-full",
            help="Give free room back to the disk (VACUUM FULL). Searches and writers wait for "
            "it. Default: only if nobody else is connected.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Merge the hashes that ingest appended, for faster searches.

    The database also becomes smaller: hashes that no row has any more are dropped. Searches and
    writers go on meanwhile, except with --full. A role that looks after spaces of its own compacts
    these. The sizes are those of the table and its index.
    """
    from imgdb.database.compaction import Compacted, compact
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import own_spaces

    with open_database(dsn) as conn:
        names = [space] if space else own_spaces(conn)
        conn.add_notice_handler(_pass_on)
        if full:
            typer.echo("imgdb: searches and writers wait until VACUUM FULL is done", err=True)
        done = compact(conn, names, full=full)
    format = format or default_format()
    if format is not Format.table:
        print_rows([astuple(one) for one in done], [f.name for f in fields(Compacted)], format)
        return
    rows = [
        (
            one.space,
            f"{one.rows_before} -> {one.rows_after}",
            f"{byte_count(one.bytes_before)} -> {byte_count(one.bytes_after)}",
            one.seconds,
        )
        for one in done
    ]
    print_rows(rows, ("space", "bucket rows", "size", "seconds"), format)


# Runs that bring fewer hardly change how a space is stored, and looking takes a while.
LARGE = 1000


def compact_after(conn: psycopg.Connection[Any], added: int) -> None:
    """Compact what a large run left fragmented, and say so."""
    from psycopg.errors import InsufficientPrivilege

    from imgdb.database.compaction import fragmented, merge

    if added < LARGE:
        return
    try:
        if names := fragmented(conn):
            told = ", ".join(names)
            typer.echo(f"imgdb: compacting {told}, for faster searches", err=True)
            merge(conn, names)
    except InsufficientPrivilege:
        # A role that may add images need not be allowed to look after the spaces.
        typer.echo("imgdb: let the owner of schema imgdb run imgdb space compact", err=True)


def _pass_on(notice: Diagnostic) -> None:
    """Tell what the server warns of: it skips a VACUUM that it does not permit."""
    if notice.severity_nonlocalized == "WARNING":
        typer.echo(f"imgdb: {notice.message_primary}", err=True)
