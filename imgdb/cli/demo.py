"""`imgdb demo`: see what imgdb does, without a picture or a database of one's own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from imgdb.cli.options import FormatOption
from imgdb.cli.query import query
from imgdb.errors import UsageError


def demo(
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="FOLDER",
            help="Keep the pictures in this new folder.",
            file_okay=False,
        ),
    ] = None,
    format: FormatOption = None,
) -> None:
    """Try a search among example pictures, painted for you.

    They are ingested into a database of their own, which is gone when the demo ends: yours is not
    touched. Painting takes some seconds.
    """
    from imgdb import progress
    from imgdb.demo import pictures, throwaway

    if keep and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty: name a new folder for the pictures")
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(throwaway.temporary_folder())
        folder = keep.absolute() if keep else temporary
        _say(f"painting {pictures.COUNT} pictures in {folder}")
        with progress.bar(total=pictures.COUNT) as bar:
            pictures.make(folder, watching=lambda done: bar.update(done, 0))
        place = stack.enter_context(throwaway.database(temporary))
        # Commands and paths are shown as a person in this folder would spell them.
        stack.enter_context(contextlib.chdir(folder))
        _say("imgdb ingest images")
        throwaway.fill(place, folder / "images")
        _say("imgdb query query.jpg")
        query(["query.jpg"], format=format, dsn=place.conninfo)


def _say(line: str) -> None:
    typer.echo(f"imgdb: {line}", err=True)
