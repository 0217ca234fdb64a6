"""`imgdb query`: the images that look like a picture, or like a hash."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.answers import (
    find_answers,
    make_view,
    note,
    read_queries,
    show_pictures,
    show_rows,
    show_tables,
)
from imgdb.cli.options import (
    FLOOD,
    Dsn,
    FormatOption,
    HashName,
    MaxDistance,
    collection_option,
    hash_option,
)
from imgdb.cli.output import Format, Row
from imgdb.cli.pages import Html, OpenPage
from imgdb.cli.pictures import Failures, near_path
from imgdb.cli.query_regions import query_regions
from imgdb.cli.show import Show
from imgdb.errors import UsageError
from imgdb.words import byte_count, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgdb.cli.answers import Watching
    from imgdb.search.images import Match, Query

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
    max_distance: MaxDistance = None,
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
    from imgdb.database.connect import open_database
    from imgdb.search.images import Match, query_by_file, query_by_hex, similar

    files = files or []
    if (hex_digits is None) == (not files):
        raise UsageError("give either pictures to look for, or a hash with --hex")
    if min_votes is not None and not regions:
        raise UsageError("--min-votes counts regions: give --regions too")
    whole = hex_digits is not None or hash_name is not HashName.phash or flood is not None
    if regions and (whole or include_flat or any_orientation):
        raise UsageError(
            "--regions compares parts: --hex, --hash, --flood, --include-flat and "
            "--any-orientation are for whole pictures"
        )
    if hex_digits is not None and any_orientation:
        raise UsageError("--any-orientation takes a picture: a hash alone cannot be turned")
    view = make_view(files, format=format, show=show, html=html, open_page=open_page)
    if regions:
        query_regions(
            files,
            view,
            max_distance=max_distance,
            min_votes=min_votes,
            collection=collection,
            limit=limit,
            dsn=dsn,
        )
        return
    if flood is None and view.format is Format.table:
        flood = FLOOD
    failures = Failures()
    if hex_digits is None:
        read = partial(query_by_file, any_orientation=any_orientation)
        queries = read_queries(files, read, failures)
    else:
        queries = [query_by_hex(hash_name, hex_digits)]
    answers: list[Answer] = []
    if wanted := [query for query in queries if include_flat or not _said_flat(query)]:
        with open_database(dsn) as conn:

            def find(query: Query) -> list[Match]:
                return similar(
                    conn,
                    query,
                    space=hash_name,
                    max_distance=max_distance,
                    collection=collection,
                    limit=limit,
                    flood=flood or None,
                    include_flat=include_flat,
                )

            answers = find_answers(wanted, find)
    if view.format is Format.table:
        _show_tables(answers, hash_name)
    else:
        # Columns of options that are not in use would only break who reads them by position.
        unasked = {"orientation" if not any_orientation else "", "images" if not flood else ""}
        columns = [field.name for field in fields(Match) if field.name not in unasked]
        show_rows(answers, columns, view)

    def page(watching: Watching) -> str:
        from imgdb.pages.query import query_page

        return query_page(
            answers,
            hash=hash_name,
            max_distance=max_distance,
            collection=collection,
            watching=watching,
        )

    show_pictures(answers, view, brief=_distance, page=page)
    failures.exit(done=len(queries))


def _said_flat(query: Query) -> bool:
    if query.flat:
        typer.echo(
            f"imgdb: {printable(query.name)} is flat (a solid colour, a blank page): to every hash "
            "it looks like all flat pictures; --include-flat searches all the same",
            err=True,
        )
    return query.flat


def _show_tables(answers: Sequence[Answer], hash_name: HashName) -> None:
    others = [name for name in sorted(HashName) if name != hash_name]
    show_tables(
        answers,
        ("path", hash_name, *others, "orientation", "pixels", "size", "note"),
        lambda match: _table_row(match, others),
        optional=("orientation", "note"),
    )
    if any(match.images > 1 for _, matches in answers for match in matches):
        typer.echo("imgdb: many images have the same hash; --flood 0 lists them all", err=True)


def _table_row(match: Match, others: Sequence[str]) -> Row:
    return (
        near_path(match.path),
        match.distance,
        *(getattr(match, f"{name}_distance") for name in others),
        match.orientation,
        f"{match.width}x{match.height}" if match.width else "",
        byte_count(match.byte_size),
        note(match, f"one of {match.images:,} of this hash" if match.images > 1 else ""),
    )


def _distance(match: Match) -> str:
    return "same" if match.same_bytes else str(match.distance)
