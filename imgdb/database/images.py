"""One stored image: what is known of it, and its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.sessions import value
from imgdb.errors import UnknownName

IMAGE = "SELECT * FROM imgdb._image(%s)"
NEWEST = "SELECT imgdb._newest_image()"
REMOVE = "SELECT imgdb._remove_image(%s, collection_name => %s)"
REMOVE_BY_ID = "DELETE FROM imgdb.image WHERE image_id = %s"
AT_PATH = (
    "SELECT i.image_id FROM imgdb.collection AS c"
    " JOIN imgdb.image AS i ON i.collection_id = c.collection_id"
    " WHERE i.path = ANY (%(paths)s)"
    " ORDER BY c.name IS DISTINCT FROM %(collection)s, i.missing_since IS NOT NULL, i.image_id"
    " LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class Image:
    """A row of imgdb.image with its hashes in hex; of imported hashes there was no file."""

    image_id: int
    collection: str
    path: str
    width: int | None
    height: int | None
    frames: int | None
    byte_size: int | None
    format: str | None
    modified_at: datetime | None
    missing_since: datetime | None
    ingested_at: datetime
    sha256: str | None
    ahash: str | None
    dhash: str | None
    phash: str | None
    whash: str | None
    flat: bool
    recipe: str


def image(conn: psycopg.Connection[Any], image_id: int) -> Image:
    """Return what is known of an image; UnknownName if there is none."""
    with conn.cursor(row_factory=class_row(Image)) as cursor:
        found = cursor.execute(IMAGE, (image_id,)).fetchone()
    if found is None:
        raise UnknownName(f"there is no image {image_id}")
    return found


def image_at(
    conn: psycopg.Connection[Any], paths: Sequence[str], *, collection: str | None = None
) -> Image | None:
    """Return an image that has one of several paths, best that of a collection; None without."""
    asked = {"paths": list(paths), "collection": collection}
    row = conn.execute(AT_PATH, asked).fetchone()
    return None if row is None else image(conn, row[0])


def newest_image(conn: psycopg.Connection[Any]) -> datetime | None:
    """Tell when the image that was added last was stored."""
    found: datetime | None = value(conn, NEWEST)
    return found


def remove_image(conn: psycopg.Connection[Any], path: str, collection: str) -> int:
    """Remove an image by its name and return its image_id; UnknownName if there is none."""
    found = value(conn, REMOVE, path, collection)
    if found is None:
        raise UnknownName(f"the collection {collection} has no image {path}")
    return int(found)


def remove_image_by_id(conn: psycopg.Connection[Any], image_id: int) -> None:
    """Remove an image; UnknownName if there is none."""
    if not conn.execute(REMOVE_BY_ID, (image_id,)).rowcount:
        raise UnknownName(f"there is no image {image_id}")
