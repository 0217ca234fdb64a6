"""`imgdb stats` and `imgdb failures`: what the database holds, and what it does not."""

from __future__ import annotations

from dataclasses import asdict, astuple, fields
from typing import Annotated, Any

import typer

from imgdb.cli.completion.names import reasons
from imgdb.cli.options import Dsn, FormatOption, collection_option
from imgdb.cli.output import Format, Row, default_format, print_object, print_rows
from imgdb.errors import UsageError
from imgdb.words import byte_count


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

    if reason is not None:
        from imgdb.pictures.reasons import REASONS

        if reason not in REASONS:
            raise UsageError(f"no such reason: {reason}; choose from {', '.join(REASONS)}")
    with open_database(dsn) as conn:
        found = failures(conn, collection=collection, reason=reason)
    columns = [field.name for field in fields(FailedFile)]
    print_rows([astuple(failure) for failure in found], columns, format, paths="path")
