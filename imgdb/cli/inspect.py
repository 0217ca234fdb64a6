"""`imgdb stats`, `failures` and `explain`: what the database holds, and how it searches."""

from __future__ import annotations

from dataclasses import asdict, astuple, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.completion.names import reasons
from imgdb.cli.options import (
    Dsn,
    FormatOption,
    HashName,
    MaxDistance,
    collection_option,
    hash_option,
)
from imgdb.cli.output import Format, Row, default_format, print_object, print_rows
from imgdb.cli.pictures import Failures
from imgdb.errors import PictureError, UsageError
from imgdb.words import byte_count

if TYPE_CHECKING:
    from imgdb.search.images import Query


def stats(format: FormatOption = None, dsn: Dsn = None) -> None:
    """Show what the database holds, and where it is."""
    from imgdb.database.connect import open_database
    from imgdb.database.statistics import content, space_contents, surroundings

    with open_database(dsn) as conn:
        found = asdict(content(conn))
        found["spaces"] = [asdict(space) for space in space_contents(conn)]
        found |= asdict(surroundings(conn, dsn))
    format = format or default_format()
    if format is Format.json:
        print_object(found)
    else:
        sizes = byte_count if format is Format.table else str
        print_rows([*_stats_rows(found, sizes)], ("what", "value"), format)


def _stats_rows(found: dict[str, Any], sizes: Any) -> list[Row]:
    return [
        *((name, str(found[name])) for name in ("images", "flat", "missing", "failures")),
        *(
            (f"failures: {reason}", str(count))
            for reason, count in sorted(found["failures_by_reason"].items())
        ),
        *((f"collection {c['name']}", str(c["images"])) for c in found["collections"]),
        *(
            (f"space {space['name']}: {name.replace('_', ' ')}", text)
            for space in found["spaces"]
            for name, text in (
                ("distinct_hashes", str(space["distinct_hashes"])),
                ("size", sizes(space["bytes"])),
                ("fragmentation", str(space["fragmentation"])),
            )
        ),
        *(
            (f"table {table['name']}: {part}", sizes(count))
            for table in found["tables"]
            for part, count in (
                ("size", table["bytes"]),
                ("indexes", sum(table["indexes"].values())),
            )
        ),
        *((name.replace("_", " "), found[name]) for name in SURROUNDINGS),
    ]


SURROUNDINGS = ("schema_revision", "server_version", "place")


def failures_command(
    collection: Annotated[str | None, collection_option("Only files of this collection.")] = None,
    reason: Annotated[
        str | None,
        typer.Option(metavar="WORD", help="Only files with this reason.", autocompletion=reasons),
    ] = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """List the files that could not be ingested, and why."""
    from imgdb.database.connect import open_database
    from imgdb.database.statistics import FailedFile, failures
    from imgdb.pictures.reasons import REASONS

    if reason is not None and reason not in REASONS:
        raise UsageError(f"no such reason: {reason}; choose from {', '.join(REASONS)}")
    with open_database(dsn) as conn:
        found = failures(conn, collection=collection, reason=reason)
    columns = [field.name for field in fields(FailedFile)]
    print_rows([astuple(failure) for failure in found], columns, format, shorten="path")


def explain_command(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The picture to look for.")
    ] = None,
    hex_digits: Annotated[
        str | None,
        typer.Option("--hex", metavar="HEX", help="Look for this hash (16 hex digits) instead."),
    ] = None,
    hash_name: Annotated[
        HashName | None, hash_option("Only this space (with --hex phash unless said)")
    ] = None,
    max_distance: MaxDistance = None,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Show how a search is done in each space, and its time.

    Probes are the prefixes looked up, candidates the hashes read, matches those near enough;
    milliseconds are those of the search alone as a client sees them, the best of three.
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
            rows.append((space.name, radius, *astuple(found), round(milliseconds, 2)))
    print_rows(rows, EXPLAINED, format)


EXPLAINED = (
    "space", "max_distance", "strategy", "probes", "candidates", "matches", "milliseconds"
)  # fmt: skip


def _asked(file: str | None, hex_digits: str | None, hash_name: HashName | None) -> Query:
    from imgdb.paths import path_text
    from imgdb.search.images import query_by_file, query_by_hex

    if hex_digits is not None:
        return query_by_hex(hash_name or HashName.phash, hex_digits)
    assert file is not None
    try:
        return query_by_file(file)
    except PictureError as error:
        Failures().report(path_text(file), error)
        raise typer.Exit(1) from error
