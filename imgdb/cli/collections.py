"""`imgdb collections`: the named groups of images."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Annotated

import typer

from imgdb.cli.completion.names import collections as names
from imgdb.cli.confirm import confirm
from imgdb.cli.help import Command, CommandGroup
from imgdb.cli.options import Dsn, FormatOption, offers_formats
from imgdb.cli.output import Format, default_format, print_rows
from imgdb.words import byte_count, printable

collections_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None, cls=CommandGroup)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A collection.", autocompletion=names)]


@collections_app.callback()
@offers_formats
def list_command(ctx: typer.Context, format: FormatOption = None, dsn: Dsn = None) -> None:
    """List the collections, rename one, or remove one."""
    if ctx.invoked_subcommand is not None:
        return
    from imgdb.database.collections import Collection, list_collections
    from imgdb.database.connect import open_database

    with open_database(dsn) as conn:
        found = list_collections(conn)
    format = format or default_format()
    columns = [field.name for field in fields(Collection)]
    rows = [astuple(one) for one in found]
    if format is Format.table:
        rows = [(*row[:-1], byte_count(row[-1])) for row in rows]
        columns[-1] = "size"
    print_rows(rows, columns, format)


@collections_app.command("rename", cls=Command)
def rename_command(
    name: Name,
    new_name: Annotated[
        str, typer.Argument(metavar="NEW", help="Its new name.", autocompletion=names)
    ],
    dsn: Dsn = None,
) -> None:
    """Give a collection another name."""
    from imgdb.database.collections import rename_collection
    from imgdb.database.connect import open_database

    with open_database(dsn) as conn:
        rename_collection(conn, name, new_name)


@collections_app.command("remove", cls=Command)
def remove_command(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Remove images without asking.")] = False,
    dsn: Dsn = None,
) -> None:
    """Remove a collection and its images from the database.

    No file is touched.
    """
    from imgdb.database.collections import list_collections, remove_collection
    from imgdb.database.connect import open_database

    with open_database(dsn) as conn:
        images = {one.name: one.images for one in list_collections(conn)}.get(name, 0)
        if images and not yes:
            question = f"The collection {printable(name)} has {images:,} images. Remove it?"
            confirm(question, loss="remove images")
        removed = remove_collection(conn, name)
    typer.echo(f"imgdb: collection {printable(name)} removed, {removed:,} images", err=True)
