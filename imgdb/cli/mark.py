"""`imgdb mark`: what a person knows better than a hash."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Annotated

import typer

from imgdb.cli.help import Command, CommandGroup
from imgdb.cli.options import Dsn, FormatOption, collection_option, offers_formats
from imgdb.cli.output import print_rows
from imgdb.errors import UsageError

mark_app = typer.Typer(
    invoke_without_command=True, no_args_is_help=True, rich_markup_mode=None, cls=CommandGroup
)

CollectionOption = Annotated[
    str | None, collection_option("Only images of this collection. Default: all collections.")
]


@mark_app.callback()
@offers_formats
def mark(
    ctx: typer.Context,
    show: Annotated[bool, typer.Option("--list", help="List the marked pairs.")] = False,
    collection: CollectionOption = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Say that images are different, although they look alike.

    They are no longer shown as duplicates or as similar to each other. A mark ends when one of the
    images becomes another picture: its file is ingested with other bytes and other hashes.
    """
    if ctx.invoked_subcommand is not None:
        if show:
            raise UsageError("--list goes without a further command")
        return
    if not show:
        raise UsageError("say what to do: imgdb mark different A B, or imgdb mark --list")
    from imgdb.database.connect import open_database
    from imgdb.duplicates.marks import Mark, marks

    with open_database(dsn) as conn:
        found = marks(conn, collection)
    print_rows([astuple(one) for one in found], [field.name for field in fields(Mark)], format)


@mark_app.command(cls=Command)
def different(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Files, or paths as the database spells them."),
    ],
    collection: CollectionOption = None,
    dsn: Dsn = None,
) -> None:
    """Mark images as different, each one from all others."""
    from imgdb.database.connect import open_database
    from imgdb.duplicates.marks import mark_different

    if len(set(images)) < 2:
        raise UsageError("name two images or more: each is different from each other one")
    with open_database(dsn) as conn:
        typer.echo(f"imgdb: {_pairs(mark_different(conn, images, collection))} marked", err=True)


@mark_app.command("forget", cls=Command)
def forget_command(
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE", help="Files, or paths as the database spells them."),
    ],
    collection: CollectionOption = None,
    dsn: Dsn = None,
) -> None:
    """Forget the marks among images, or all marks of one image."""
    from imgdb.database.connect import open_database
    from imgdb.duplicates.marks import take_back

    with open_database(dsn) as conn:
        typer.echo(f"imgdb: {_pairs(take_back(conn, images, collection))} forgotten", err=True)


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"
