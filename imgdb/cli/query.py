"""`imgdb query`: the images that look like a picture, or like a hash."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.options import FLOOD, Dsn, FormatOption, HashName, collection_option, hash_option
from imgdb.cli.pages import Html, OpenPage, check_page, save_page
from imgdb.cli.pictures import STDIN, Failures, listed_paths, near_path
from imgdb.cli.query_regions import query_regions
from imgdb.cli.show import Show, draw_answers, find_canvas
from imgdb.errors import PictureError, UsageError
from imgdb.output import Format, Row, byte_count, default_format, printable, render

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from imgdb.search import Match, Query

    Answer = tuple[Query, Sequence[Match]]


def query(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Pictures to look for; - reads their paths from stdin."
        ),
    ] = None,
    hex_digits: Annotated[
        str | None,
        typer.Option("--hex", metavar="HEX", help="Look for this hash (16 hex digits) instead."),
    ] = None,
    hash_name: Annotated[HashName, hash_option("The hash to search by")] = HashName.phash,
    max_distance: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            min=0,
            max=64,
            help="How many of the 64 bits may differ. Default: that of the hash's space, 8 unless "
            "somebody changed it.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most N matches for each picture.")
    ] = None,
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    include_flat: Annotated[
        bool,
        typer.Option(
            "--include-flat", help="Search for, and among, flat pictures: solid colours, blanks."
        ),
    ] = False,
    any_orientation: Annotated[
        bool,
        typer.Option(
            "--any-orientation",
            help="Also find turned and mirrored copies, and say how the query is turned against "
            "the image found.",
        ),
    ] = False,
    flood: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Show more than N images of the same hash as one line, with their number; 0: show "
            "them all. Default: 20 in a table, 0 in JSON and CSV.",
            show_default=False,
        ),
    ] = None,
    show: Show = False,
    html: Html = None,
    open_page: OpenPage = False,
    regions: Annotated[
        bool,
        typer.Option(
            "--regions",
            help="Find instead what shares a part with the picture: crops of it, what it was cut "
            "from, collages. Needs imgdb ingest --regions.",
        ),
    ] = False,
    min_votes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --regions: how many regions must be alike. Default: 3.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show the images that look like a picture, nearest first. The database is only read.

    Exit code 3 if some of the pictures cannot be read, 1 if none can.
    """
    from imgdb.database import open_database
    from imgdb.search import query_by_hex, similar

    if (hex_digits is None) == (not files):
        raise UsageError("give either pictures to look for, or a hash with --hex")
    if min_votes is not None and not regions:
        raise UsageError("--min-votes counts regions: give --regions too")
    if regions:
        # It has hashes of its own, and no page so far.
        others = (
            hex_digits,
            html,
            flood,
            include_flat or None,
            any_orientation or None,
            show or None,
        )
        if hash_name is not HashName.phash or any(other is not None for other in others):
            raise UsageError(
                "--regions takes pictures, --max-distance, --min-votes, --limit and --collection; "
                "no other option about what is looked for or shown"
            )
        query_regions(
            files or [],
            max_distance=max_distance,
            min_votes=min_votes,
            collection=collection,
            limit=limit,
            format=format,
            dsn=dsn,
        )
        return
    if hex_digits is not None and any_orientation:
        raise UsageError("--any-orientation takes a picture: a hash alone cannot be turned")
    check_page(html, open_page)
    canvas = find_canvas(show)
    format = format or default_format()
    if flood is None and format is Format.table:
        flood = FLOOD
    failures = Failures()
    if hex_digits is None:
        queries = _read(files or [], failures, any_orientation=any_orientation)
    else:
        queries = [query_by_hex(hash_name, hex_digits)]
    wanted = [query for query in queries if include_flat or not _said_flat(query)]
    answers: list[Answer] = []
    if wanted:
        with open_database(dsn) as conn:
            for query in wanted:
                matches = similar(
                    conn,
                    query,
                    space=hash_name,
                    max_distance=max_distance,
                    collection=collection,
                    limit=limit,
                    flood=flood or None,
                    include_flat=include_flat,
                )
                answers.append((query, matches))
                if not matches:
                    typer.echo(f"imgdb: no match for {printable(query.name)}", err=True)
    if format is Format.table:
        _show_tables(answers, hash_name)
    else:
        # Columns of options that are not in use would only break who reads them by position.
        unasked = {"orientation" if not any_orientation else "", "images" if not flood else ""}
        named = len(files or ()) > 1 or STDIN in (files or ())
        _show_rows(answers, format, unasked, named=named)
    if canvas is not None:
        draw_answers(canvas, answers)
    if html is not None and answers:
        from imgdb.query_page import query_page

        def page(watching: Callable[[int], None]) -> str:
            return query_page(
                answers,
                hash=hash_name,
                max_distance=max_distance,
                collection=collection,
                watching=watching,
            )

        total = sum(1 + len(matches) for _, matches in answers)
        save_page(html, page, total=total, open_page=open_page)
    failures.exit(done=len(queries))


def _read(files: Sequence[str], failures: Failures, *, any_orientation: bool) -> list[Query]:
    from imgdb.paths import path_text
    from imgdb.search import query_by_file

    queries = []
    for file in listed_paths(files):
        try:
            queries.append(query_by_file(file, any_orientation=any_orientation))
        except PictureError as error:
            failures.report(path_text(file), error)
    return queries


def _said_flat(query: Query) -> bool:
    if query.flat:
        typer.echo(
            f"imgdb: {query.name} is flat (a solid colour, a blank page): to every hash it looks "
            "like all flat pictures; --include-flat searches all the same",
            err=True,
        )
    return query.flat


def _show_rows(
    answers: Sequence[Answer], format: Format, unasked: Collection[str], *, named: bool
) -> None:
    from imgdb.search import Match

    columns = [field.name for field in fields(Match) if field.name not in unasked]
    rows = [
        (query.name, *(getattr(match, name) for name in columns))
        for query, matches in answers
        for match in matches
    ]
    if named:
        render(rows, ("query", *columns), format)
    else:
        render([row[1:] for row in rows], columns, format)


def _show_tables(answers: Sequence[Answer], hash_name: HashName) -> None:
    others = [name for name in sorted(HashName) if name != hash_name]
    columns = ("path", hash_name, *others, "orientation", "pixels", "size", "note")
    for position, (query, matches) in enumerate(answers):
        if len(answers) > 1:
            typer.echo(("\n" if position else "") + printable(query.name) + ":")
        rows = [_table_row(match, others) for match in matches]
        shown = [
            place
            for place, name in enumerate(columns)
            if name not in ("orientation", "note") or any(row[place] for row in rows)
        ]
        render(
            [[row[place] for place in shown] for row in rows],
            [columns[place] for place in shown],
            Format.table,
            shorten="path",
        )
    if any(match.images > 1 for _, matches in answers for match in matches):
        typer.echo("imgdb: many images have the same hash; --flood 0 lists them all", err=True)


def _table_row(match: Match, others: Sequence[str]) -> Row:
    notes = (
        "same bytes" if match.same_bytes else "",
        "missing" if match.missing_since else "",
        f"one of {match.images:,} of this hash" if match.images > 1 else "",
    )
    return (
        near_path(match.path),
        match.distance,
        *(getattr(match, f"{name}_distance") for name in others),
        match.orientation,
        f"{match.width}x{match.height}" if match.width else "",
        byte_count(match.byte_size),
        ", ".join(filter(None, notes)),
    )
