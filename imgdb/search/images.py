"""Find the images that look like a picture: typed rows, by hash and by bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.errors import UsageError
from imgdb.hashes.values import (
    ALGORITHMS,
    PDQ_RULES,
    USUAL_RULE,
    Hashes,
    Pdq,
    from_hex,
    pdq_from_hex,
    rule_hashes,
)
from imgdb.paths import path_text
from imgdb.pictures.limits import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from imgdb.hashes.regions import Region
    from imgdb.pictures.images import AnyImage
    from imgdb.pictures.loader import Source

MATCHES = (
    "SELECT * FROM imgdb._matches(space_name => %(space)s, query_ahashes => %(ahash)s,"
    " query_dhashes => %(dhash)s, query_phashes => %(phash)s, query_whashes => %(whash)s,"
    " query_pdqs => %(pdq)s::bigint[], query_orientations => %(orientations)s::text[],"
    " query_relations => %(relations)s::text[],"
    " query_widths => %(widths)s::integer[], query_heights => %(heights)s::integer[],"
    " region_counts => %(counts)s::integer[], region_boxes => %(boxes)s::integer[],"
    " region_hashes => %(region_hashes)s::bigint[],"
    " query_sha256 => %(sha256)s, max_distance => %(max_distance)s,"
    " collection_name => %(collection)s, match_limit => %(limit)s, flood_limit => %(flood)s,"
    " include_flat => %(include_flat)s, include_missing => %(missing)s,"
    " query_colours => %(colours)s::bytea[], only_same_colours => %(same_colours)s)"
)
ANY_HASH = "SELECT EXISTS (SELECT FROM imgdb.image AS i WHERE i.{} IS NOT NULL)"
ANY_PDQ = "SELECT EXISTS (SELECT FROM imgdb.image_pdq)"
ANY_REGIONS = "SELECT EXISTS (SELECT FROM imgdb.image_region)"


@dataclass(frozen=True, slots=True)
class Asked:
    """One look of what is looked for: its hashes, and how it is turned if that is asked.

    `relation` says what an image of this look is to the query: the `same`, or a `part` of it.
    `small` is the picture itself, as small as regions are found in it. `colours` are those of the
    whole picture: of a part they are not known.
    """

    hashes: Hashes
    flat: bool = False
    orientation: str | None = None
    pdq: Pdq | None = None
    relation: str = "same"
    small: Image.Image | None = None
    colours: bytes | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: its name for a person, its hashes, and its bytes if it is a file.

    `looks` are all that it may look like: turned back, for each orientation that it may have, on
    white and on black where it is transparent, and without its borders. `flat` says that it is flat
    in all of them.
    """

    name: str
    hashes: Hashes
    sha256: bytes | None = None
    flat: bool = False
    looks: tuple[Asked, ...] = ()


def query_by_file(
    image: AnyImage,
    *,
    name: str | None = None,
    any_orientation: bool = False,
    pdq: bool = False,
    parts: bool = True,
) -> Query:
    """Read a picture to look for, in any of its eight orientations if asked; PictureError.

    `pdq` makes its PDQ hashes, too, for the rules that need them. With `parts` also look for it
    without its borders, and for what shares regions with it.
    """
    from imgdb.pictures.images import open_image

    if name is None:
        name = path_text(image) if isinstance(image, str | os.PathLike) else ""
    with open_image(image) as source:
        return query_by_source(source, name, any_orientation=any_orientation, pdq=pdq, parts=parts)


def query_by_source(
    source: Source,
    name: str,
    *,
    any_orientation: bool = False,
    pdq: bool = False,
    parts: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Query:
    """Do as `query_by_file` for a picture that is open already."""
    from imgdb.hashes.orientations import turned_back
    from imgdb.hashes.regions import ASKED, shrink_for_regions
    from imgdb.pictures.borders import borders

    picture = source.picture(luma=pdq, max_pixels=max_pixels)
    seen = [(picture.grey, picture.luma, picture.colours)]
    # What is stored was laid on white; but a program without transparency makes it black.
    if picture.transparent:
        black, colours = source.on_black(max_pixels=max_pixels)
        if black.tobytes() != picture.grey.tobytes():
            seen.append((black, black if pdq else None, colours))
    looks = [look for one in seen for look in _looks(*one, any_orientation)]
    if parts:
        small = shrink_for_regions(picture.grey, ASKED)
        smalls = [*turned_back(small)] if any_orientation else [small]
        looks[: len(smalls)] = [
            replace(look, small=one) for look, one in zip(looks, smalls, strict=False)
        ]
        looks += [
            replace(look, relation="part")
            for grey, luma, _ in seen
            for box in borders(grey)
            for look in _looks(grey.crop(box), luma and luma.crop(box), None, any_orientation)
        ]
    flat = all(look.flat for look in looks)
    return Query(name, looks[0].hashes, picture.sha256, flat, tuple(looks))


def _looks(
    grey: Image.Image, luma: Image.Image | None, colours: bytes | None, any_orientation: bool
) -> Iterator[Asked]:
    from imgdb.hashes.colours import turned
    from imgdb.hashes.exact import read_grey
    from imgdb.hashes.orientations import ORIENTATIONS, read_turned_back, turned_back
    from imgdb.hashes.pdq import read_pdq

    if not any_orientation:
        read, pdq = read_grey(grey), None if luma is None else read_pdq(luma).pdq
        yield Asked(read.hashes, read.flat, None, pdq, colours=colours)
        return
    lumas = turned_back(luma) if luma else [None] * len(ORIENTATIONS)
    for orientation, read, one in zip(ORIENTATIONS, read_turned_back(grey), lumas, strict=True):
        pdq = None if one is None else read_pdq(one).pdq
        back = colours and turned(colours, orientation.inverse())
        yield Asked(read.hashes, read.flat, orientation.words, pdq, colours=back)


def query_by_hex(rule: str, hex_digits: str) -> Query:
    """Look for a hash in 16 hex digits, or for those of a rule, joined by + as in its name.

    PDQ has 64 digits; phash-pdq takes a phash and those. Other text is a UsageError.
    """
    if rule in PDQ_RULES:
        first, _, last = hex_digits.rpartition("+")
        if bool(first) != (rule != "pdq"):
            raise UsageError(
                "pdq takes 64 hex digits, phash-pdq 16 of the phash before them, joined by +: "
                f"{hex_digits}"
            )
        hashes = Hashes(phash=from_hex(first) if first else None)
        return Query(hex_digits, hashes, looks=(Asked(hashes, pdq=pdq_from_hex(last)),))
    names, given = rule_hashes(rule), hex_digits.split("+")
    if len(given) != len(names):
        raise UsageError(f"{rule} takes {len(names)} of 16 hex digits, joined by +: {hex_digits}")
    return Query(hex_digits, Hashes(**dict(zip(names, map(from_hex, given), strict=True))))


@dataclass(frozen=True, slots=True)
class Match:
    """An image that looks like the query; `distance` is the one by the rule that was searched by.

    Distances are None where either side lacks the hash. By a rule of two hashes, where one is
    lacking, the other counts twice; where only parts were found alike, `distance` is None, too.
    `relation` says what the image is to the query: the `same`, a `part` of it (or what is within
    its borders), it `contains` the query, or `overlaps` it. `votes` are the regions that they
    share, None if there are too few. What is known of the file is None where its row was imported
    without the file. `orientation` says how the query is turned, against the image, in the words of
    `hashes.orientations`; None if it was looked for as it is.
    `images` is how many images of one hash the match stands for, 1 without flood control.
    `colour_difference` is in hundredths of OKLab, and `same_colours` what docs/colours.md makes of
    it; None if the colours of one are not known, or where only parts were found alike.
    """

    path: str
    distance: int | None
    ahash_distance: int | None
    dhash_distance: int | None
    phash_distance: int | None
    whash_distance: int | None
    orientation: str | None
    relation: str
    votes: int | None
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
    colour_difference: float | None = None
    same_colours: bool | None = None


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
    parts: bool = True,
    same_colours: bool = False,
) -> list[Match]:
    """List the images within `max_distance` (None: the default), nearest first.

    `space` is a rule, or one of its hashes alone; a rule of PDQ_RULES takes a query with PDQ.

    Files of the same bytes come first, whatever their hashes are; without `include_flat` a flat
    picture finds nothing else, and nothing else finds a flat one. What is gone (`missing_since`)
    comes last, or not at all without `missing`. With `parts`, what shares regions with the query
    comes after what is near. Where more than `flood` matches have one hash, one of them stands for
    all. With `same_colours`, what has other colours, or none that are known, is left out, and no
    image stands for others. The connection must be outside of a transaction: the search runs in
    one that is read-only.
    """
    asked = query.looks or (Asked(query.hashes),)
    if not (query.flat or include_flat):  # on one of the papers it may be flat
        asked = tuple(look for look in asked if not look.flat)
    arguments = {
        **{name: [getattr(look.hashes, name) for look in asked] for name in ALGORITHMS},
        "pdq": [word for look in asked for word in look.pdq or ()],
        "space": space,
        "orientations": [look.orientation for look in asked],
        "relations": [look.relation for look in asked],
        "widths": [look.small and look.small.width for look in asked],
        "heights": [look.small and look.small.height for look in asked],
        "sha256": query.sha256,
        "max_distance": max_distance,
        "collection": collection,
        "limit": limit,
        "flood": flood,
        "include_flat": include_flat,
        "colours": [look.colours for look in asked],
        "same_colours": same_colours,
        "missing": missing,
    }
    with read_only(conn), conn.cursor(row_factory=class_row(Match)) as cursor:
        has_pixels = any(look.small is not None for look in asked)
        look_for_parts = parts and has_pixels and bool(value(conn, ANY_REGIONS))
        regions = [_regions(look) if look_for_parts else [] for look in asked]
        arguments["counts"] = [len(some) for some in regions]
        arguments["boxes"] = [side for some in regions for one in some for side in one.box]
        arguments["region_hashes"] = [one.hash for some in regions for one in some]
        found = cursor.execute(MATCHES, arguments).fetchall()
    # What is flat looks like all that is flat, and is only known by its bytes.
    return [one for one in found if one.same_bytes or include_flat or not query.flat]


def _regions(look: Asked) -> list[Region]:
    from imgdb.hashes.regions import ASKED, find_regions

    return [] if look.small is None else find_regions(look.small, ASKED)


def any_pdq(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether any image has a PDQ hash."""
    with read_only(conn):
        return bool(value(conn, ANY_PDQ))


def any_hash(conn: psycopg.Connection[Any], name: str) -> bool:
    """Tell whether any image has the hash of this name."""
    with read_only(conn):
        found = conn.execute(SQL(ANY_HASH).format(Identifier(name))).fetchone()
    return bool(found and found[0])
