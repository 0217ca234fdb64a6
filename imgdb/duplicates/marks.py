"""Pairs of images that a person said are different, for good: no search shows them as alike."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg.rows import class_row

from imgdb.database.sessions import value
from imgdb.errors import UnknownName, UsageError
from imgdb.paths import absolute, path_text

IMAGES_AT = "SELECT * FROM imgdb._images_at(%s::text[], collection_name => %s)"
MARK = "SELECT imgdb._mark_different(%s::bigint[], %s::bigint[])"
UNMARK = "SELECT imgdb._unmark_different(%s::bigint[], %s::bigint[])"
MARKS = "SELECT * FROM imgdb._marks(collection_name => %s)"


@dataclass(frozen=True, slots=True)
class Mark:
    """Two images that somebody marked as different."""

    path_a: str
    collection_a: str
    path_b: str
    collection_b: str
    marked_at: datetime


@dataclass(frozen=True, slots=True)
class _Image:
    path: str
    image_id: int
    collection: str
    is_file: bool


def mark_different(
    conn: psycopg.Connection[Any], names: Sequence[str], collection: str | None = None
) -> int:
    """Remember that each of several images is different from each other one.

    An image is named by a path of the operating system or as the database spells it. Return how
    many pairs are new. Raises UnknownName, and UsageError where a name is that of several images.
    """
    return _store(conn, MARK, _pairs(_images(conn, names, collection)))


def mark_images(conn: psycopg.Connection[Any], image_ids: Sequence[int]) -> int:
    """Remember that each of several images is different from each other one; return new pairs."""
    return _store(conn, MARK, _pairs([[image_id] for image_id in image_ids]))


def take_back(
    conn: psycopg.Connection[Any], names: Sequence[str], collection: str | None = None
) -> int:
    """Forget what was said of several images among each other, or all that was said of one.

    Return how many pairs that were; raises as `mark_different` does.
    """
    images = _images(conn, names, collection)
    if len(images) > 1:
        return _store(conn, UNMARK, _pairs(images))
    return _store(conn, UNMARK, [(image_id, None) for image_id in images[0]])


def marks(conn: psycopg.Connection[Any], collection: str | None = None) -> list[Mark]:
    """List what was marked, oldest first."""
    with conn.cursor(row_factory=class_row(Mark)) as cursor:
        return cursor.execute(MARKS, (collection,)).fetchall()


def _images(
    conn: psycopg.Connection[Any], names: Sequence[str], collection: str | None
) -> list[list[int]]:
    """Return the rows of each image: one file may be in several collections."""
    spelled = {name: path_text(absolute(name)) for name in names}
    asked = [*spelled, *spelled.values()]
    found = defaultdict(list)
    with conn.cursor(row_factory=class_row(_Image)) as cursor:
        for image in cursor.execute(IMAGES_AT, ([_valid(name) for name in asked], collection)):
            found[image.path].append(image)
    images = [found.get(name) or found.get(spelled[name]) for name in spelled]
    unknown = [name for name, rows in zip(spelled, images, strict=True) if not rows]
    if unknown:
        where = f"collection {collection}" if collection else "the database"
        listed = ", ".join(map(path_text, unknown))
        raise UnknownName(f"not in {where}: {listed}; imgdb ingest adds pictures")
    for rows in images:
        assert rows
        # The same path is the same file, but the same name of imported hashes says nothing.
        if len(rows) > 1 and not all(image.is_file for image in rows):
            collections = ", ".join(image.collection for image in rows)
            raise UsageError(
                f"{rows[0].path} is in several collections ({collections}): name one of them with "
                "--collection"
            )
    return [[image.image_id for image in rows] for rows in images if rows]


def _valid(name: str) -> str:
    """Return a name as the database can take it; what it cannot take, it does not know."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return path_text(name)
    return name


def _pairs(images: Sequence[Sequence[int]]) -> list[tuple[int, int | None]]:
    return [
        (a, b)
        for one, other in itertools.combinations(images, 2)
        for a, b in itertools.product(one, other)
        if a != b
    ]


def _store(
    conn: psycopg.Connection[Any], call: LiteralString, pairs: Sequence[tuple[int, int | None]]
) -> int:
    return int(value(conn, call, [a for a, _ in pairs], [b for _, b in pairs]))
