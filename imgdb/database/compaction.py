"""Look after the spaces: statistics, compact, check, rebuild, explain."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgdb.database.sessions import at_once, twin
from imgdb.database.spaces import Connection, _timed, drop_stale, space_statistics
from imgdb.errors import NotOwner

FRAGMENTED = "SELECT * FROM imgdb._fragmented_spaces(%s, least_fragmentation => %s)"
COMPACT = "CALL imgdb.compact(%(space)s)"
MAY_DROP = "SELECT has_function_privilege('imgdb.drop_stale(text)', 'EXECUTE')"
VACUUM = "VACUUM imgdb.prefix_bucket"
VACUUM_FULL = "VACUUM FULL imgdb.prefix_bucket"
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL (%s::int[])"
)

# Searches of small spaces are quick in any state; a row where 1.5 are needed is hardly felt.
WORTH_COMPACTING_ROWS = 20_000
WORTH_COMPACTING_FRAGMENTATION = 1.5

SESSIONS = 2  # that merge at once: no more, where others search meanwhile


@dataclass(frozen=True, slots=True)
class Compacted:
    """What compacting did to a space."""

    space: str
    rows_before: int
    rows_after: int
    bytes_before: int
    bytes_after: int
    seconds: float


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
    """Compact spaces, two at a time, and drop what is stale in one's own; return the seconds.

    The connection must be in autocommit mode and outside of a transaction: the work is committed in
    batches. `full` as for `give_back`.
    """
    seconds: dict[str, float] = {}
    may_drop = conn.execute(MAY_DROP).fetchone() == (True,)

    def work(session: Connection, name: str) -> None:
        seconds[name] = _timed(session, COMPACT, {"space": name})
        # Only the owner of a space may read what feeds it.
        if not may_drop:
            return
        with contextlib.suppress(NotOwner):
            began = time.perf_counter()
            dropped = drop_stale(session, name)
            seconds[name] += time.perf_counter() - began
            if dropped:  # which leaves rows that hold fewer hashes than they could
                seconds[name] += _timed(session, COMPACT, {"space": name})

    ended = _each(conn, space_names, work)
    vacuum(conn, full=full, ended=ended)
    return seconds


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


def vacuum(conn: Connection, *, full: bool | None = None, ended: Sequence[int] = ()) -> None:
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
