"""What `imgdb duplicates` must find, in Python that is slow and obviously right."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import networkx as nx
import psycopg

ADD = (
    "INSERT INTO imgdb.image (collection_id, path, byte_size, modified_at, sha256, format, width,"
    " height, frames, ahash, dhash, phash, whash, flat, missing_since, recipe, colours)"
    " VALUES ((SELECT collection_id FROM imgdb.collection WHERE name = %(collection)s), %(path)s,"
    " %(byte_size)s, %(modified_at)s, %(sha256)s, 'PNG', %(width)s, %(height)s, 1, %(ahash)s,"
    " %(dhash)s, %(phash)s, %(whash)s, %(flat)s, %(missing_since)s, 'x', %(colours)s)"
    " RETURNING image_id"
)
# Of all rows: which colours they have, another test asks.
COLOURS = bytes([100, 128, 64] * 9)
MARK = "INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b) VALUES (%s, %s)"
NAMES = ("ahash", "dhash", "phash", "whash")
START = datetime(2026, 1, 1, tzinfo=UTC)


def components(images: Collection[Any], near: Callable[[Any, Any], bool]) -> set[frozenset[Any]]:
    """Return the connected components of two or more images, after comparing all with all."""
    graph = nx.Graph(pair for pair in itertools.combinations(images, 2) if near(*pair))
    return {frozenset(found) for found in nx.connected_components(graph)}


@dataclass(frozen=True)
class Row:
    """A row of imgdb.image."""

    collection: str
    path: str
    byte_size: int
    modified_at: datetime
    sha256: bytes
    width: int
    height: int
    ahash: int | None
    dhash: int | None
    phash: int | None
    whash: int | None
    flat: bool
    missing_since: datetime | None
    image_id: int = 0

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def hashes(self) -> tuple[int | None, ...]:
        return self.ahash, self.dhash, self.phash, self.whash


@dataclass
class Library:
    """Rows and marks, in a database and here."""

    rows: dict[int, Row] = field(default_factory=dict)
    marks: set[tuple[int, int]] = field(default_factory=set)


def distance(a: int, b: int) -> int:
    return ((a ^ b) & (2**64 - 1)).bit_count()


RULES = ("phash", "phash+dhash")


def apart(rule: str, a: Any, b: Any) -> int | None:
    """Return the distance by a rule: a sum, or twice one distance where the other is not known."""
    sides = [(getattr(a, name), getattr(b, name)) for name in rule.split("+")]
    known = [distance(*side) for side in sides if None not in side]
    if len(known) < len(sides):
        return 2 * known[0] if known else None
    return sum(known)


def fill(conn: psycopg.Connection, draw: random.Random, count: int, marks: int) -> Library:
    """Store rows that crowd around few pictures, in few folders, of few bytes."""
    conn.execute("INSERT INTO imgdb.collection (name) VALUES ('new'), ('old'), ('other')")
    made, seen = Library(), set()
    centres = [draw.getrandbits(64) for _ in range(3)]
    for number in range(count):
        row = _row(draw, number, centres, list(made.rows.values()))
        if (row.collection, row.path) in seen:
            continue
        seen.add((row.collection, row.path))
        values = {name: getattr(row, name) for name in Row.__dataclass_fields__}
        (image_id,) = conn.execute(ADD, values | {"colours": COLOURS}).fetchone()
        made.rows[image_id] = Row(**(values | {"image_id": image_id}))
    for _ in range(marks):
        pair = tuple(sorted(draw.sample(sorted(made.rows), 2)))
        if pair not in made.marks:
            made.marks.add(pair)
            conn.execute(MARK, pair)
    return made


def _row(draw: random.Random, number: int, centres: list[int], rows: list[Row]) -> Row:
    kind = draw.random()
    if rows and kind < 0.15:  # the same file in another collection
        twin = draw.choice(rows)
        return Row(**{**twin.__dict__, "collection": draw.choice(("new", "old", "other"))})
    base = draw.choice(centres)

    def near(most: int) -> int:
        value = base
        for bit in draw.sample(range(64), draw.choice((0, 0, draw.randint(0, most)))):
            value ^= 1 << bit
        return value - 2**64 if value >> 63 else value

    sha256 = draw.getrandbits(256).to_bytes(32, "big")
    hashes = dict.fromkeys(NAMES, 0) | {name: near(6) for name in ("dhash", "phash")}
    if rows and kind < 0.4:  # the same bytes, perhaps hashed by other rules
        sha256 = draw.choice(rows).sha256
    if kind > 0.85:
        hashes[draw.choice(("phash", "dhash"))] = None
    if kind > 0.97:
        hashes |= {"phash": None, "dhash": None}
    return Row(
        collection=draw.choice(("new", "old", "other")),
        path=f"/{draw.choice('abcdef')}/{draw.choice(('', 'inner/'))}{number}.png",
        byte_size=draw.randint(1, 50) * 100,
        modified_at=START + timedelta(days=draw.randint(0, 20)),
        sha256=sha256,
        width=draw.randint(1, 4) * 100,
        height=100,
        flat=draw.random() < 0.1,
        missing_since=START if draw.random() < 0.05 else None,
        **hashes,
    )


def matcher(
    library: Library,
    *,
    max_distance: int,
    space: str = "phash+dhash",
    tier: str = "near",
    collection: str | None = None,
    against: str | None = None,
    other_folders: bool = False,
    least_bytes: int = 0,
    least_pixels: int = 0,
    linked: Collection[tuple[int, int]] = (),
) -> tuple[list[Row], Callable[[Row, Row], bool]]:
    """Return the images that are compared, and what tells whether two of them match."""
    inside = {collection, against} - {None} if collection else {"new", "old", "other"}
    rows = [
        row
        for row in library.rows.values()
        if row.missing_since is None
        and row.collection in inside
        and row.byte_size >= least_bytes
        and row.width * row.height >= least_pixels
    ]
    once = {}
    for row in sorted(rows, key=lambda row: (row.collection == against, -row.image_id)):
        once[row.path] = row
    paths = {tuple(sorted((library.rows[a].path, library.rows[b].path))) for a, b in library.marks}

    def matches(a: Row, b: Row) -> bool:
        if tuple(sorted((a.path, b.path))) in paths:
            return False
        if against and (a.collection == against) == (b.collection == against):
            return False
        if other_folders and a.folder == b.folder:
            return False
        if a.sha256 == b.sha256:
            return True
        if (a.image_id, b.image_id) in linked or (b.image_id, a.image_id) in linked:
            return True
        if tier == "same-bytes" or a.flat or b.flat:
            return False
        if tier == "same-picture":
            return None not in a.hashes and a.hashes == b.hashes
        measured = apart(space, a, b)
        return measured is not None and measured <= max_distance

    return list(once.values()), matches


def groups(library: Library, **choice: Any) -> set[frozenset[int]]:
    """Return the groups: connected components of the matches that count."""
    rows, matches = matcher(library, **choice)
    graph = nx.Graph()
    for a, b in itertools.combinations(rows, 2):
        if matches(a, b):
            graph.add_edge(a.image_id, b.image_id)
    return {frozenset(found) for found in nx.connected_components(graph)}
