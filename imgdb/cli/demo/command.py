"""`imgdb demo`: see what imgdb does, without a picture or a database of one's own."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from imgdb.cli.options import FormatOption
from imgdb.cli.query import query
from imgdb.cli.serve import lacking_module
from imgdb.errors import UsageError
from imgdb.shipped import shipped_folder


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A new folder for the pictures and the page. Default: a temporary one.",
            show_default=False,
            file_okay=False,
        ),
    ] = None,
    open_page: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Open it in the browser: the pages of `imgdb serve`, until Ctrl-C, or without its "
            "extra the page that was made. Default: on a terminal.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
) -> None:
    """Try a search among example pictures.

    They are copied to a folder and ingested into a database of their own. This database is gone
    when the demo ends; yours is not touched. The pictures stay, with a page that shows what was
    found.
    """
    from imgdb.cli.demo import live, throwaway

    if folder and folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder for the pictures")
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(throwaway.folder_for_pictures(folder))
        _say(f"copying example pictures to {place}")
        _copy_examples(place)
        database = stack.enter_context(throwaway.database())
        # Commands and paths are shown as a person in this folder would spell them.
        stack.enter_context(contextlib.chdir(place))
        _say("imgdb ingest images")
        throwaway.fill(database, place / "images")
        opens = sys.stderr.isatty() if open_page is None else open_page
        served = opens and not lacking_module()
        _say("imgdb query query.jpg --html found.html")
        query(
            ["query.jpg"],
            format=format,
            html=place / "found.html",
            open_page=opens and not served,
            dsn=database.conninfo,
        )
        if served:
            _say("imgdb serve --open --allow-changes --trash trash")
            picture = place / "images" / "cat-in-the-window.jpg"
            live.serve_pages(database.conninfo, picture=picture, trash=place / "trash")


def _copy_examples(place: Path) -> None:
    source = shipped_folder("examples")
    files = [source / "query.jpg", *sorted((source / "images").iterdir())]
    (place / "images").mkdir(parents=True)
    for file in files:
        # The contents alone, not the mode: the user may change and delete his copy.
        shutil.copyfile(file, place / file.relative_to(source))


def _say(line: str) -> None:
    typer.echo(f"imgdb: {line}", err=True)
