"""Find the images that look like a picture: typed rows, by hash and by bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.hashes.values import ALGORITHMS, Hashes, from_hex
from imgdb.paths import path_text

if TYPE_CHECKING:
    from imgdb.pictures.images import AnyImage

MATCHES = (
    "SELECT * FROM imgdb._matches(space_name => %(space)s, query_ahashes => %(ahash)s,"
    " query_dhashes => %(dhash)s, query_phashes => %(phash)s, query_whashes => %(whash)s,"
    " query_orientations => %(orientations)s, query_sha256 => %(sha256)s,"
    " max_distance => %(max_distance)s, collection_name => %(collection)s,"
    " match_limit => %(limit)s, flood_limit => %(flood)s, include_flat => %(include_flat)s)"
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its name for a person, its hashes, and its bytes if it is a file.

    `turned` is what its hashes would be if it were turned back, for each orientation that it may
    have; empty if it is looked for as it is.
    """

    name: str
    hashes: Hashes
    sha256: bytes | None = None
    flat: bool = False
    turned: tuple[Hashes, ...] = ()


def query_by_file(
    image: AnyImage, *, name: str | None = None, any_orientation: bool = False
) -> Query:
    """Read a picture to look for, in any of its eight orientations if asked; PictureError."""
    from imgdb.hashes.exact import read_grey
    from imgdb.hashes.orientations import read_turned_back
    from imgdb.pictures.images import open_image

    with open_image(image) as source:
        picture = source.picture()
    if name is None:
        name = path_text(image) if isinstance(image, str | os.PathLike) else ""
    if not any_orientation:
        read = read_grey(picture.grey)
        return Query(name, read.hashes, picture.sha256, read.flat)
    readings = read_turned_back(picture.grey)
    turned = tuple(reading.hashes for reading in readings)
    return Query(name, turned[0], picture.sha256, readings[0].flat, turned)


def query_by_hex(space: str, hex_digits: str) -> Query:
    """Look for a hash of a space in 16 hex digits; other text is a UsageError."""
    return Query(hex_digits, Hashes(**{space: from_hex(hex_digits)}))


@dataclass(frozen=True, slots=True)
class Match:
    """An image that looks like the query; `distance` is the one in the space that was searched.

    Distances are None where either side lacks the hash, what is known of the file is None where
    its row was imported without the file. `orientation` says how the query is turned, against the
    image, in the words of `hashes.orientations`; None if it was looked for as it is.
    `images` is how many images of one hash the match stands for, 1 without flood control.
    """

    path: str
    distance: int | None
    ahash_distance: int | None
    dhash_distance: int | None
    phash_distance: int | None
    whash_distance: int | None
    orientation: str | None
    same_bytes: bool
    images: int
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
    flood: int | None = None,
    include_flat: bool = False,
) -> list[Match]:
    """List the images within `max_distance` (bits; None: the default of the space), nearest first.

    Files of the same bytes come first, whatever their hashes are. Where more than `flood` matches
    have one hash, one of them stands for all. The connection must be outside of a transaction: the
    search runs in one that is read-only.
    """
    from imgdb.hashes.orientations import WORDS

    asked = query.turned or (query.hashes,)
    arguments = {
        **{name: [getattr(hashes, name) for hashes in asked] for name in ALGORITHMS},
        "space": space,
        "orientations": list(WORDS) if query.turned else None,
        "sha256": query.sha256,
        "max_distance": max_distance,
        "collection": collection,
        "limit": limit,
        "flood": flood,
        "include_flat": include_flat,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Match)) as cursor:
        return cursor.execute(MATCHES, arguments).fetchall()
