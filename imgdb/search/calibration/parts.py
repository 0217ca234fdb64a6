"""How many copies searches for parts find, and how many wrong images they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

import psycopg

from imgdb.database.connect import read_only
from imgdb.hashes.copies import Copy
from imgdb.search.calibration import confidence
from imgdb.search.calibration.results import PartsFigures, PartsOfEdit, Question
from imgdb.search.parts import RegionQuery, sharing_parts

WRONG = (
    "SELECT w.images FROM imgdb._wrong_by_parts(collection_name => %(collection)s,"
    " draw_size => %(size)s, draw_seed => %(seed)s, alike_bits => %(alike)s,"
    " wrong_per_query => %(wrong)s) AS w"
)

# Stored images whose regions are asked, 64 hashes each at most: half a minute or so.
QUERIES = 1_000


def measure_parts(
    conn: psycopg.Connection[Any],
    question: Question,
    stored: int,
    measured: Sequence[tuple[int, Sequence[Copy], Sequence[bool]]],
    *,
    watching: Callable[[int], None],
) -> PartsFigures:
    """Search for the copies of pictures, and with the regions of `stored` images.

    A picture is its image_id, its copies in the order of the edits, and which of these are found
    without their parts.
    """
    growth = (question.at or stored) / stored
    # So many votes as the collection will ask for when it has grown.
    wrong = question.wrong_per_query / growth
    with read_only(conn):
        counts = conn.execute(
            WRONG,
            {
                "collection": question.collection,
                "size": QUERIES,
                "seed": question.seed,
                "alike": question.alike,
                "wrong": wrong,
            },
        ).fetchall()
    found = []
    for done, (image_id, copies, without) in enumerate(measured, start=1):
        by_parts = [_is_found(conn, image_id, copy, wrong, question.collection) for copy in copies]
        found.append([(one, one or other) for one, other in zip(by_parts, without, strict=True)])
        watching(done)
    pictures = len(found)
    shares = (
        [
            tuple(fmean(picture[place][which] for picture in found) for which in (0, 1))
            for place in range(len(question.edits))
        ]
        if found
        else []
    )
    counted = [
        share for share, edit in zip(shares, question.edits, strict=False) if edit.counts
    ] or shares

    def of_edit(name: str, parts: float, query: float) -> PartsOfEdit:
        return PartsOfEdit(
            name, confidence.share(parts, pictures), confidence.share(query, pictures)
        )

    return PartsFigures(
        pictures,
        len(counts),
        confidence.mean_rate([growth * images for (images,) in counts], growth),
        of_edit("all", *(fmean(share[which] for share in counted) for which in (0, 1))),
        tuple(
            of_edit(edit.name, *share) for edit, share in zip(question.edits, shares, strict=True)
        ),
    )


def _is_found(
    conn: psycopg.Connection[Any], image_id: int, copy: Copy, wrong: float, collection: str | None
) -> bool:
    query = RegionQuery("", copy.width, copy.height, b"", copy.regions)
    matches = sharing_parts(conn, query, wrong_per_query=wrong, collection=collection)
    return any(match.image_id == image_id for match in matches)
