"""`--show`: what was found as pictures, in a terminal that can draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from imgdb.cli.pictures import near_path
from imgdb.words import printable

if TYPE_CHECKING:
    from imgdb.search.images import Match, Query
    from imgdb.search.parts import RegionMatch, RegionQuery
    from imgdb.terminal import Canvas

Found = TypeVar("Found", bound="Match | RegionMatch")

Show = Annotated[
    bool,
    typer.Option(
        "--show", help="Also show the pictures, in a terminal that can: kitty, iTerm2, sixel."
    ),
]


def find_canvas(wanted: bool) -> Canvas | None:
    """Return the terminal to draw on if that is wanted; where there is none, say so."""
    if not wanted:
        return None
    from imgdb.terminal import WORDS, canvas

    found = canvas()
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
    from imgdb.pictures.loader import explain
    from imgdb.workers.thumbnails import thumbnails

    files = [query.name for query, _ in answers if query.sha256 is not None]
    paths = [match.path for _, matches in answers for match in matches]
    made = thumbnails([*files, *paths])

    def draw(path: str, words: str) -> None:
        thumbnail = made[path]
        if isinstance(thumbnail, Exception):
            words += f": {printable(explain(thumbnail))}"
        else:
            canvas.draw(thumbnail)
        typer.echo(words + "\n")

    for query, matches in answers:
        if query.sha256 is not None:
            draw(query.name, f"query  {printable(query.name)}")
        for match in matches:
            draw(match.path, f"{brief(match):>5}  {printable(near_path(match.path))}")
