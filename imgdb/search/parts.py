"""Find the images that share a part with a picture: its crops, what it was cut from, collages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.hashes.regions import ASKED, Region, find_regions
from imgdb.paths import path_text
from imgdb.pictures.images import AnyImage, open_image
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source
from imgdb.search.images import ANY_REGIONS

MATCHES = (
    "SELECT * FROM imgdb._region_matches(query_width => %(width)s, query_height => %(height)s,"
    " query_boxes => %(boxes)s::integer[], query_hashes => %(hashes)s::bigint[],"
    " query_sha256 => %(sha256)s, max_distance => %(max_distance)s, min_votes => %(min_votes)s,"
    " wrong_per_query => %(wrong_per_query)s, collection_name => %(collection)s,"
    " match_limit => %(limit)s)"
)

# Images that a search shows by chance, on average.
WRONG_PER_QUERY = 0.1

Relation = Literal["same", "contains", "part", "overlaps"]


@dataclass(frozen=True, slots=True)
class RegionQuery:
    """A picture to look for parts of; its size is that of the upright picture."""

    name: str
    width: int
    height: int
    sha256: bytes
    regions: Sequence[Region]


def region_query(image: AnyImage, *, name: str | None = None) -> RegionQuery:
    """Read a picture; raises PictureError."""
    if name is None:
        name = path_text(image) if isinstance(image, str | os.PathLike) else ""
    with open_image(image) as source:
        return region_query_by_source(source, name)


def region_query_by_source(
    source: Source, name: str, *, max_pixels: int = MAX_PIXELS
) -> RegionQuery:
    """Do as `region_query` for a picture that is open already."""
    picture = source.picture(max_pixels=max_pixels)
    regions = find_regions(picture.grey, ASKED)
    return RegionQuery(name, picture.width, picture.height, picture.sha256, regions)


@dataclass(frozen=True, slots=True)
class RegionMatch:
    """An image that shares `votes` regions with the query; `regions` is how many it has.

    `relation` says what the image is to the query. The box is where in the image the query lies,
    `query_left` and what follows where in the query the image lies, both in pixels.
    """

    path: str
    votes: int
    regions: int
    relation: Relation
    box_left: int
    box_top: int
    box_width: int
    box_height: int
    query_left: int
    query_top: int
    query_box_width: int
    query_box_height: int
    same_bytes: bool
    collection: str
    image_id: int
    width: int
    height: int
    frames: int
    byte_size: int
    format: str
    modified_at: datetime
    missing_since: datetime | None

    @property
    def there(self) -> str:
        """Where in the image the query lies, as ImageMagick's -crop takes it."""
        return _crop(self.box_left, self.box_top, self.box_width, self.box_height)

    @property
    def here(self) -> str:
        """Where in the query the image lies."""
        return _crop(self.query_left, self.query_top, self.query_box_width, self.query_box_height)


def _crop(left: int, top: int, width: int, height: int) -> str:
    return f"{width}x{height}+{left}+{top}"


def sharing_parts(
    conn: psycopg.Connection[Any],
    query: RegionQuery,
    *,
    max_distance: int | None = None,
    min_votes: int | None = None,
    wrong_per_query: float = WRONG_PER_QUERY,
    collection: str | None = None,
    limit: int | None = None,
) -> list[RegionMatch]:
    """List the images that share `min_votes` regions with the query, most votes first.

    None: so many that `wrong_per_query` images are shown by chance; common regions count less.
    Regions are alike within `max_distance` bits; None: the default of space `region`. The
    connection must be outside of a transaction: the search runs in one that is read-only.
    """
    arguments = {
        "width": query.width,
        "height": query.height,
        "boxes": [side for region in query.regions for side in region.box],
        "hashes": [region.hash for region in query.regions],
        "sha256": query.sha256,
        "max_distance": max_distance,
        "min_votes": min_votes,
        "wrong_per_query": wrong_per_query,
        "collection": collection,
        "limit": limit,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(RegionMatch)) as cursor:
        return cursor.execute(MATCHES, arguments).fetchall()


def any_regions(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether any image has regions."""
    with read_only(conn):
        return bool(value(conn, ANY_REGIONS))
