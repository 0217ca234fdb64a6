"""The hashes that flood searches, because very many images have them or are near them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.hashes.values import USUAL_RULE, rule_hashes, to_hex

HUBS = (
    "SELECT * FROM imgdb._hubs(space_name => %(space)s, max_distance => %(max_distance)s,"
    " flood_limit => %(flood)s, collection_name => %(collection)s, hub_limit => %(limit)s)"
)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hash that `images` images have; each of these matches `matches` other images.

    By a rule it is two hashes, `second` is the other one; one of them may be lacking.
    """

    hash: int | None
    second: int | None
    images: int
    matches: int
    path: str

    @property
    def hex(self) -> str:
        """The hash in hex digits, two joined by + as in the name of the rule."""
        first = "" if self.hash is None else to_hex(self.hash)
        return first if self.second is None else f"{first}+{to_hex(self.second)}"


def hub_distance(rule: str) -> int:
    """Return the distance that counts if nobody says one: less than in searches, to be quick."""
    return 4 * len(rule_hashes(rule))


def hubs(
    conn: psycopg.Connection[Any],
    *,
    space: str = USUAL_RULE,
    max_distance: int | None = None,
    flood: int = 20,
    collection: str | None = None,
    limit: int | None = None,
) -> list[Hub]:
    """List the hashes whose images match more than `flood` others, most matches first.

    `max_distance` is 4 for a hash, 8 for both together. Compares all hashes with each other. The
    connection must be outside of a transaction: the search runs in one that is read-only.
    """
    arguments = {
        "space": space,
        "max_distance": hub_distance(space) if max_distance is None else max_distance,
        "flood": flood,
        "collection": collection,
        "limit": limit,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Hub)) as cursor:
        return cursor.execute(HUBS, arguments).fetchall()
