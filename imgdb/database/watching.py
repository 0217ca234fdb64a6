"""Live matches: what arrived near a hash that somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from imgdb.database.sessions import value
from imgdb.database.spaces import Connection

LISTEN = "LISTEN imgdb_match"
MATCHES = (
    "SELECT match_id, matched_at, space, label, distance, relation_name AS relation,"
    " imgdb.to_hex(hash) AS hash FROM imgdb.own_match ORDER BY match_id"
)
ACKNOWLEDGE = "SELECT imgdb.acknowledge(%s)"

# Seconds until one looks without being told: a pooler may swallow what LISTEN asks for.
IDLE = 10.0


@dataclass(frozen=True, slots=True)
class LiveMatch:
    """What arrived near an entry of a watch list; `relation` is None for what was there before."""

    match_id: int
    matched_at: datetime
    space: str
    label: str
    distance: int
    relation: str | None
    hash: str


def live_matches(conn: Connection) -> list[LiveMatch]:
    """List the matches that nobody has acknowledged, in spaces that the user may watch."""
    with conn.cursor(row_factory=class_row(LiveMatch)) as cursor:
        return cursor.execute(MATCHES).fetchall()


def follow_matches(conn: Connection) -> Iterator[list[LiveMatch]]:
    """Yield what nobody has acknowledged, then again and again what came since; never ends.

    The connection must be in autocommit mode.
    """
    conn.execute(LISTEN)
    shown: set[int] = set()
    while True:
        found = live_matches(conn)
        # By what was shown, not by number: a smaller one may be committed later.
        if new := [match for match in found if match.match_id not in shown]:
            yield new
        shown = {match.match_id for match in found}
        for _ in conn.notifies(timeout=IDLE, stop_after=1):
            pass


def acknowledge(conn: Connection, matches: list[LiveMatch]) -> int:
    """Remove matches that somebody has seen; return how many were still there."""
    return int(value(conn, ACKNOWLEDGE, [match.match_id for match in matches]))
