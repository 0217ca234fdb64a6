"""Hash again, from their files, the images whose hashes other rules made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row, scalar_row

from imgdb.hashes.fingerprint import recipes
from imgdb.ingest import walk
from imgdb.ingest.options import Options
from imgdb.ingest.run import Run
from imgdb.ingest.summary import Summary
from imgdb.ingest.task import IngestTask, picture_task
from imgdb.ingest.walk import File
from imgdb.paths import path_from_text, path_text
from imgdb.pictures.archives import archive_of
from imgdb.stopping import Stopping

COLLECTIONS = (
    "SELECT * FROM imgdb._outdated_collections"
    "(%(collection)s, %(recipe)s, %(targets)s::text[], %(hashes)s::text[], %(regions)s, %(before)s)"
)
IMAGES = (
    "SELECT * FROM imgdb._outdated_images(imgdb._collection_id(%(collection)s), %(recipe)s,"
    " %(targets)s::text[], %(hashes)s::text[], %(regions)s, %(before)s, %(after)s, %(page)s)"
)
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Outdated:
    """How many images of a collection are not what would be made of their files now."""

    collection: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RehashChoice:
    """Which images to hash again: all that are not of today's recipe or lack a hash or regions.

    With `recipe` only those of that older one; with `before` also those that were hashed before a
    time, whatever their recipe.
    """

    collection: str | None = None
    recipe: str | None = None
    before: datetime | None = None


def outdated(
    conn: psycopg.Connection[Any], choice: RehashChoice, options: Options
) -> Sequence[Outdated]:
    """Return what there is to do; UnknownName for a collection that is not there."""
    with conn.cursor(row_factory=class_row(Outdated)) as cursor:
        return cursor.execute(COLLECTIONS, _arguments(choice, options)).fetchall()


def rehash(
    conn: psycopg.Connection[Any],
    todo: Sequence[Outdated],
    *,
    choice: RehashChoice,
    options: Options,
    stopping: Stopping | None = None,
    watching: Callable[[int, int], None] = lambda done, failed: None,
) -> Summary:
    """Hash again what `outdated` found; each row is done when it is stored, so it can resume.

    Files that are gone fail and keep their hashes; `imgdb ingest --prune` marks them.
    """
    total = Summary()
    stopping = stopping or Stopping()
    with options.pool() as pool:
        for found in todo:
            one = replace(options, collection=found.collection, retry=True)
            run = Run(conn, pool, one, stopping, _further(watching, total), rewrite=True)
            pages = _pages(conn, replace(choice, collection=found.collection), options)
            run.hash(_tasks(run, pages))
            total.add(run.summary)
            if total.stopped:
                break
    return total


def _further(watching: Callable[[int, int], None], before: Summary) -> Callable[[int, int], None]:
    """Return `watching` as it is for a run after others."""
    done_before, failed_before = before.done, before.failed

    def watch(done: int, failed: int) -> None:
        watching(done_before + done, failed_before + failed)

    return watch


def _tasks(run: Run, pages: Iterator[list[str]]) -> Iterator[IngestTask | None]:
    archives: set[str] = set()
    for page in pages:
        for spelling in page:
            path = path_from_text(spelling)
            archive = archive_of(path)
            if archive in archives:
                continue
            found = walk.look_at(archive or path)
            if not isinstance(found, File):
                run.todo.give_up(found)
            elif archive is None:
                yield picture_task(found, spelling, known=True)
            else:
                archives.add(archive)
                yield from run.todo.archive(path_text(archive), found)
        yield None


def _pages(
    conn: psycopg.Connection[Any], choice: RehashChoice, options: Options
) -> Iterator[list[str]]:
    after = ""
    while True:
        given = {**_arguments(choice, options), "after": after, "page": PAGE}
        with conn.cursor(row_factory=scalar_row) as cursor:
            page = cursor.execute(IMAGES, given).fetchall()
        if not page:
            return
        yield page
        after = page[-1]


def _arguments(choice: RehashChoice, options: Options) -> dict[str, object]:
    return {
        "collection": choice.collection,
        "recipe": choice.recipe,
        "targets": recipes(options.decode),
        "hashes": [*options.algorithms, *(["pdq"] if options.pdq else [])],
        "regions": options.region_recipe,
        "before": choice.before,
    }
