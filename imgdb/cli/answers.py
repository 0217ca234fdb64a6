"""What `imgdb query` does alike for whole pictures and for their parts: read, search, show."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from imgdb.cli.output import Format, Row, default_format, print_rows
from imgdb.cli.pages import check_page, save_page
from imgdb.cli.pictures import STDIN, Failures, listed_paths
from imgdb.cli.show import draw_answers, find_canvas
from imgdb.errors import PictureError
from imgdb.words import printable

if TYPE_CHECKING:
    from imgdb.cli.show import Canvas
    from imgdb.search.images import Match, Query
    from imgdb.search.parts import RegionMatch, RegionQuery

Asked = TypeVar("Asked", bound="Query | RegionQuery")
Found = TypeVar("Found", bound="Match | RegionMatch")

# Told how many pictures are read, for the bar of progress.
Watching = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class View:
    """How answers are shown; where `named`, each row says for which picture it is."""

    format: Format
    named: bool
    canvas: Canvas | None
    html: Path | None
    open_page: bool


def make_view(
    files: Sequence[str], *, format: Format | None, show: bool, html: Path | None, open_page: bool
) -> View:
    """Check, before any work is done, that answers can be shown as somebody wants them."""
    check_page(html, open_page)
    named = len(files) > 1 or STDIN in files
    return View(format or default_format(), named, find_canvas(show), html, open_page)


def read_queries(
    files: Sequence[str], read: Callable[[str], Asked], failures: Failures
) -> list[Asked]:
    """Read the pictures to look for; what cannot be read is reported."""
    from imgdb.paths import path_text

    queries = []
    for file in listed_paths(files):
        try:
            queries.append(read(file))
        except PictureError as error:
            failures.report(path_text(file), error)
    return queries


def find_answers(
    queries: Sequence[Asked], find: Callable[[Asked], Sequence[Found]]
) -> list[tuple[Asked, Sequence[Found]]]:
    """Search for each query; say which of them have no match."""
    answers = []
    for query in queries:
        matches = find(query)
        answers.append((query, matches))
        if not matches:
            typer.echo(f"imgdb: no match for {printable(query.name)}", err=True)
    return answers


def show_rows(
    answers: Sequence[tuple[Asked, Sequence[Found]]], columns: Sequence[str], view: View
) -> None:
    """Print the matches as JSON or CSV."""
    rows = [
        (*([query.name] if view.named else ()), *(getattr(match, name) for name in columns))
        for query, matches in answers
        for match in matches
    ]
    print_rows(rows, [*(["query"] if view.named else ()), *columns], view.format)


def show_tables(
    answers: Sequence[tuple[Asked, Sequence[Found]]],
    columns: Sequence[str],
    row: Callable[[Found], Row],
    *,
    optional: Collection[str] = ("note",),
) -> None:
    """Print a table for each query; of the `optional` columns, only those with something in."""
    for position, (query, matches) in enumerate(answers):
        if len(answers) > 1:
            typer.echo(("\n" if position else "") + printable(query.name) + ":")
        rows = [row(match) for match in matches]
        shown = [
            place
            for place, name in enumerate(columns)
            if name not in optional or any(cells[place] for cells in rows)
        ]
        print_rows(
            [[cells[place] for place in shown] for cells in rows],
            [columns[place] for place in shown],
            Format.table,
            shorten="path",
        )


def note(match: Match | RegionMatch, *others: str) -> str:
    """Return what is worth a note in a table."""
    notes = (
        "same bytes" if match.same_bytes else "",
        "missing" if match.missing_since else "",
        *others,
    )
    return ", ".join(filter(None, notes))


def show_pictures(
    answers: Sequence[tuple[Asked, Sequence[Found]]],
    view: View,
    *,
    brief: Callable[[Found], str],
    page: Callable[[Watching], str],
) -> None:
    """Draw the pictures in the terminal, and write the page that `page` makes, where asked for."""
    if view.canvas is not None:
        draw_answers(view.canvas, answers, brief)
    if view.html is not None and answers:
        total = sum(1 + len(matches) for _, matches in answers)
        save_page(view.html, page, total=total, open_page=view.open_page)
