"""`imgdb parts`: the images that share a part with a picture."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.answers import ExitCode, Limit, Search, exits_as_grep, note, search_and_show
from imgdb.cli.options import Dsn, FormatOption, collection_option
from imgdb.cli.output import default_format
from imgdb.cli.pages import Html, OpenPage
from imgdb.cli.pictures import FilesFrom, pictures
from imgdb.cli.show import Show
from imgdb.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from imgdb.cli.answers import Answers
    from imgdb.search.parts import RegionMatch, RegionQuery


@exits_as_grep
def parts_command(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Pictures to look for; - is one on stdin."),
    ] = None,
    files_from: FilesFrom = None,
    min_votes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many regions must be alike. Default: so many that --wrong-per-query images "
            "are shown by chance.",
            show_default=False,
        ),
    ] = None,
    wrong_per_query: Annotated[
        float,
        typer.Option(
            metavar="N",
            min=0.000001,
            help="How many images a search may show by chance, on average.",
        ),
    ] = 0.1,
    max_distance: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            min=0,
            max=64,
            help="How many of the 64 bits of two regions may differ. Default: that of the space "
            "region, which is 8 unless somebody changed it.",
            show_default=False,
        ),
    ] = None,
    limit: Limit = None,
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    exit_code: ExitCode = False,
    show: Show = False,
    html: Html = None,
    open_page: OpenPage = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show the images that share a part with a picture.

    These are crops of it, images that it was cut from, and collages. Only images can be found
    that `imgdb ingest --regions` has read. The database is only read.

    Exit code 3 if some of the pictures cannot be read, 1 if none can.
    """
    from imgdb.search.parts import RegionMatch, region_query, sharing_parts

    named = pictures(files, files_from)
    if not named:
        raise UsageError("give pictures to look for")
    asked: dict[str, Any] = {
        "max_distance": max_distance,
        "min_votes": min_votes,
        "collection": collection,
    }
    search: Search[RegionQuery, RegionMatch] = Search(
        read=lambda image, name: region_query(image, name=name),
        remark=_without_regions,
        find=partial(sharing_parts, limit=limit, wrong_per_query=wrong_per_query, **asked),
        advise=_advise,
        row=_row,
        fields=[field.name for field in fields(RegionMatch)],
        brief=lambda match: f"{match.relation} {match.votes}",
        page=partial(_page, asked),
    )
    search_and_show(
        search,
        named,
        format=format or default_format(),
        show=show,
        html=html,
        open_page=open_page,
        dsn=dsn,
        exit_code=exit_code,
    )


def _without_regions(query: RegionQuery) -> str:
    if query.regions:
        return ""
    return (
        "has no regions: it is flat, or smaller than 42 pixels on a side, or nothing in it "
        "stands out"
    )


def _advise(conn: Connection[Any], answers: Answers[RegionQuery, RegionMatch]) -> str:
    from imgdb.search.parts import any_regions

    if any(matches for _, matches in answers) or any_regions(conn):
        return ""
    return "no image has regions yet; imgdb ingest --regions finds them"


def _row(match: RegionMatch) -> dict[str, object]:
    names = ("votes", "regions", "relation", "there", "here")
    return {
        "path": match.path,
        **{name: getattr(match, name) for name in names},
        "note": note(match, f"{match.frames:,} frames" if match.frames > 1 else ""),
    }


def _page(
    asked: dict[str, Any],
    answers: Answers[RegionQuery, RegionMatch],
    watching: Callable[[int], None],
) -> str:
    from imgdb.pages.regions import regions_page

    return regions_page(answers, watching=watching, **asked)
