"""Spaces: which there are, how each is stored, and whether its searches are right."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.errors import NotOwner, UnknownName
from imgdb.sqlstate import translate
from imgdb.words import printable

# A shadow is what a rebuild fills: it is no space yet.
SPACES = (
    "SELECT name, description, default_max_distance FROM imgdb.space"
    " WHERE shadow_of IS NULL ORDER BY name"
)
OWN = (
    "SELECT s.name FROM imgdb.space AS s"
    " JOIN unnest(imgdb._spaces_to_compact(NULL)) AS own (space_id) ON own.space_id = s.space_id"
    " WHERE s.shadow_of IS NULL ORDER BY s.name"
)
DEFAULT = "SELECT imgdb._default_distance(%s, %s)"
STATISTICS = "SELECT * FROM imgdb.space_statistics(%(space)s)"
FULLEST = "SELECT * FROM imgdb.fullest_buckets(%(space)s, bucket_limit => %(limit)s)"
REBUILD = "CALL imgdb.rebuild(%(space)s)"
PROBLEMS = "SELECT * FROM imgdb.tracking_problems()"
TRACKED = (
    "SELECT DISTINCT t.table_id::oid FROM imgdb.tracked_column AS t"
    " JOIN imgdb.space AS s ON s.space_id = t.space_id WHERE s.name = %(space)s"
)
# Detached from their parent, or restored from a dump of another database.
STRAYS = (
    "SELECT DISTINCT t.on_table::oid FROM imgdb._append_triggers() AS t"
    " WHERE cardinality(imgdb._wanted_keys(t.on_table)) = 0"
)
CATCH_UP = "SELECT imgdb.catch_up(%s::oid::regclass)"
DROP_STALE = "SELECT imgdb.drop_stale(%s)"
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
NEAREST = (
    "SELECT * FROM imgdb.nearest(%(space)s, query_hash => %(hash)s, match_limit => %(limit)s)"
    " ORDER BY distance, hash"
)


@dataclass(frozen=True, slots=True)
class Space:
    """A set of hashes that can be compared with each other."""

    name: str
    description: str
    default_max_distance: int


@dataclass(frozen=True, slots=True)
class SpaceStatistics:
    """How a space is stored; `fragmentation` is bucket rows per row needed, 1 is compact.

    `fresh_hashes` are those that no flush has put into buckets yet.
    """

    distinct_hashes: int
    fresh_hashes: int
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
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A hash of a space, and how far it is from the one that was asked for."""

    hash: int
    distance: int


@dataclass(frozen=True, slots=True)
class Problem:
    """A table or space that is not as what is tracked asks for."""

    relation: str
    problem: str


Connection = psycopg.Connection[Any]


def spaces(conn: Connection) -> list[Space]:
    """List the spaces by name."""
    with conn.cursor(row_factory=class_row(Space)) as cursor:
        return cursor.execute(SPACES).fetchall()


def own_spaces(conn: Connection) -> list[str]:
    """Name the spaces that the user looks after: for the owner of schema imgdb all of them.

    Raises NotOwner if there is none.
    """
    names = [name for (name,) in conn.execute(OWN).fetchall()]
    if not names:
        raise NotOwner(
            "no space belongs to this role: the owner of schema imgdb looks after those of the "
            "images, others after spaces of their own (`imgdb db grant ROLE --keep`)"
        )
    return names


def default_distance(conn: Connection, space: str, collection: str | None) -> int:
    """Return the distance that counts as alike by a rule, or in a space, where nobody says one."""
    with read_only(conn):
        found: int | None = value(conn, DEFAULT, space, collection)
    if found is None:
        raise UnknownName(f"there is no rule or space {printable(space)}")
    return found


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
    """Compare `within` with `scan` on samples of a space, and look for hashes that it lacks.

    Raises NotOwner if the space's tables belong to another role.
    """
    arguments = {"space": space, "samples": samples, "max_distance": max_distance}
    # One snapshot: rows that others write at the same time must not look like a mismatch.
    with _owners_only(), read_only(conn), conn.cursor(row_factory=class_row(Check)) as cursor:
        found = cursor.execute(CHECK, arguments).fetchone()
    assert found is not None
    return found


def tracking_problems(conn: Connection) -> list[Problem]:
    """List where triggers, tables and spaces differ from what is tracked; reads no table."""
    with conn.cursor(row_factory=class_row(Problem)) as cursor:
        return cursor.execute(PROBLEMS).fetchall()


def catch_up(conn: Connection, space: str) -> int:
    """Mend the triggers of a space's tables and index what is missing; return how many hashes.

    Raises NotOwner if the space or a table belongs to another role.
    """
    with _owners_only():
        tables = conn.execute(TRACKED, {"space": space}).fetchall()
        return sum(value(conn, CATCH_UP, oid) for (oid,) in tables)


def free_strays(conn: Connection) -> int:
    """Remove imgdb's triggers from tables that are not tracked; return how many tables.

    Raises NotOwner as `catch_up` does.
    """
    with _owners_only():
        tables = conn.execute(STRAYS).fetchall()
        for (oid,) in tables:
            conn.execute(CATCH_UP, [oid])
    return len(tables)


def drop_stale(conn: Connection, space: str) -> int:
    """Remove from a space what no row holds any more; return how many hashes.

    Raises NotOwner as `catch_up` does.
    """
    with _owners_only():
        return int(value(conn, DROP_STALE, space))


@contextlib.contextmanager
def _owners_only() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        translated = translate(error)
        if isinstance(translated, NotOwner):
            raise translated from error
        raise


def rebuild(conn: Connection, space: str) -> float:
    """Make a space anew from its tracked columns; return the seconds. Searches and writers go on.

    The connection must be in autocommit mode and outside of a transaction.
    """
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


def near_hashes(
    conn: Connection, space: str, hash_value: int, max_distance: int
) -> list[Neighbour]:
    """List the hashes of a space within `max_distance`, nearest first."""
    arguments = {"space": space, "hash": hash_value, "max_distance": max_distance}
    with read_only(conn), conn.cursor(row_factory=class_row(Neighbour)) as cursor:
        return cursor.execute(WITHIN + " ORDER BY distance, hash", arguments).fetchall()


def nearest_hashes(conn: Connection, space: str, hash_value: int, limit: int) -> list[Neighbour]:
    """List the `limit` nearest hashes of a space."""
    arguments = {"space": space, "hash": hash_value, "limit": limit}
    with read_only(conn), conn.cursor(row_factory=class_row(Neighbour)) as cursor:
        return cursor.execute(NEAREST, arguments).fetchall()


def _timed(conn: Connection, statement: str, arguments: dict[str, object]) -> float:
    started = time.perf_counter()
    conn.execute(statement, arguments)
    return time.perf_counter() - started
