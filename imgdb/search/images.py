"""Find the images that look like a picture: typed rows, by hash and by bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, USUAL_RULE, Hashes, from_hex, rule_hashes
from imgdb.paths import path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from imgdb.pictures.images import AnyImage

MATCHES = (
    "SELECT * FROM imgdb._matches(space_name => %(space)s, query_ahashes => %(ahash)s,"
    " query_dhashes => %(dhash)s, query_phashes => %(phash)s, query_whashes => %(whash)s,"
    " query_orientations => %(orientations)s::text[], query_sha256 => %(sha256)s,"
    " max_distance => %(max_distance)s, collection_name => %(collection)s,"
    " match_limit => %(limit)s, flood_limit => %(flood)s, include_flat => %(include_flat)s)"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One look of what is looked for: its hashes, and how it is turned if that is asked."""

    hashes: Hashes
    flat: bool = False
    orientation: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its name for a person, its hashes, and its bytes if it is a file.

    `looks` are all that it may look like: turned back, for each orientation that it may have, and
    where it is transparent on white and on black. `flat` says that it is flat in all of them.
    """

    name: str
    hashes: Hashes
    sha256: bytes | None = None
    flat: bool = False
    looks: tuple[Asked, ...] = ()


def query_by_file(
    image: AnyImage, *, name: str | None = None, any_orientation: bool = False
) -> Query:
    """Read a picture to look for, in any of its eight orientations if asked; PictureError."""
    from imgdb.pictures.images import open_image

    with open_image(image) as source:
        picture = source.picture()
        greys = [picture.grey]
        # What is stored was laid on white; but a program without transparency makes it black.
        if picture.transparent:
            black = source.on_black()
            greys += [black] if black.tobytes() != picture.grey.tobytes() else []
    if name is None:
        name = path_text(image) if isinstance(image, str | os.PathLike) else ""
    looks = tuple(look for grey in greys for look in _looks(grey, any_orientation))
    flat = all(look.flat for look in looks)
    return Query(name, looks[0].hashes, picture.sha256, flat, looks)


def _looks(grey: Image.Image, any_orientation: bool) -> Iterator[Asked]:
    from imgdb.hashes.exact import read_grey
    from imgdb.hashes.orientations import WORDS, read_turned_back

    if not any_orientation:
        read = read_grey(grey)
        yield Asked(read.hashes, read.flat)
        return
    for words, read in zip(WORDS, read_turned_back(grey), strict=True):
        yield Asked(read.hashes, read.flat, words)


def query_by_hex(rule: str, hex_digits: str) -> Query:
    """Look for a hash in 16 hex digits, or for those of a rule, joined by + as in its name.

    Other text is a UsageError.
    """
    names, given = rule_hashes(rule), hex_digits.split("+")
    if len(given) != len(names):
        raise UsageError(f"{rule} takes {len(names)} of 16 hex digits, joined by +: {hex_digits}")
    return Query(hex_digits, Hashes(**dict(zip(names, map(from_hex, given), strict=True))))


@dataclass(frozen=True, slots=True)
class Match:
    """An image that looks like the query; `distance` is the one by the rule that was searched by.

    Distances are None where either side lacks the hash. By a rule of two hashes, where one is
    lacking, the other counts twice. What is known of the file is None where
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
    frames: int | None
    byte_size: int | None
    format: str | None
    modified_at: datetime | None
    missing_since: datetime | None


def similar(
    conn: psycopg.Connection[Any],
    query: Query,
    *,
    space: str = USUAL_RULE,
    max_distance: int | None = None,
    collection: str | None = None,
    limit: int | None = None,
    flood: int | None = None,
    include_flat: bool = False,
    missing: bool = True,
) -> list[Match]:
    """List the images within `max_distance` (None: the default), nearest first.

    `space` is a rule, or one of its hashes alone.

    Files of the same bytes come first, whatever their hashes are. Where more than `flood` matches
    have one hash, one of them stands for all. The connection must be outside of a transaction: the
    search runs in one that is read-only.
    """
    asked = query.looks or (Asked(query.hashes),)
    if not (query.flat or include_flat):  # on one of the papers it may be flat
        asked = tuple(look for look in asked if not look.flat)
    arguments = {
        **{name: [getattr(look.hashes, name) for look in asked] for name in ALGORITHMS},
        "space": space,
        "orientations": [look.orientation for look in asked],
        "sha256": query.sha256,
        "max_distance": max_distance,
        "collection": collection,
        "limit": None,
        "flood": flood,
        "include_flat": include_flat,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Match)) as cursor:
        found = cursor.execute(MATCHES, arguments).fetchall()
    # What can be opened comes first, and counts for the limit.
    there = [match for match in found if match.missing_since is None]
    gone = [match for match in found if match.missing_since is not None]
    return [*there, *(gone if missing else [])][:limit]
