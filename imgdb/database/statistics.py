"""What a database holds: images, collections, failures, spaces, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb import schema
from imgdb.database.connect import named_place, read_only
from imgdb.database.spaces import fullest_buckets, space_statistics, spaces

CONTENT = "SELECT * FROM imgdb._statistics()"
COPIES = "SELECT * FROM imgdb._copies(%s, new_phashes => %s)"
FAILURES = (
    "SELECT * FROM imgdb._failures(collection_name => %(collection)s, reason_class => %(reason)s)"
)


@dataclass(frozen=True, slots=True)
class Content:
    """How much the schema holds.

    `tables`, biggest first, have their bytes without indexes, and those of each index by name.
    """

    images: int
    flat: int
    missing: int
    failures: int
    failures_by_reason: dict[str, int]
    collections: list[dict[str, Any]]
    tables: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SpaceContent:
    """How a space is stored (bytes with its share of the index), and its fullest buckets."""

    name: str
    default_max_distance: int
    distinct_hashes: int
    fresh_hashes: int
    bucket_rows: int
    buckets: int
    fragmentation: float
    bytes: int
    bytes_per_hash: float | None
    fullest_buckets: list[int]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Which server holds the data, and at which revision."""

    place: str
    server_version: str
    schema_revision: str


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be ingested; `reason` is a word of `pictures.reasons.REASONS`."""

    path: str
    reason: str
    detail: str
    collection: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class SameImages:
    """Images with the bytes of another one; those that share a phash, and the groups they make."""

    copies: int
    same_hash: int
    groups: int


def count_same(
    conn: psycopg.Connection[Any], digests: list[bytes] | None, phashes: list[int] | None
) -> SameImages:
    """Count what equal bytes and equal hashes say, of these images or of all (None)."""
    with conn.cursor(row_factory=class_row(SameImages)) as cursor:
        found = cursor.execute(COPIES, (digests, phashes)).fetchone()
    assert found is not None
    return found


def content(conn: psycopg.Connection[Any]) -> Content:
    """Count what the database holds."""
    with conn.cursor(row_factory=class_row(Content)) as cursor:
        found = cursor.execute(CONTENT).fetchone()
    assert found is not None
    return found


def space_contents(
    conn: psycopg.Connection[Any], space_name: str | None = None
) -> list[SpaceContent]:
    """Tell how a space is stored; None: for each one."""
    defaults = {space.name: space.default_max_distance for space in spaces(conn)}
    names = defaults if space_name is None else [space_name]
    return [_space_content(conn, name, defaults) for name in names]


def _space_content(
    conn: psycopg.Connection[Any], name: str, defaults: Mapping[str, int]
) -> SpaceContent:
    found = space_statistics(conn, name)  # refuses a name that no space has
    return SpaceContent(
        name=name,
        default_max_distance=defaults[name],
        distinct_hashes=found.distinct_hashes,
        fresh_hashes=found.fresh_hashes,
        bucket_rows=found.bucket_rows,
        buckets=found.buckets,
        fragmentation=round(found.fragmentation, 2),
        bytes=found.bytes,
        bytes_per_hash=round(found.bytes / found.distinct_hashes, 1)
        if found.distinct_hashes
        else None,
        fullest_buckets=[bucket.hash_count for bucket in fullest_buckets(conn, name)],
    )


def surroundings(conn: psycopg.Connection[Any], dsn: str | None = None) -> Surroundings:
    """Tell where a connection made by `open_database(dsn)` leads; passwords are never told."""
    info = conn.info
    if named_place(dsn) is None:
        from imgdb.database.embedded import default_home

        place = f"embedded server in {default_home()}"
    else:
        place = f"database {info.dbname} on {info.host}, port {info.port}, as {info.user}"
    return Surroundings(
        place=place,
        server_version=info.parameter_status("server_version") or "unknown",
        schema_revision=schema.current_revision(conn) or "none",
    )


def failures(
    conn: psycopg.Connection[Any], *, collection: str | None = None, reason: str | None = None
) -> list[FailedFile]:
    """List the files that could not be ingested, by path."""
    arguments = {"collection": collection, "reason": reason}
    with read_only(conn), conn.cursor(row_factory=class_row(FailedFile)) as cursor:
        return cursor.execute(FAILURES, arguments).fetchall()
