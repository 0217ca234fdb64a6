"""Look after the spaces: statistics, compact, check, rebuild, explain."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb import buckets
from imgdb.database import read_only
from imgdb.sessions import at_once, twin

SPACES = "SELECT name, description, default_max_distance FROM imgdb.space ORDER BY space_id"
STATISTICS = "SELECT * FROM imgdb.space_statistics(%(space)s)"
FULLEST = "SELECT * FROM imgdb.fullest_buckets(%(space)s, bucket_limit => %(limit)s)"
FRAGMENTED = "SELECT * FROM imgdb._fragmented_spaces(%s, least_fragmentation => %s)"
COMPACT = "CALL imgdb.compact(%(space)s)"
VACUUM = "VACUUM imgdb.prefix_bucket"
VACUUM_FULL = "VACUUM FULL imgdb.prefix_bucket"
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL (%s::int[])"
)
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

# Searches of small spaces are quick in any state; a row where 1.5 are needed is hardly felt.
WORTH_COMPACTING_ROWS = 20_000
WORTH_COMPACTING_FRAGMENTATION = 1.5

SESSIONS = 2  # that merge at once: no more, where others search meanwhile


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
class Compacted:
    """What compacting did to a space."""

    space: str
    rows_before: int
    rows_after: int
    bytes_before: int
    bytes_after: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a space answers right: searches tried and wrong, hashes that it lacks."""

    sampled: int
    mismatches: int
    missing: int

    @property
    def sound(self) -> bool:
        return not self.mismatches and not self.missing


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `within` does for a query."""

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


def compact(
    conn: Connection, space_names: Sequence[str], *, full: bool | None = None
) -> list[Compacted]:
    """Merge the bucket rows of spaces as `merge` does, and tell what came of it."""
    before = {name: space_statistics(conn, name) for name in space_names}
    seconds = merge(conn, list(before), full=full)
    after = {name: space_statistics(conn, name) for name in before}
    return [
        Compacted(
            name,
            before[name].bucket_rows,
            after[name].bucket_rows,
            before[name].bytes,
            after[name].bytes,
            round(seconds[name], 3),
        )
        for name in before
    ]


def merge(
    conn: Connection, space_names: Sequence[str], *, full: bool | None = None
) -> dict[str, float]:
    """Compact spaces, two at a time; return the seconds that each took.

    The connection must be in autocommit mode and outside of a transaction: the work is committed in
    batches. `full` as for `give_back`.
    """
    seconds: dict[str, float] = {}

    def work(session: Connection, name: str) -> None:
        seconds[name] = _timed(session, COMPACT, {"space": name})

    ended = _each(conn, space_names, work)
    give_back(conn, full=full, ended=ended)
    return seconds


def tidy(conn: Connection, space_names: Sequence[str]) -> None:
    """Merge the bucket rows of spaces as `merge` does, in a tenth of the time.

    Hashes that nothing holds any more stay, unless the space is so large that it is compacted.
    """

    def work(session: Connection, name: str) -> None:
        if not buckets.refile(session, name):
            session.execute(COMPACT, {"space": name})

    give_back(conn, ended=_each(conn, space_names, work))


def _each(
    conn: Connection, space_names: Sequence[str], work: Callable[[Connection, str], None]
) -> list[int]:
    """Work on spaces, two at a time; return the server's processes of the other sessions."""
    waiting = deque(space_names)

    def next_ones(session: Connection) -> None:
        while True:
            try:
                name = waiting.popleft()
            except IndexError:
                return
            work(session, name)

    with contextlib.ExitStack() as stack:
        twins = [stack.enter_context(twin(conn)) for _ in range(min(len(waiting), SESSIONS) - 1)]
        for done in at_once(dict.fromkeys([conn, *twins], next_ones)).values():
            done.result()
        return [session.info.backend_pid for session in twins]


def give_back(conn: Connection, *, full: bool | None = None, ended: Sequence[int] = ()) -> None:
    """Let PostgreSQL use the room of replaced bucket rows again.

    `full` gives it back to the disk, for which searches and writers wait, so None does that while
    nobody else is connected, but for the server's processes that are about to end.
    """
    if full is None:
        full = conn.execute(OTHERS, (list(ended),)).fetchone() == (0,)
    conn.execute(VACUUM_FULL if full else VACUUM)


def fragmented(conn: Connection, *, least_rows: int = WORTH_COMPACTING_ROWS) -> list[str]:
    """Name the spaces in which compacting pays; reads all buckets."""
    found = conn.execute(FRAGMENTED, (least_rows, WORTH_COMPACTING_FRAGMENTATION)).fetchall()
    return [name for (name,) in found]


def check(conn: Connection, space: str, *, samples: int = 100, max_distance: int = 8) -> Check:
    """Compare `within` with `scan` on samples of a space, and look for hashes that it lacks."""
    arguments = {"space": space, "samples": samples, "max_distance": max_distance}
    # One snapshot: what others write meanwhile must not look like a mismatch.
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
