"""The database's side of ingest: one collection, its files and failures, in batches."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, LiteralString

import psycopg
from psycopg.rows import class_row, scalar_row

from imgdb.database.collections import MAKE_COLLECTION, Stored
from imgdb.database.sessions import value
from imgdb.errors import UsageError
from imgdb.hashes.fingerprint import Fingerprint
from imgdb.paths import is_too_long

COLUMNS = tuple(one.name for one in fields(Fingerprint) if one.name not in ("regions", "pdq"))
_values = operator.attrgetter(*COLUMNS)

COMPARE = (
    "SELECT * FROM imgdb._compare_files"
    "(%s, %s::text[], %s::bigint[], %s::timestamptz[], current_recipes => %s::text[],"
    " needed_region_recipe => %s, need_pdq => %s)"
)
STAGE = "SELECT imgdb._stage_images()"
COPY = f"COPY pg_temp.fresh_image (path, {', '.join(COLUMNS)}) FROM STDIN"
STORE = "SELECT * FROM imgdb._store_images(%s, rewrite => %s)"
STAGE_REGIONS = "SELECT imgdb._stage_regions()"
COPY_REGIONS = "COPY pg_temp.fresh_region (path, boxes, hashes) FROM STDIN"
STORE_REGIONS = "SELECT imgdb._store_regions(%s)"
FAIL = (
    "SELECT imgdb._store_failures"
    "(%s, %s::text[], %s::text[], %s::text[], %s::bigint[], %s::timestamptz[])"
)
FOUND = "SELECT imgdb._mark_found(%s, %s::text[])"
KNOWN_BELOW = "SELECT * FROM imgdb._known_below(%s, %s, %s, %s)"
STAGE_PDQ = "SELECT imgdb._stage_pdq()"
COPY_PDQ = "COPY pg_temp.fresh_pdq (path, words, quality) FROM STDIN"
STORE_PDQ = "SELECT imgdb._store_pdq(%s)"
KNOWN_MEMBERS = (
    "SELECT * FROM imgdb._known_members(%s, %s, %s, %s, needed_region_recipe => %s, need_pdq => %s)"
)
NEWEST = "SELECT imgdb._newest_image_id()"
OF_SIZES = (
    "SELECT * FROM imgdb._images_of_sizes"
    "(%s, last_image_id => %s, sizes => %s::bigint[], needed_region_recipe => %s, need_pdq => %s)"
)
MOVE = (
    "SELECT * FROM imgdb._move_images(%s, %s::bigint[], %s::bytea[], old_paths => %s::text[],"
    " new_paths => %s::text[], times => %s::timestamptz[])"
)
ARCHIVES = "SELECT imgdb._store_archives(%s, %s::text[], %s::bigint[], %s::timestamptz[])"
MISSING = "SELECT imgdb._mark_missing(%s, %s::text[])"

PAGE = 2000

IMAGE_ID = (
    "SELECT i.image_id FROM imgdb.image AS i JOIN imgdb.collection AS c"
    " ON c.collection_id = i.collection_id WHERE c.name = %s AND i.path = %s"
)

# Another session may have stored the same files in another order: one of the two begins again.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class State:
    """What the database knows of a file that is not simply unchanged."""

    ordinal: int
    state: Literal["new", "changed", "found", "outdated", "incomplete", "failed"]
    reason: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file is not searchable: a row of imgdb.ingest_failure."""

    spelling: str
    reason: str
    detail: str
    byte_size: int | None
    modified_at: datetime | None


@dataclass(frozen=True, slots=True)
class KnownMembers:
    """What an archive that has not changed gave when it was read."""

    images: int
    failed_paths: list[str]
    failed_reasons: list[str]
    failed_details: list[str]


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as an image has it; `complete` if the image has all that is needed.

    `path` is its spelling. `unmounted` if it is gone with the disk it was on, for all that is seen.
    """

    image_id: int
    path: str
    byte_size: int
    modified_at: datetime
    sha256: bytes
    complete: bool
    unmounted: bool = False


@dataclass(slots=True)
class Batch:
    """What becomes one transaction; every spelling stands in it once, unless it moved.

    `moves` are, by where they are now, files that were elsewhere, and their times.
    """

    images: dict[str, Fingerprint] = field(default_factory=dict)
    moves: dict[str, tuple[KnownFile, datetime]] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    archives: list[tuple[str, int, datetime]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self._parts()))

    def clear(self) -> None:
        """Begin the next one."""
        for part in self._parts():
            part.clear()

    def _parts(self) -> tuple[dict[str, Any] | list[Any], ...]:
        return self.images, self.moves, self.failures, self.found, self.archives


class Store:
    """A collection, made if there is none of that name."""

    def __init__(self, conn: psycopg.Connection[Any], collection: str) -> None:
        self._conn = conn
        self._collection_id = int(value(conn, MAKE_COLLECTION, collection))

    def compare(
        self,
        spellings: Sequence[str],
        sizes: Sequence[int],
        times: Sequence[datetime],
        recipes: Sequence[str],
        region_recipe: str | None = None,
        pdq: bool = False,
    ) -> dict[int, State]:
        """Return by position what is known of files; those left out are unchanged."""
        with self._conn.cursor(row_factory=class_row(State)) as cursor:
            files = (list(spellings), list(sizes), list(times))
            given = (self._collection_id, *files, list(recipes), region_recipe, pdq)
            return {state.ordinal - 1: state for state in cursor.execute(COMPARE, given)}

    def store(self, batch: Batch, *, rewrite: bool = False) -> tuple[Stored, set[str]]:
        """Write a batch, all of it or nothing; `rewrite` also rows that say the same already.

        Also return which of the moves came too late: somebody else has moved their images.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return self._store(batch, rewrite)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                continue
        return self._store(batch, rewrite)

    def _store(self, batch: Batch, rewrite: bool) -> tuple[Stored, set[str]]:
        with self._conn.transaction():
            late = self._move(batch.moves)
            stored = self._store_images(batch.images, rewrite)
            if batch.failures:
                columns = zip(*map(astuple, batch.failures.values()), strict=True)
                self._value(FAIL, *map(list, columns))
            if batch.found:
                self._value(FOUND, batch.found)
            if batch.archives:
                self._value(ARCHIVES, *map(list, zip(*batch.archives, strict=True)))
        return stored, late

    def _move(self, moves: dict[str, tuple[KnownFile, datetime]]) -> set[str]:
        if not moves:
            return set()
        images = [known.image_id for known, _ in moves.values()]
        digests = [known.sha256 for known, _ in moves.values()]
        old_paths = [known.path for known, _ in moves.values()]
        times = [modified_at for _, modified_at in moves.values()]
        with self._conn.cursor(row_factory=scalar_row) as cursor:
            given = (self._collection_id, images, digests, old_paths, list(moves), times)
            return set(cursor.execute(MOVE, given))

    def _store_images(self, images: dict[str, Fingerprint], rewrite: bool) -> Stored:
        if not images:
            return Stored(0, 0)
        with self._conn.cursor(row_factory=class_row(Stored)) as cursor:
            cursor.execute(STAGE)
            with cursor.copy(COPY) as copy:
                for spelling, found in images.items():
                    copy.write_row((spelling, *_values(found)))
            stored = cursor.execute(STORE, (self._collection_id, rewrite)).fetchone()
            assert stored is not None
        self._store_regions(images)
        # Whatever got another PDQ hash was updated, if it was nothing else.
        return Stored(stored.added, max(stored.updated, self._store_pdq(images) - stored.added))

    def _store_pdq(self, images: dict[str, Fingerprint]) -> int:
        found = {path: image.pdq for path, image in images.items() if image.pdq is not None}
        if not found:
            return 0
        with self._conn.cursor() as cursor:
            cursor.execute(STAGE_PDQ)
            with cursor.copy(COPY_PDQ) as copy:
                for path, reading in found.items():
                    copy.write_row((path, list(reading.pdq), reading.quality))
        return int(self._value(STORE_PDQ))

    def _store_regions(self, images: dict[str, Fingerprint]) -> None:
        found = {
            spelling: image.regions
            for spelling, image in images.items()
            if image.regions is not None
        }
        if not found:
            return
        with self._conn.cursor() as cursor:
            cursor.execute(STAGE_REGIONS)
            with cursor.copy(COPY_REGIONS) as copy:
                for spelling, regions in found.items():
                    boxes = [side for region in regions for side in region.box]
                    copy.write_row((spelling, boxes, [region.hash for region in regions]))
            cursor.execute(STORE_REGIONS, (self._collection_id,))

    def newest(self) -> int | None:
        """Return the identity of the newest image, None if there is none."""
        newest: int | None = value(self._conn, NEWEST)
        return newest

    def of_sizes(
        self, newest: int, sizes: Sequence[int], region_recipe: str | None, pdq: bool
    ) -> Iterator[KnownFile]:
        """Yield the images up to `newest` whose files are of these sizes."""
        with self._conn.cursor(row_factory=class_row(KnownFile)) as cursor:
            given = (self._collection_id, newest, list(sizes), region_recipe, pdq)
            yield from cursor.execute(OF_SIZES, given)

    def known_members(
        self,
        spelling: str,
        size: int,
        modified_at: datetime,
        region_recipe: str | None = None,
        pdq: bool = False,
    ) -> KnownMembers | None:
        """Return what an archive gave, if it was read for all that is needed and is the same."""
        with self._conn.cursor(row_factory=class_row(KnownMembers)) as cursor:
            given = (self._collection_id, spelling, size, modified_at, region_recipe, pdq)
            return cursor.execute(KNOWN_MEMBERS, given).fetchone()

    def known_below(self, prefix: str) -> Iterator[list[str]]:
        """Yield pages of the spellings below a prefix, which ends in a slash.

        Files that are marked as missing are left out.
        """
        after = ""
        while True:
            with self._conn.cursor(row_factory=scalar_row) as cursor:
                given = (self._collection_id, prefix, max(after, prefix), PAGE)
                page = cursor.execute(KNOWN_BELOW, given).fetchall()
            if not page:
                return
            yield page
            after = page[-1]

    def mark_missing(self, spellings: Iterable[str]) -> int:
        """Note that files are gone; return how many images that were."""
        return int(self._value(MISSING, list(spellings)))

    def _value(self, call: LiteralString, *arguments: object) -> Any:
        return value(self._conn, call, self._collection_id, *arguments)


def store_one(
    conn: psycopg.Connection[Any], collection: str, name: str, made: Fingerprint
) -> tuple[int, Stored]:
    """Store one picture under a name, in place of what has it; return its image_id.

    UsageError for a name that no image can have.
    """
    if not name or "\0" in name or is_too_long(name):
        raise UsageError(f"not a name for a picture: {name[:40]!a}")
    stored, _ = Store(conn, collection).store(Batch(images={name: made}))
    return int(value(conn, IMAGE_ID, collection, name)), stored
