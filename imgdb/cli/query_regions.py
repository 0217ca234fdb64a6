"""`imgdb query --regions`: the images that share a part with a picture."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import typer

from imgdb.cli.answers import (
    find_answers,
    note,
    read_queries,
    show_pictures,
    show_rows,
    show_tables,
)
from imgdb.cli.output import Format, Row
from imgdb.cli.pictures import Failures, near_path
from imgdb.words import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgdb.cli.answers import View, Watching
    from imgdb.search.parts import RegionMatch, RegionQuery

COLUMNS = ("path", "votes", "regions", "relation", "there", "here", "note")


def query_regions(
    files: Sequence[str],
    view: View,
    *,
    max_distance: int | None,
    min_votes: int | None,
    collection: str | None,
    limit: int | None,
    dsn: str | None,
) -> None:
    """Show the images that share a part with each picture."""
    from imgdb.database.connect import open_database
    from imgdb.search.parts import MIN_VOTES, RegionMatch, any_regions, region_query, sharing_parts

    votes = MIN_VOTES if min_votes is None else min_votes
    failures = Failures()
    queries = read_queries(files, region_query, failures)
    answers: list[tuple[RegionQuery, Sequence[RegionMatch]]] = []
    if wanted := [query for query in queries if _has_regions(query)]:
        with open_database(dsn) as conn:

            def find(query: RegionQuery) -> list[RegionMatch]:
                return sharing_parts(
                    conn,
                    query,
                    max_distance=max_distance,
                    min_votes=votes,
                    collection=collection,
                    limit=limit,
                )

            answers = find_answers(wanted, find)
            if not any(matches for _, matches in answers) and not any_regions(conn):
                typer.echo(
                    "imgdb: no image has regions yet; imgdb ingest --regions finds them", err=True
                )
    if view.format is Format.table:
        show_tables(answers, COLUMNS, _table_row)
    else:
        show_rows(answers, [field.name for field in fields(RegionMatch)], view)

    def page(watching: Watching) -> str:
        from imgdb.pages.regions import regions_page

        return regions_page(
            answers,
            max_distance=max_distance,
            min_votes=votes,
            collection=collection,
            watching=watching,
        )

    show_pictures(answers, view, brief=lambda match: f"{match.relation} {match.votes}", page=page)
    failures.exit(done=len(queries))


def _has_regions(query: RegionQuery) -> bool:
    if not query.regions:
        typer.echo(
            f"imgdb: {printable(query.name)} has no regions: it is flat, or smaller than "
            "42 pixels on a side, or nothing in it stands out",
            err=True,
        )
    return bool(query.regions)


def _table_row(match: RegionMatch) -> Row:
    return (
        near_path(match.path),
        match.votes,
        match.regions,
        match.relation,
        match.there,
        match.here,
        note(match),
    )
