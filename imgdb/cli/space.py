"""`imgdb space`: look after the spaces, and see how they are stored and searched."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Annotated

import typer

from imgdb.cli.compact import compact_command
from imgdb.cli.completion.names import space_names
from imgdb.cli.explain import explain_command, search_command
from imgdb.cli.help import Command, CommandGroup
from imgdb.cli.options import Dsn, FormatOption, SpaceArgument, offers_formats
from imgdb.cli.output import Format, default_format, print_rows
from imgdb.words import byte_count

space_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    cls=CommandGroup,
    help="Look after the spaces: the sets of hashes that searches read.",
)


def check_command(
    space: SpaceArgument = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many searches to try in each space.")
    ] = 100,
    max_distance: Annotated[
        int, typer.Option(metavar="BITS", min=0, max=64, help="The distance of these searches.")
    ] = 8,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="Mend triggers and index missing hashes first."),
    ] = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Prove that searches find everything, on your own data.

    Hashes of the space are searched for twice: by the prefix buckets, and by reading every hash. A
    mismatch is a difference between both answers. A hash of a tracked column is missing if its
    space lacks it. Triggers and tables that are not as they should be are told one by one. Exit
    code 1 if anything is wrong, 3 if a space belongs to another role and cannot be checked. A role
    that looks after spaces of its own checks these.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import catch_up, check, free_strays, own_spaces, tracking_problems
    from imgdb.errors import NotOwner

    rows = []
    damaged = []
    unchecked = False
    with open_database(dsn) as conn:
        for name in [space] if space else own_spaces(conn):
            try:
                if mend and (count := catch_up(conn, name)):
                    typer.echo(f"imgdb: indexed {count} missing hashes in {name}", err=True)
                found = check(conn, name, samples=samples, max_distance=max_distance)
            except NotOwner as error:
                unchecked = True
                typer.echo(f"imgdb: space {name} is not checked: {error}", err=True)
                continue
            rows.append((name, *astuple(found), found.sound))
            if not found.sound:
                damaged.append(name)
        if mend and not space:
            try:
                free_strays(conn)
            except NotOwner as error:
                typer.echo(f"imgdb: triggers are left: {error}", err=True)
        problems = tracking_problems(conn)
    print_rows(rows, ("space", "sampled", "mismatches", "missing", "sound"), format)
    for problem in problems:
        typer.echo(f"imgdb: {problem.relation} {problem.problem}", err=True)
    for name in damaged:
        typer.echo(
            f"imgdb: space {name} is damaged: mend it with imgdb space check --mend {name}, or "
            f"imgdb space rebuild {name}",
            err=True,
        )
    if damaged or problems:
        raise typer.Exit(1)
    if unchecked:
        raise typer.Exit(3)


def rebuild_command(
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="The space.", autocompletion=space_names)
    ],
    dsn: Dsn = None,
) -> None:
    """Make a space anew from its tracked columns.

    The bands become those that suit its size. Searches and writers go on; writers wait twice for a
    moment, while the triggers change.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import rebuild

    with open_database(dsn) as conn:
        seconds = rebuild(conn, space)
    typer.echo(f"imgdb: space {space} rebuilt in {seconds:.1f} s", err=True)


STORED = ("space", "hashes", "fresh", "bucket rows", "fragmentation", "size", "bytes per hash")


def stats_command(
    space: SpaceArgument = None, format: FormatOption = None, dsn: Dsn = None
) -> None:
    """Show how each space is stored.

    Fragmentation is the number of bucket rows for each row that is needed: 1 is compact.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.statistics import SpaceContent, space_contents

    with open_database(dsn) as conn:
        found = space_contents(conn, space)
    format = format or default_format()
    if format is not Format.table:
        columns = ("space", *(field.name for field in fields(SpaceContent)[1:]))
        print_rows([astuple(one) for one in found], columns, format)
        return
    rows = [
        (
            one.name,
            one.distinct_hashes,
            one.fresh_hashes,
            one.bucket_rows,
            one.fragmentation,
            byte_count(one.bytes),
            one.bytes_per_hash,
        )
        for one in found
    ]
    print_rows(rows, STORED, format)


for name, function in (
    ("check", check_command),
    ("compact", compact_command),
    ("rebuild", rebuild_command),
    ("explain", explain_command),
    ("search", search_command),
    ("stats", stats_command),
):
    space_app.command(name, cls=Command)(offers_formats(function))
