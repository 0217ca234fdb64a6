"""`imgdb check`, `rebuild` and `compact`: look after the spaces."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.completion.names import space_names
from imgdb.cli.options import Dsn, FormatOption
from imgdb.cli.output import Format, default_format, print_rows
from imgdb.words import byte_count

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import Diagnostic

SpaceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SPACE", help="The space; all of them if none is named.", autocompletion=space_names
    ),
]


def check_command(
    space: SpaceArgument = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many searches to try in each space.")
    ] = 100,
    max_distance: Annotated[
        int, typer.Option(metavar="BITS", min=0, max=64, help="How far these searches reach.")
    ] = 8,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Prove that searches find everything, on your own data.

    Searches drawn from the space are answered twice, by the prefix buckets and by reading every
    hash: a mismatch is a difference. Every hash of a tracked column must stand in its buckets:
    those that do not are missing. Exit code 1 if anything is wrong.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import check, spaces

    rows = []
    damaged = []
    with open_database(dsn) as conn:
        for name in [space] if space else [known.name for known in spaces(conn)]:
            found = check(conn, name, samples=samples, max_distance=max_distance)
            rows.append((name, *astuple(found), found.sound))
            if not found.sound:
                damaged.append(name)
    print_rows(rows, ("space", "sampled", "mismatches", "missing", "sound"), format)
    for name in damaged:
        typer.echo(f"imgdb: space {name} is damaged: mend it with imgdb rebuild {name}", err=True)
    if damaged:
        raise typer.Exit(1)


def rebuild_command(
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="The space.", autocompletion=space_names)
    ],
    dsn: Dsn = None,
) -> None:
    """Make a space anew from its tracked columns. Writers to their tables wait meanwhile."""
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import rebuild

    with open_database(dsn) as conn:
        seconds = rebuild(conn, space)
    typer.echo(f"imgdb: space {space} rebuilt in {seconds:.1f} s", err=True)


def compact_command(
    space: SpaceArgument = None,
    full: Annotated[
        bool | None,
        typer.Option(
            "--full/--no-full",
            help="Give the room back to the disk (VACUUM FULL), for which searches and writers "
            "wait. Default: only while nobody else is connected.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Merge what ingest appended, for faster searches.

    The database becomes smaller, too: hashes that no row holds any more are dropped. Searches and
    writers go on meanwhile, but for --full. Sizes are those of table and index.
    """
    from imgdb.database.compaction import Compacted, compact
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import spaces

    with open_database(dsn) as conn:
        names = [space] if space else [known.name for known in spaces(conn)]
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
        # Whoever may add images need not be allowed to look after the spaces.
        typer.echo("imgdb: let the owner of schema imgdb run imgdb compact", err=True)


def _pass_on(notice: Diagnostic) -> None:
    """Tell what the server warns of: it skips a VACUUM that it does not permit."""
    if notice.severity_nonlocalized == "WARNING":
        typer.echo(f"imgdb: {notice.message_primary}", err=True)
