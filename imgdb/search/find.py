"""Search with the right to search and no other: paths and distances, no table and no hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.sessions import value
from imgdb.errors import UsageError
from imgdb.hashes.values import PDQ_RULES, rule_hashes
from imgdb.search.images import Asked, Query

FIND_IMAGES = (
    "SELECT * FROM imgdb.find_images(%(space)s, query_hashes => %(hashes)s::bigint[],"
    " max_distance => %(max_distance)s, collection_name => %(collection)s,"
    " match_limit => %(limit)s)"
)
FIND_PDQ = "SELECT * FROM imgdb.find_pdq(%(pdq)s::bigint[], %(max_distance)s)"
MAY_READ = "SELECT has_table_privilege('imgdb.image', 'SELECT')"


@dataclass(frozen=True, slots=True)
class Found:
    """An image that looks like the query."""

    image_id: int
    collection: str
    path: str
    distance: int


def may_read(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether a role may do more than search: read images."""
    return bool(value(conn, MAY_READ))


def find_images(
    conn: psycopg.Connection[Any],
    query: Query,
    *,
    space: str,
    max_distance: int | None = None,
    collection: str | None = None,
    limit: int | None = None,
) -> list[Found]:
    """List the images that look like the query in any of its looks, nearest first.

    No flat look is asked for. A distance beyond what counts as alike is an error of the database.
    """
    if space in PDQ_RULES and space != "pdq":
        raise UsageError(f"{space} needs the right to read: search by pdq, or by hashes")
    nearest: dict[int, Found] = {}
    asked = {"space": space, "max_distance": max_distance, "collection": collection}
    for look in query.looks or (Asked(query.hashes, query.flat),):
        if not look.flat:
            for one in _find_look(conn, look, asked | {"limit": limit}):
                known = nearest.get(one.image_id)
                if known is None or one.distance < known.distance:
                    nearest[one.image_id] = one
    return sorted(nearest.values(), key=lambda one: (one.distance, one.path, one.image_id))[:limit]


def _find_look(
    conn: psycopg.Connection[Any], look: Asked, asked: dict[str, Any]
) -> Iterator[Found]:
    by_pdq = asked["space"] == "pdq"
    hashes = () if by_pdq else rule_hashes(asked["space"])
    given: dict[str, Any] = {
        "hashes": [getattr(look.hashes, name) for name in hashes],
        "pdq": [*(look.pdq or ())],
    }
    if by_pdq and asked["max_distance"] is None:
        given["max_distance"] = PDQ_RULES["pdq"]
    with conn.cursor(row_factory=class_row(Found)) as cursor:
        for one in cursor.execute(FIND_PDQ if by_pdq else FIND_IMAGES, asked | given):
            # All collections have one space of PDQ.
            if not by_pdq or asked["collection"] in (None, one.collection):
                yield one
