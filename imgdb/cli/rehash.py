"""`imgdb rehash`: the hashes again, from the files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from imgdb.cli.compact import compact_after
from imgdb.cli.ingest import finish, tell
from imgdb.cli.options import Dsn, FormatOption, collection_option, takes_options
from imgdb.cli.pool_options import HashingOptions, WorkerOptions, ingest_options


@takes_options
def rehash_command(
    collection: Annotated[str | None, collection_option("Only images of this collection.")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="RECIPE", help="Only images with this recipe.", show_default=False),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option(
            metavar="TIME",
            help="Also images that were hashed before this time, such as 2026-01-31.",
            show_default=False,
        ),
    ] = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="Also find regions where there are none yet.")
    ] = False,
    *,
    hashing: HashingOptions,
    workers: WorkerOptions,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Hash images again that were hashed by other rules.

    These are all images that have another recipe than --decode asks for, or that lack one of
    --hashes, or what --pdq and --regions ask for. Their files are read again. Searches go on
    meanwhile. If a run is interrupted, the next run does the rest.
    """
    from imgdb.cli import progress
    from imgdb.database.connect import open_database
    from imgdb.ingest.rehash import RehashChoice, outdated
    from imgdb.ingest.rehash import rehash as run
    from imgdb.stopping import Stopping

    options = ingest_options(hashing, workers, regions=regions)
    if before is not None and before.tzinfo is None:
        before = before.astimezone(UTC)
    choice = RehashChoice(collection=collection, recipe=recipe, before=before)
    with open_database(dsn) as conn:
        todo = outdated(conn, choice, options)
        total = sum(found.images for found in todo)
        with Stopping() as stopping, progress.bar(total=total) as bar:
            summary = run(
                conn, todo, choice=choice, options=options, stopping=stopping, watching=bar.update
            )
        if not summary.stopped:
            compact_after(conn, summary.updated)
    tell(summary, format)
    finish(summary, stopping.signum)
