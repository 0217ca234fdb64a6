"""`imgdb space explain`: how a search is done in each space."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Annotated

import typer

from imgdb.cli.options import Dsn, FormatOption, HashName, MaxDistance, hash_option
from imgdb.cli.output import Row, print_rows
from imgdb.cli.pictures import Failures, opened, spelled
from imgdb.errors import PictureError, UsageError

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
        HashName | None, hash_option("Only the space of this hash, with --hex phash by default")
    ] = None,
    max_distance: MaxDistance = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show how a search works in each space, and its time.

    Probes are the prefixes that are looked up, candidates are the hashes that are read, and
    matches are the hashes that are near enough. Milliseconds are those of the search alone, as a
    client sees them: the best of three. The reason is what both ways would cost by estimate.
    """
    from imgdb.database.connect import open_database
    from imgdb.database.spaces import explain, spaces

    if (hex_digits is None) == (file is None):
        raise UsageError("give either a picture to look for, or a hash with --hex")
    query = _asked(file, hex_digits, hash_name)
    rows: list[Row] = []
    with open_database(dsn) as conn:
        for space in spaces(conn):
            value = getattr(query.hashes, space.name, None)
            if value is None or (hash_name or space.name) != space.name:
                continue
            radius = space.default_max_distance if max_distance is None else max_distance
            found, milliseconds = explain(conn, space.name, value, radius)
            *counts, reason = astuple(found)
            rows.append((space.name, radius, *counts, round(milliseconds, 2), reason))
    print_rows(rows, EXPLAINED, format)


EXPLAINED = (
    "space", "max_distance", "strategy", "probes", "candidates", "matches", "milliseconds",
    "reason",
)  # fmt: skip


def _asked(file: str | None, hex_digits: str | None, hash_name: HashName | None) -> Query:
    from imgdb.search.images import query_by_file, query_by_hex

    if hex_digits is not None:
        return query_by_hex(hash_name or HashName.phash, hex_digits)
    assert file is not None
    try:
        return query_by_file(opened(file), name=spelled(file))
    except PictureError as error:
        Failures().report(spelled(file), error)
        raise typer.Exit(1) from error
