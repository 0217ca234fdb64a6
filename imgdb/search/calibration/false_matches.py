"""How many images of a collection are taken for an edited picture though they are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from imgdb.search.calibration import confidence
from imgdb.search.calibration.confidence import Rate

FALSE_MATCHES = (
    "SELECT * FROM imgdb._false_matches(%(space)s, %(collection)s, %(originals)s, %(copies)s,"
    " alike_distance => %(alike)s, max_distance => %(max_distance)s,"
    " draw_size => %(draw_size)s, draw_seed => %(seed)s)"
)
COPIES = "SELECT * FROM imgdb._copies_of(%(originals)s, %(collection)s, %(alike)s)"

# The largest distance that is looked at; unlike pictures are 32 apart on average.
LARGEST = 32

# Up to here a search is quick in a collection of any size (the radii with prepared probes).
SEARCHED = 12

# Pairs whose distance is computed for what is farther away, and pairs that the quick searches may
# stand for: either takes seconds, and at most a minute.
DRAWN_PAIRS = 2_000_000
SEARCHED_PAIRS = 500_000_000


@dataclass(frozen=True, slots=True)
class Copies:
    """An original by its image_id, and the hashes of its edited copies in one space."""

    original_id: int
    hashes: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """In which `images` images of a space to look: those of a collection, None is all.

    The answer is for `expected` images, None is as many as there are. An image within `alike` bits
    of an original in every hash is a copy of it, and no false match.
    """

    space: str
    collection: str | None
    images: int
    expected: int | None
    alike: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Found:
    original_id: int
    distance: int
    matches: int


def false_matches(
    conn: psycopg.Connection[Any], among: Among, asked: Sequence[Copies]
) -> tuple[int, tuple[Rate, ...]]:
    """Return how many images were looked at, and the false matches of a search by distance.

    If there are few images, all are looked at. If there are many, searches find the near ones (for
    fewer of the copies if there are too many), and beyond SEARCHED the number is estimated from
    images that are drawn.
    """
    copies = sum(len(one.hashes) for one in asked)
    drawn = max(1, min(among.images, DRAWN_PAIRS // copies))
    scale = among.images / drawn
    counts = scale * _per_picture(conn, among, asked, LARGEST, draw_size=drawn)
    if drawn < among.images:
        step = -(-copies * among.images // SEARCHED_PAIRS)
        near = _per_picture(conn, among, _every(step, asked), SEARCHED, draw_size=None)
        counts[:, : SEARCHED + 1] = near[:, : SEARCHED + 1]
    # Twice as many images show twice as many that are wrong.
    growth = (among.expected or among.images) / among.images
    sums = growth * counts.cumsum(axis=1)
    return drawn, tuple(
        confidence.mean_rate(
            sums[:, distance].tolist(), growth if distance <= SEARCHED else growth * scale
        )
        for distance in range(LARGEST + 1)
    )


def count_copies(
    conn: psycopg.Connection[Any],
    originals: Sequence[int],
    *,
    collection: str | None,
    alike: int,
) -> int:
    """Count the images of a collection that are taken for copies of others, by image_id."""
    given = {"originals": list(originals), "collection": collection, "alike": alike}
    return len(conn.execute(COPIES, given).fetchall())


def _every(step: int, asked: Sequence[Copies]) -> list[Copies]:
    """Leave copies out, other ones for each picture, so that each edit has its turn."""
    return [
        Copies(one.original_id, one.hashes[row % min(step, len(one.hashes)) :: step])
        for row, one in enumerate(asked)
    ]


def _per_picture(
    conn: psycopg.Connection[Any],
    among: Among,
    asked: Sequence[Copies],
    max_distance: int,
    *,
    draw_size: int | None,
) -> NDArray[np.float64]:
    """Count the false matches of a mean copy, by picture (row) and distance (column)."""
    given = {
        "space": among.space,
        "collection": among.collection,
        "originals": [one.original_id for one in asked for _ in one.hashes],
        "copies": [value for one in asked for value in one.hashes],
        "alike": among.alike,
        "max_distance": max_distance,
        "draw_size": draw_size,
        "seed": among.seed,
    }
    row_of = {one.original_id: row for row, one in enumerate(asked)}
    counts = np.zeros((len(asked), LARGEST + 1))
    with conn.cursor(row_factory=class_row(_Found)) as cursor:
        for found in cursor.execute(FALSE_MATCHES, given):
            row = row_of[found.original_id]
            counts[row, found.distance] = found.matches / len(asked[row].hashes)
    return counts
