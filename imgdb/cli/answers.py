"""What `imgdb query` and `imgdb parts` do: read pictures, search for each, show the matches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer

from imgdb.cli.output import Format, print_rows
from imgdb.cli.pages import check_page, save_page
from imgdb.cli.pictures import Failures, opened, spelled
from imgdb.cli.show import draw_answers, find_canvas
from imgdb.errors import PictureError
from imgdb.words import printable

if TYPE_CHECKING:
    from psycopg import Connection

    from imgdb.pictures.images import AnyImage
    from imgdb.search.images import Match, Query
    from imgdb.search.parts import RegionMatch, RegionQuery

Asked = TypeVar("Asked", bound="Query | RegionQuery")
Found = TypeVar("Found", bound="Match | RegionMatch")
Answers = Sequence[tuple[Asked, Sequence[Found]]]

Limit = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="At most N matches for each picture.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(Generic[Asked, Found]):
    """How pictures are read, how the matches of one are found, and how these are shown."""

    read: Callable[[AnyImage, str], Asked]
    # Why hardly anything can look like this picture, "" if something can. It is asked for all the
    # same: for its bytes, and since a failure must not pass for "nothing is found".
    remark: Callable[[Asked], str]
    find: Callable[[Connection[Any], Asked], Sequence[Found]]
    # What a person can do about the answers, "" for nothing.
    advise: Callable[[Connection[Any], Answers[Asked, Found]], str]
    # In a table the cells of a match by column, in JSON and CSV these fields of it.
    row: Callable[[Found], dict[str, object]]
    fields: Sequence[str]
    # A word that says how good a match is.
    brief: Callable[[Found], str]
    # Makes the page, and tells how many of its pictures are read.
    page: Callable[[Answers[Asked, Found], Callable[[int], None]], str]


def search_and_show(
    search: Search[Asked, Found],
    files: Iterable[str],
    *,
    given: Sequence[Asked] = (),
    format: Format,
    show: bool,
    html: Path | None,
    open_page: bool,
    dsn: str | None,
    exit_code: bool = False,
) -> None:
    """Read `files`, search for them and for what is `given`, and show what is found.

    With `exit_code` leave as grep does: 0 if anything is found, 1 if nothing, 2 after any error.
    """
    from imgdb.database.connect import open_database

    check_page(html, open_page)
    canvas = find_canvas(show)
    failures = Failures()
    queries = [*given, *_read(search, files, failures)]
    answers: Answers[Asked, Found] = []
    advice = ""
    if queries:
        with open_database(dsn) as conn:
            answers = [(query, _find(search, conn, query)) for query in queries]
            advice = search.advise(conn, answers)
    if format is Format.table:
        _print_tables(search, answers)
    else:
        _print_rows(search, answers, format)
    _say(advice)
    if canvas is not None:
        draw_answers(canvas, answers, search.brief)
    if html is not None and answers:
        total = sum(1 + len(matches) for _, matches in answers)
        save_page(html, partial(search.page, answers), total=total, open_page=open_page)
    if not exit_code:
        failures.exit(done=len(queries))
    elif failures.count:
        raise typer.Exit(TROUBLE)
    elif not any(matches for _, matches in answers):
        raise typer.Exit(NOTHING)


# How grep ends where it found nothing, and where something was wrong.
NOTHING, TROUBLE = 1, 2

ExitCode = Annotated[
    bool,
    typer.Option(
        "--exit-code",
        help="Exit as grep does: with 0 if anything is found, 1 if nothing is, 2 after an error.",
    ),
]


def exits_as_grep(command: Callable[..., None]) -> Callable[..., None]:
    """Have every error of a command with --exit-code end it as grep would."""

    @wraps(command)
    def call(*arguments: Any, **values: Any) -> None:
        try:
            command(*arguments, **values)
        except typer.Exit:
            raise
        except Exception as error:
            if values.get("exit_code"):
                # The funnel asks for it, of whatever class the error is.
                error.exit_code = TROUBLE  # type: ignore[attr-defined]
            raise

    return call


def _read(
    search: Search[Asked, Found], files: Iterable[str], failures: Failures
) -> Iterator[Asked]:
    for file in files:
        try:
            yield search.read(opened(file), spelled(file))
        except PictureError as error:
            failures.report(spelled(file), error)


def _find(search: Search[Asked, Found], conn: Connection[Any], query: Asked) -> Sequence[Found]:
    matches, remark = search.find(conn, query), search.remark(query)
    if remark:
        _say(f"{printable(query.name)} {remark}")
    elif not matches:
        _say(f"no match for {printable(query.name)}")
    return matches


def _say(words: str) -> None:
    if words:
        typer.echo(f"imgdb: {words}", err=True)


def _print_rows(
    search: Search[Asked, Found],
    answers: Answers[Asked, Found],
    format: Format,
) -> None:
    """Print one list: what was asked for, and a match; a picture without one has an empty row."""
    rows = [
        (query.name, *(getattr(match, name, None) for name in search.fields))
        for query, matches in answers
        for match in matches or (None,)
    ]
    print_rows(rows, ["query", *search.fields], format)


# Columns of a table that are left out where no match has anything in them.
OPTIONAL = ("colours", "orientation", "relation", "votes", "note")


def _print_tables(search: Search[Asked, Found], answers: Answers[Asked, Found]) -> None:
    """Print a table for each query."""
    for position, (query, matches) in enumerate(answers):
        if len(answers) > 1:
            typer.echo(("\n" if position else "") + printable(query.name) + ":")
        rows = [search.row(match) for match in matches]
        names = [
            name
            for name in next(iter(rows), ())
            if name not in OPTIONAL or any(row[name] not in (None, "") for row in rows)
        ]
        cells = [[row[name] for name in names] for row in rows]
        print_rows(cells, names, Format.table, paths="path")


def note(match: Match | RegionMatch, *others: str) -> str:
    """Return what is worth a note in a table."""
    notes = (
        "same bytes" if match.same_bytes else "",
        "missing" if match.missing_since else "",
        *others,
    )
    return ", ".join(filter(None, notes))
