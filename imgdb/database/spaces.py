"""Spaces: which there are, how each is stored, and whether its searches are right."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only

SPACES = "SELECT name, description, default_max_distance FROM imgdb.space ORDER BY space_id"
STATISTICS = "SELECT * FROM imgdb.space_statistics(%(space)s)"
FULLEST = "SELECT * FROM imgdb.fullest_buckets(%(space)s, bucket_limit => %(limit)s)"
REBUILD = "SELECT imgdb.rebuild(%(space)s)"
CHECK = (
    "SELECT c.sampled, c.mismatches,"
    " (SELECT count(DISTINCT hash) FROM imgdb.missing_hashes(%(space)s)) AS missing"
    " FROM imgdb.check_space(%(space)s, sample_count => %(samples)s,"
    " max_distance => %(max_distance)s) AS c"
)
EXPLAIN = (
    "SELECT * FROM imgdb.explain(%(space)s, query_hash => %(hash)s,"
    " max_distance => %(max_distance)s)"
)
WITHIN = (
    "SELECT * FROM imgdb.within(%(space)s, query_hash => %(hash)s,"
    " max_distance => %(max_distance)s)"
)


@dataclass(frozen=True, slots=True)
class Space:
    """A set of hashes that can be compared with each other."""

    name: str
    description: str
    default_max_distance: int


@dataclass(frozen=True, slots=True)
class SpaceStatistics:
    """How a space is stored; `fragmentation` is bucket rows per row needed, 1 is compact."""

    distinct_hashes: int
    bucket_rows: int
    buckets: int
    fragmentation: float
    bytes: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix, and how many hashes share it."""

    bucket_prefix: int
    hash_count: int


@dataclass(frozen=True, slots=True)
class Check:
    """The result of a check: searches tried, searches that were wrong, hashes that are missing."""

    sampled: int
    mismatches: int
    missing: int

    @property
    def sound(self) -> bool:
        return not self.mismatches and not self.missing


@dataclass(frozen=True, slots=True)
class Explanation:
    """How `within` answers a query."""

    strategy: str
    probes: int
    candidates: int
    matches: int


Connection = psycopg.Connection[Any]


def spaces(conn: Connection) -> list[Space]:
    """List the spaces, the built-in ones first."""
    with conn.cursor(row_factory=class_row(Space)) as cursor:
        return cursor.execute(SPACES).fetchall()


def space_statistics(conn: Connection, space: str) -> SpaceStatistics:
    """Tell how a space is stored; reads all of its buckets."""
    with conn.cursor(row_factory=class_row(SpaceStatistics)) as cursor:
        found = cursor.execute(STATISTICS, {"space": space}).fetchone()
    assert found is not None
    return found


def fullest_buckets(conn: Connection, space: str, limit: int = 10) -> list[Bucket]:
    """List the buckets that hold most hashes."""
    with conn.cursor(row_factory=class_row(Bucket)) as cursor:
        return cursor.execute(FULLEST, {"space": space, "limit": limit}).fetchall()


def check(conn: Connection, space: str, *, samples: int = 100, max_distance: int = 8) -> Check:
    """Compare `within` with `scan` on samples of a space, and look for hashes that it lacks."""
    arguments = {"space": space, "samples": samples, "max_distance": max_distance}
    # One snapshot: rows that others write at the same time must not look like a mismatch.
    with read_only(conn), conn.cursor(row_factory=class_row(Check)) as cursor:
        found = cursor.execute(CHECK, arguments).fetchone()
    assert found is not None
    return found


def rebuild(conn: Connection, space: str) -> float:
    """Make a space anew from its tracked columns; return the seconds. Their writers wait."""
    return _timed(conn, REBUILD, {"space": space})


def explain(
    conn: Connection, space: str, hash_value: int, max_distance: int
) -> tuple[Explanation, float]:
    """Tell what a search does, and its milliseconds as a client sees them, the best of three."""
    arguments = {"space": space, "hash": hash_value, "max_distance": max_distance}
    with read_only(conn), conn.cursor(row_factory=class_row(Explanation)) as cursor:
        found = cursor.execute(EXPLAIN, arguments).fetchone()
        seconds = min(_timed(conn, WITHIN, arguments) for _ in range(3))
    assert found is not None
    return found, 1000 * seconds


def _timed(conn: Connection, statement: str, arguments: dict[str, object]) -> float:
    started = time.perf_counter()
    conn.execute(statement, arguments)
    return time.perf_counter() - started
