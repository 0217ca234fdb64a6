"""`imgdb ingest`: files and folders into the database."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgdb.cli.compact import compact_after
from imgdb.cli.options import Dsn, FormatOption, collection_option, takes_options
from imgdb.cli.output import Format, default_format, print_facts
from imgdb.cli.pictures import STDIN
from imgdb.cli.pool_options import HashingOptions, WorkerOptions, ingest_options
from imgdb.errors import UsageError
from imgdb.words import printable

if TYPE_CHECKING:
    import psycopg

    from imgdb.ingest.options import Options
    from imgdb.ingest.summary import Summary

# How many failures stderr tells; all of them stand in the JSON and in imgdb.ingest_failure.
TOLD = 20

COUNTS = ("added", "updated", "moved", "unchanged", "failed", "skipped", "missing")


@takes_options
def ingest_command(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Files and folders.")
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also take the files that this file lists, one a line; - is stdin.",
            show_default=False,
        ),
    ] = None,
    collection: Annotated[
        str, collection_option("Where the pictures go; a new one is made.", default=True)
    ] = "default",
    null: Annotated[
        bool, typer.Option("--null", "-0", help="A NUL ends each path of --files-from.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Mark images of these folders as missing if their files are gone."
        ),
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Leave out files and folders of this name, as in '*.tmp'; with a slash, those "
            "whose path ends so. May be given again. Trashes, thumbnails, .git and ._* are always "
            "left out.",
            show_default=False,
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Also read files that failed before and have not changed."),
    ] = False,
    archives: Annotated[
        bool, typer.Option("--archives", help="Also read the pictures in zip and tar archives.")
    ] = False,
    regions: Annotated[
        bool,
        typer.Option(
            "--regions",
            help="Also find the regions by which `imgdb parts` knows crops and collages.",
        ),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Then follow every change, until Ctrl-C.")
    ] = False,
    *,
    hashing: HashingOptions,
    workers: WorkerOptions,
    format: FormatOption = None,
    dsn: Dsn = None,
) -> None:
    """Hash pictures and store them in the database.

    A folder is read with all folders below it. Only new and changed files are read.
    """
    from imgdb.cli import progress
    from imgdb.database.connect import open_database
    from imgdb.ingest.exclusion import Exclusion
    from imgdb.ingest.run import ingest as run
    from imgdb.ingest.walk import check_named, count_files, read_list
    from imgdb.stopping import Stopping

    named = paths or []
    if not named and files_from is None:
        raise UsageError("give files and folders to ingest, or a list of them by --files-from")
    if STDIN in named:
        raise UsageError("a picture on stdin has no path: give a list of files by --files-from -")
    if watch and files_from is not None:
        raise UsageError("--watch follows files and folders, not a list")
    if null and files_from is None:
        raise UsageError("--null says how the list of --files-from is separated")
    options = ingest_options(
        hashing,
        workers,
        collection=collection,
        prune=prune,
        retry=retry,
        archives=archives,
        regions=regions,
        exclusion=Exclusion(exclude or ()),
    )
    check_named(named)
    if watch:
        _watch(named, options, format, dsn)
        return
    listed = None if files_from is None else read_list(files_from, null=null)
    with open_database(dsn) as conn:
        count = None if listed else partial(count_files, named, options.exclusion)
        with Stopping() as stopping, progress.bar(count) as bar:
            summary = run(
                conn, named, options=options, listed=listed, stopping=stopping, watching=bar.update
            )
        if not summary.stopped:
            compact_after(conn, summary.added + summary.updated)
            _tell_copies(conn, summary)
    if not summary.succeeded and not summary.failed and not summary.stopped:
        places = ", ".join(map(printable, [*named, *filter(None, [files_from])]))
        typer.echo(f"imgdb: no pictures found in {places}", err=True)
    tell(summary, format)
    finish(summary, stopping.signum)


def _tell_copies(conn: psycopg.Connection[Any], summary: Summary) -> None:
    """Say in one line what a person wants to know of a collection that has grown."""
    from imgdb.database.statistics import count_same
    from imgdb.ingest.summary import FEW

    if not summary.added + summary.updated:
        return
    few = len(summary.digests) <= FEW
    found = count_same(conn, summary.digests if few else None, summary.phashes if few else None)
    if found.groups or found.copies:
        typer.echo(
            f"imgdb: exact copies: {found.copies:,}, groups of images with one phash: "
            f"{found.groups:,} ({found.same_hash:,} images); imgdb duplicates shows what looks "
            "alike",
            err=True,
        )


def _watch(named: list[str], options: Options, format: Format | None, dsn: str | None) -> None:
    from imgdb.database.connect import open_database
    from imgdb.ingest.watch import Watch
    from imgdb.stopping import Stopping

    with open_database(dsn) as conn, Stopping() as stopping:
        summary = Watch(conn, named, replace(options, prune=True), stopping, _tell_change).run()
    # That is how it ends, and what failed was told when it did.
    tell(replace(summary, failures=[], notes=[], trashes=[]), format)


def _tell_change(summary: Summary) -> None:
    _tell_troubles(summary)
    told = ("added", "updated", "moved", "missing", "failed")
    counts = ((name, getattr(summary, name)) for name in told)
    if said := ", ".join(f"{name} {count}" for name, count in counts if count):
        typer.echo(f"imgdb: {said}", err=True)


def tell(summary: Summary, format: Format | None) -> None:
    """Print the counts to stdout, notes and failures to stderr."""
    if summary.outdated:
        typer.echo(
            f"imgdb: {summary.outdated:,} unchanged files have hashes of another recipe, or no "
            "colours; imgdb rehash makes them anew",
            err=True,
        )
    _tell_troubles(summary)
    if (more := len(summary.failures) - TOLD) > 0:
        typer.echo(f"imgdb: and {more} more: see imgdb failures", err=True)
    format = format or default_format()
    told: dict[str, object] = {name: getattr(summary, name) for name in COUNTS}
    if format is Format.json:
        told["failures"] = [
            {"path": failed.path, "reason": failed.reason, "kind": failed.kind}
            for failed in summary.failures
        ]
    print_facts(told, format)


def _tell_troubles(summary: Summary) -> None:
    """Say what was left out, what could not be decided, and what failed."""
    for trash in summary.trashes[:TOLD]:
        typer.echo(f"imgdb: {printable(trash)} is a trash of imgdb apply: left out", err=True)
    for note in summary.notes:
        typer.echo(f"imgdb: {note}", err=True)
    for failed in summary.failures[:TOLD]:
        typer.echo(f"imgdb: {printable(failed.path)}: {failed.reason}", err=True)


def finish(summary: Summary, signum: int | None = None) -> None:
    """Leave with 3 where some files failed, 1 where all did, as a signal says where one came."""
    if summary.stopped and signum is not None:
        typer.echo(
            "imgdb: interrupted; what is done is stored, the same command does the rest", err=True
        )
        sys.exit(128 + signum)
    if summary.failed or summary.notes:
        raise typer.Exit(3 if summary.succeeded or not summary.failed else 1)
