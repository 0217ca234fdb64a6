"""`--show`: what was found as pictures, in terminals that draw: kitty, iTerm2, all with sixel."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from imgdb.cli.output import near_path
from imgdb.errors import UsageError
from imgdb.words import printable

if TYPE_CHECKING:
    from rich.console import Console

    from imgdb.pictures.thumbnail import Thumbnail
    from imgdb.search.images import Match, Query
    from imgdb.search.parts import RegionMatch, RegionQuery

Found = TypeVar("Found", bound="Match | RegionMatch")

Show = Annotated[
    bool,
    typer.Option(
        "--show", help="Also draw the pictures, in a terminal that can: kitty, iTerm2, sixel."
    ),
]


# Cells.
_WIDTH = 30

WORDS = "pictures are drawn by terminals with kitty's protocol or sixel only (kitty, iTerm2, ...)"


class Canvas:
    """A terminal that draws pictures."""

    def __init__(self, kind: Any, console: Console) -> None:
        self._kind = kind
        self._console = console

    def draw(self, thumbnail: Thumbnail) -> None:
        """Draw a picture, and go to the line below."""
        self._console.print(self._kind(BytesIO(thumbnail.content), width=_WIDTH, height="auto"))


def _terminal() -> Canvas | None:
    """Return the terminal that stdout is; None where it is none, or cannot draw.

    It is asked what it can, so stdin must be it as well. UsageError where the library is missing.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()) or os.environ.get("TERM") == "dumb":
        return None
    try:
        # A terminal that does not say how large its letters are is no matter for a warning.
        logging.getLogger("textual_image").addHandler(logging.NullHandler())
        from textual_image.renderable import Image, SixelImage, TGPImage
    except ImportError:
        raise UsageError(
            "--show needs the package textual-image: pip install textual-image"
        ) from None
    if not issubclass(Image, SixelImage | TGPImage):
        return None
    from rich.console import Console

    return Canvas(Image, Console(highlight=False))


def find_canvas(wanted: bool) -> Canvas | None:
    """Return the terminal to draw on if that is wanted; where there is none, say so."""
    if not wanted:
        return None
    found = _terminal()
    if found is None:
        typer.echo(f"imgdb: --show: {WORDS}; --html FILE makes a page", err=True)
    return found


def draw_answers(
    canvas: Canvas,
    answers: Sequence[tuple[Query | RegionQuery, Sequence[Found]]],
    brief: Callable[[Found], str],
) -> None:
    """Draw each query and its matches below each other, each with a line that says what it is.

    `brief` says in a word how good a match is.
    """
    from imgdb.pictures.reasons import reason_in_words
    from imgdb.workers.thumbnails import thumbnails

    files = [query.name for query, _ in answers if query.sha256 is not None]
    paths = [match.path for _, matches in answers for match in matches]
    made = thumbnails([*files, *paths])

    def draw(path: str, words: str) -> None:
        thumbnail = made[path]
        if isinstance(thumbnail, Exception):
            words += f": {printable(reason_in_words(thumbnail))}"
        else:
            canvas.draw(thumbnail)
        typer.echo(words + "\n")

    for query, matches in answers:
        if query.sha256 is not None:
            draw(query.name, f"query  {printable(query.name)}")
        for match in matches:
            draw(match.path, f"{brief(match):>5}  {printable(near_path(match.path))}")
