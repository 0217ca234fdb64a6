"""`imgdb query --regions`: the images that share a part with a picture."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING

import typer

from imgdb.cli.pictures import STDIN, Failures, listed_paths, near_path
from imgdb.errors import PictureError
from imgdb.output import Format, Row, default_format, printable, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imgdb.region_search import RegionMatch, RegionQuery

    Answer = tuple[RegionQuery, Sequence[RegionMatch]]

COLUMNS = ("path", "votes", "regions", "relation", "there", "here", "note")


def query_regions(
    files: Sequence[str],
    *,
    max_distance: int | None,
    min_votes: int | None,
    collection: str | None,
    limit: int | None,
    format: Format | None,
    dsn: str | None,
) -> None:
    """Show the images that share a part with each picture."""
    from imgdb.database import open_database
    from imgdb.region_search import MIN_VOTES, any_regions, sharing_parts

    failures = Failures()
    queries = _read(files, failures)
    answers: list[Answer] = []
    if wanted := [query for query in queries if _has_regions(query)]:
        with open_database(dsn) as conn:
            for query in wanted:
                matches = sharing_parts(
                    conn,
                    query,
                    max_distance=max_distance,
                    min_votes=MIN_VOTES if min_votes is None else min_votes,
                    collection=collection,
                    limit=limit,
                )
                answers.append((query, matches))
                if not matches:
                    typer.echo(f"imgdb: no match for {printable(query.name)}", err=True)
            if not any(matches for _, matches in answers) and not any_regions(conn):
                typer.echo(
                    "imgdb: no image has regions yet; imgdb ingest --regions finds them", err=True
                )
    format = format or default_format()
    if format is Format.table:
        _show_tables(answers)
    else:
        _show_rows(answers, format, named=len(files) > 1 or STDIN in files)
    failures.exit(done=len(queries))


def _read(files: Sequence[str], failures: Failures) -> list[RegionQuery]:
    from imgdb.paths import path_text
    from imgdb.region_search import region_query

    queries = []
    for file in listed_paths(files):
        try:
            queries.append(region_query(file))
        except PictureError as error:
            failures.report(path_text(file), error)
    return queries


def _has_regions(query: RegionQuery) -> bool:
    if not query.regions:
        typer.echo(
            f"imgdb: {printable(query.name)} has no regions: it is flat, or smaller than "
            "42 pixels on a side, or nothing in it stands out",
            err=True,
        )
    return bool(query.regions)


def _show_rows(answers: Sequence[Answer], format: Format, *, named: bool) -> None:
    from imgdb.region_search import RegionMatch

    columns = [field.name for field in fields(RegionMatch)]
    rows = [(query.name, *astuple(match)) for query, matches in answers for match in matches]
    if named:
        render(rows, ("query", *columns), format)
    else:
        render([row[1:] for row in rows], columns, format)


def _show_tables(answers: Sequence[Answer]) -> None:
    for position, (query, matches) in enumerate(answers):
        if len(answers) > 1:
            typer.echo(("\n" if position else "") + printable(query.name) + ":")
        rows = [_table_row(match) for match in matches]
        noted = any(row[-1] for row in rows)
        shown = len(COLUMNS) if noted else len(COLUMNS) - 1
        render([row[:shown] for row in rows], COLUMNS[:shown], Format.table, shorten="path")


def _table_row(match: RegionMatch) -> Row:
    notes = ("same bytes" if match.same_bytes else "", "missing" if match.missing_since else "")
    return (
        near_path(match.path),
        match.votes,
        match.regions,
        match.relation,
        # As ImageMagick's -crop takes it.
        f"{match.box_width}x{match.box_height}+{match.box_left}+{match.box_top}",
        f"{match.query_box_width}x{match.query_box_height}+{match.query_left}+{match.query_top}",
        ", ".join(filter(None, notes)),
    )
