"""Options of the commands that make a page, and what they do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from imgdb.errors import UsageError
from imgdb.words import printable

Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Also write a page with the pictures: one file that needs no other.",
        show_default=False,
    ),
]
OpenPage = Annotated[bool, typer.Option("--open", help="Open the page of --html in the browser.")]


def check_page(html: Path | None, open_page: bool) -> None:
    """Raise UsageError, before any work is done, where no page can be written."""
    from imgdb.atomic import check_replaceable

    if html is not None:
        check_replaceable(html)
    elif open_page:
        raise UsageError("--open opens the page of --html: give --html FILE")


def save_page(
    html: Path, make: Callable[[Callable[[int], None]], str], *, total: int, open_page: bool
) -> None:
    """Write the page that `make` returns; it tells how many of the `total` pictures are read."""
    from imgdb.cli import progress
    from imgdb.pages import render

    with progress.bar(total=total) as bar:
        page = make(lambda done: bar.update(done, 0))
    render.write_page(html, page)
    typer.echo(f"imgdb: the page is in {printable(str(html))}", err=True)
    if open_page and not render.open_page(html):
        typer.echo("imgdb: there is no browser here to open it with", err=True)
