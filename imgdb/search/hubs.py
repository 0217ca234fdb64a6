"""The hashes that flood searches, because very many images have them or are near them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only

HUBS = (
    "SELECT * FROM imgdb._hubs(space_name => %(space)s, max_distance => %(max_distance)s,"
    " flood_limit => %(flood)s, collection_name => %(collection)s, hub_limit => %(limit)s)"
)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hash that `images` images have; each of these matches `matches` other images."""

    hash: int
    images: int
    matches: int
    path: str


def hubs(
    conn: psycopg.Connection[Any],
    *,
    space: str = "phash",
    max_distance: int = 4,
    flood: int = 20,
    collection: str | None = None,
    limit: int | None = None,
) -> list[Hub]:
    """List the hashes whose images match more than `flood` others, most matches first.

    Compares all hashes with each other. The connection must be outside of a transaction: the
    search runs in one that is read-only.
    """
    arguments = {
        "space": space,
        "max_distance": max_distance,
        "flood": flood,
        "collection": collection,
        "limit": limit,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Hub)) as cursor:
        return cursor.execute(HUBS, arguments).fetchall()
