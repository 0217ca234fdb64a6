"""`imgdb query`: the images that look like a picture, or like a hash."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.answers import ExitCode, Limit, Search, exits_as_grep, note, search_and_show
from imgdb.cli.options import (
    FLOOD,
    Dsn,
    FormatOption,
    HashName,
    QueryDistance,
    QueryRule,
    check_distance,
    collection_option,
    hash_option,
)
from imgdb.cli.output import Format, default_format
from imgdb.cli.pages import Html, OpenPage
from imgdb.cli.pictures import FilesFrom, pictures
from imgdb.cli.show import Show
from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, PDQ_DIGITS, PDQ_RULES, largest_distance
from imgdb.words import byte_count, picture_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from imgdb.cli.answers import Answers
    from imgdb.search.images import Match, Query


@exits_as_grep
def query(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Pictures to look for; - is one on stdin."),
    ] = None,
    files_from: FilesFrom = None,
    hex_digits: Annotated[
        str | None,
        typer.Option(
            "--hex",
            metavar="HEX",
            help="Look for this hash (16 hex digits) instead: a phash, unless --hash says which; "
            "with a + between them, for a phash and a dhash. 64 hex digits are a PDQ hash.",
        ),
    ] = None,
    hash_name: Annotated[
        QueryRule | None, hash_option("What to search by: by default the first of", QueryRule)
    ] = None,
    max_distance: QueryDistance = None,
    nearest: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=1,
            help="Show the K images that look most like each picture, however far they are: of the "
            "same pose and layout, not of the same style or colour.",
        ),
    ] = None,
    limit: Limit = None,
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    include_flat: Annotated[
        bool,
        typer.Option(
            "--include-flat",
            help="Also look for flat pictures, and find them: solid colours, blank pages.",
        ),
    ] = False,
    same_colours: Annotated[
        bool,
        typer.Option(
            "--same-colours",
            help="Leave out images of other colours than the picture, those whose colours are not "
            "known, and those of which only a part is alike.",
        ),
    ] = False,
    any_orientation: Annotated[
        bool,
        typer.Option(
            "--any-orientation",
            help="Also find turned and mirrored copies, and say how the query is turned, compared "
            "with the image.",
        ),
    ] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts/--no-parts",
            help="Also find crops, collages, and what a crop was cut from, among images that were "
            "ingested with --regions; and what is within the borders of a picture: bars, frames, "
            "the text above a meme. --no-parts compares whole pictures only.",
        ),
    ] = True,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing/--no-missing",
            help="Images whose files are gone come last; --no-missing leaves them out.",
        ),
    ] = True,
    flood: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="If more than N images have the same hash, show them as one line with their "
            "number. 0 shows all. Default: 20 in a table, else 0.",
            show_default=False,
        ),
    ] = None,
    exit_code: ExitCode = False,
    show: Show = False,
    html: Html = None,
    open_page: OpenPage = False,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show the images that look like a picture, nearest first. The database is only read.

    Exit code 3 if some of the pictures cannot be read, 1 if none can.
    """
    from imgdb.search.images import Match, query_by_file, query_by_hex, similar

    named = pictures(files, files_from)
    if (hex_digits is None) == (not named):
        raise UsageError("give either pictures to look for, or a hash with --hex")
    if hex_digits is not None and any_orientation:
        raise UsageError("--any-orientation takes a picture: a hash alone cannot be turned")
    if hex_digits is not None and same_colours:
        raise UsageError("--same-colours takes a picture: a hash alone has no colours")
    rule = hash_name or QueryRule.both
    if hash_name is None and hex_digits is not None:
        *others, last = hex_digits.split("+")
        if len(last) == PDQ_DIGITS:
            rule = QueryRule.checked if others else QueryRule.pdq
        elif not others:
            rule = QueryRule.phash
    if nearest is not None:
        if limit is not None or max_distance is not None:
            raise UsageError("--nearest takes neither --limit nor --max-distance")
        limit, max_distance = nearest, largest_distance(rule)
    check_distance(rule, max_distance)
    format = format or default_format()
    if flood is None:
        flood = FLOOD if format is Format.table else 0
    search: Search[Query, Match] = Search(
        read=lambda image, name: query_by_file(
            image,
            name=name,
            any_orientation=any_orientation,
            pdq=rule in PDQ_RULES,
            parts=parts,
        ),
        remark=_flat if not include_flat else lambda query: "",
        find=partial(
            similar,
            space=rule,
            max_distance=max_distance,
            collection=collection,
            limit=limit,
            flood=flood or None,
            include_flat=include_flat,
            missing=missing,
            # By its distance every image is near, so none is found by its parts alone.
            parts=parts and nearest is None,
            same_colours=same_colours,
        ),
        advise=partial(_advise, rule, format),
        row=partial(_row, rule),
        fields=[field.name for field in fields(Match)],
        brief=_brief,
        page=partial(_page, {"hash": rule, "max_distance": max_distance, "collection": collection}),
    )
    search_and_show(
        search,
        named,
        given=[query_by_hex(rule, hex_digits)] if hex_digits is not None else [],
        format=format,
        show=show,
        html=html,
        open_page=open_page,
        dsn=dsn,
        exit_code=exit_code,
    )


def _flat(query: Query) -> str:
    if not query.flat:
        return ""
    return (
        "is flat (a solid colour, a blank page): to every hash it looks like all flat pictures, "
        "so only files of the same bytes are looked for; --include-flat searches all the same"
    )


def _brief(match: Match) -> str:
    if match.same_bytes:
        return "same"
    return match.relation if match.distance is None else str(match.distance)


def _advise(
    rule: QueryRule, format: Format, conn: Connection[Any], answers: Answers[Query, Match]
) -> str:
    from imgdb.search.images import any_hash, any_pdq

    found = [match for _, matches in answers for match in matches]
    if rule in PDQ_RULES and not found and not any_pdq(conn):
        return "no image has a PDQ hash yet; imgdb ingest --pdq makes them"
    if rule in ALGORITHMS and not found and not any_hash(conn, rule):
        return f"no image has a {rule}; imgdb rehash makes those that --hashes left out"
    if format is not Format.table or not any(match.images > 1 for match in found):
        return ""
    return "many images have the same hash; --flood 0 lists them all"


def _row(rule: QueryRule, match: Match) -> dict[str, object]:
    others = (name for name in HashName if name.value != rule.value)
    shown = {QueryRule.both: "sum", QueryRule.checked: "pdq"}
    return {
        "path": match.path,
        shown.get(rule, str(rule)): match.distance,
        **{name: getattr(match, f"{name}_distance") for name in others},
        "colours": match.colour_difference,
        "orientation": match.orientation,
        "relation": "" if match.relation == "same" else match.relation,
        "votes": match.votes,
        "pixels": picture_size(match.width, match.height, match.frames),
        "size": byte_count(match.byte_size),
        "note": note(
            match,
            "other colours" if match.same_colours is False and not match.same_bytes else "",
            f"one of {match.images:,} of this hash" if match.images > 1 else "",
        ),
    }


def _page(
    asked: dict[str, Any], answers: Answers[Query, Match], watching: Callable[[int], None]
) -> str:
    from imgdb.pages.query import query_page

    return query_page(answers, watching=watching, **asked)
