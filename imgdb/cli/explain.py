"""`imgdb space explain` and `imgdb space search`: how a search is done, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.completion.names import space_names
from imgdb.cli.options import (
    Dsn,
    FormatOption,
    MaxDistance,
    RuleDistance,
    RuleName,
    check_distance,
    hash_option,
)
from imgdb.cli.output import Row, print_rows
from imgdb.cli.pictures import Failures, opened, spelled
from imgdb.errors import PictureError, UsageError
from imgdb.hashes.values import ALGORITHMS, rule_hashes

if TYPE_CHECKING:
    from imgdb.search.images import Query


def explain_command(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The picture to look for.")
    ] = None,
    hex_digits: Annotated[
        str | None,
        typer.Option("--hex", metavar="HEX", help="Look for this hash (16 hex digits) instead."),
    ] = None,
    hash_name: Annotated[
        RuleName | None,
        hash_option("Only what this asks (the rule: both hashes); with --hex phash", RuleName),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="SPACE",
            help="With --hex: a space of your own.",
            autocompletion=space_names,
        ),
    ] = None,
    max_distance: RuleDistance = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show how a search works in each space, and its time.

    Probes are the prefixes that are looked up, candidates are the hashes that are read, and
    matches are the hashes that are near enough. By the rule phash+dhash each hash is asked for
    within half of the distance. Milliseconds are those of the search alone, as a client sees them:
    the best of three. The reason is what both ways would cost by estimate.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import default_distance, explain, spaces

    if (hex_digits is None) == (file is None):
        raise UsageError("give either a picture to look for, or a hash with --hex")
    if space is not None and (hex_digits is None or hash_name is not None):
        raise UsageError("--space takes a hash with --hex, and no --hash")
    rule = hash_name or RuleName.phash
    check_distance(rule, max_distance)
    query = _asked(file, hex_digits, rule)
    names: Sequence[str] = ALGORITHMS if hash_name is hex_digits is None else rule_hashes(rule)
    asked = {name: getattr(query.hashes, name) for name in names}
    if space is not None:
        asked = {space: query.hashes.phash}
    rows: list[Row] = []
    with open_database(dsn) as conn:
        defaults = {known.name: known.default_max_distance for known in spaces(conn)}
        whole = max_distance
        if whole is None and rule is RuleName.both:
            whole = default_distance(conn, rule, None)
        for name, value in asked.items():
            # What is not there, the search itself refuses.
            radius = defaults.get(name, 0) if whole is None else whole // len(rule_hashes(rule))
            found, milliseconds = explain(conn, name, value, radius)
            *counts, reason = astuple(found)
            rows.append((name, radius, *counts, round(milliseconds, 2), reason))
    print_rows(rows, EXPLAINED, format)


EXPLAINED = (
    "space", "max_distance", "strategy", "probes", "candidates", "matches", "milliseconds",
    "reason",
)  # fmt: skip


def _asked(file: str | None, hex_digits: str | None, rule: RuleName) -> Query:
    from imgdb.search.images import query_by_file, query_by_hex

    if hex_digits is not None:
        return query_by_hex(rule, hex_digits)
    assert file is not None
    try:
        return query_by_file(opened(file), name=spelled(file))
    except PictureError as error:
        Failures().report(spelled(file), error)
        raise typer.Exit(1) from error


def search_command(
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="The space.", autocompletion=space_names)
    ],
    hex_digits: Annotated[
        str, typer.Option("--hex", metavar="HEX", help="The hash to look for (16 hex digits).")
    ],
    max_distance: MaxDistance = None,
    nearest: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="The K nearest hashes, however far they are."),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """List the hashes of a space that are near one.

    It may be a space of your own. Each hash stands once, nearest first: your table says which rows
    have it.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import Neighbour, near_hashes, nearest_hashes, spaces
    from imgdb.hashes.values import from_hex, to_hex

    if nearest is not None and max_distance is not None:
        raise UsageError("--nearest takes no --max-distance")
    value = from_hex(hex_digits)
    with open_database(dsn) as conn:
        if nearest is not None:
            found = nearest_hashes(conn, space, value, nearest)
        else:
            defaults = {known.name: known.default_max_distance for known in spaces(conn)}
            radius = defaults.get(space, 0) if max_distance is None else max_distance
            found = near_hashes(conn, space, value, radius)
    rows = [(to_hex(one.hash), one.distance) for one in found]
    print_rows(rows, [field.name for field in fields(Neighbour)], format)
