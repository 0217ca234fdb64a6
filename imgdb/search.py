"""Find the images that look like a picture: typed rows, by hash and by bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database import read_only
from imgdb.fingerprint import fingerprint
from imgdb.hashing import Hashes, from_hex
from imgdb.paths import path_text

MATCHES = (
    "SELECT * FROM imgdb._matches(space_name => %(space)s, query_ahash => %(ahash)s,"
    " query_dhash => %(dhash)s, query_phash => %(phash)s, query_whash => %(whash)s,"
    " query_sha256 => %(sha256)s, max_distance => %(max_distance)s,"
    " collection_name => %(collection)s, match_limit => %(limit)s,"
    " include_flat => %(include_flat)s)"
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its name for a person, its hashes, and its bytes if it is a file."""

    name: str
    hashes: Hashes
    sha256: bytes | None = None
    flat: bool = False


def query_by_file(path: str | os.PathLike[str]) -> Query:
    """Read a picture to look for; raises PictureError."""
    found = fingerprint(path)
    hashes = Hashes(found.ahash, found.dhash, found.phash, found.whash)
    return Query(path_text(path), hashes, found.sha256, found.flat)


def query_by_hex(space: str, hex_digits: str) -> Query:
    """Look for a hash of a space in 16 hex digits; other text is a UsageError."""
    return Query(hex_digits, Hashes(**{space: from_hex(hex_digits)}))


@dataclass(frozen=True, slots=True)
class Match:
    """An image that looks like the query; `distance` is the one in the space that was searched.

    Distances are None where either side lacks the hash, what is known of the file is None where
    its row was imported without the file.
    """

    path: str
    distance: int | None
    ahash_distance: int | None
    dhash_distance: int | None
    phash_distance: int | None
    whash_distance: int | None
    same_bytes: bool
    collection: str
    image_id: int
    width: int | None
    height: int | None
    byte_size: int | None
    format: str | None
    modified_at: datetime | None
    missing_since: datetime | None


def similar(
    conn: psycopg.Connection[Any],
    query: Query,
    *,
    space: str = "phash",
    max_distance: int | None = None,
    collection: str | None = None,
    limit: int | None = None,
    include_flat: bool = False,
) -> list[Match]:
    """List the images within `max_distance` (bits; None: the default of the space), nearest first.

    Files of the same bytes come first, whatever their hashes are. The connection must be outside
    of a transaction: the search runs in one that is read-only.
    """
    arguments = {
        "space": space,
        "ahash": query.hashes.ahash,
        "dhash": query.hashes.dhash,
        "phash": query.hashes.phash,
        "whash": query.hashes.whash,
        "sha256": query.sha256,
        "max_distance": max_distance,
        "collection": collection,
        "limit": limit,
        "include_flat": include_flat,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Match)) as cursor:
        return cursor.execute(MATCHES, arguments).fetchall()
