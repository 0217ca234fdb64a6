"""One stored image: what is known of it, and its end."""

from __future__ import annotations

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
