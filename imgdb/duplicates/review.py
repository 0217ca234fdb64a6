"""Decisions about images that look alike, one beside another, and the groups that come of them.

They are rows of imgdb.decision: whatever ends, they stay, and no file is touched. `basket` makes
groups of them, which are written, proved and carried out like those of `duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

import psycopg
from psycopg.rows import args_row, class_row

from imgdb.database.connect import read_only
from imgdb.duplicates.companions import find_companions
from imgdb.duplicates.groups import Group, GroupRow
from imgdb.duplicates.names import count_freed
from imgdb.errors import UsageError
from imgdb.hashes.values import USUAL_RULE, bit_distance, rule_distance, rule_hashes
from imgdb.sqlstate import translate

DECIDE = "SELECT imgdb._decide(%s, beside => %s, the_verdict => %s)"
UNDECIDE = "SELECT * FROM imgdb._undecide(%s)"
DECISIONS = "SELECT image_id, beside_id, verdict FROM imgdb.decision ORDER BY decision_id"
FORGET_SKIPPED = "DELETE FROM imgdb.decision WHERE verdict = 'skip'"
RAW_BESIDE = (
    "SELECT EXISTS (SELECT FROM imgdb.collection AS c"
    " JOIN imgdb.image AS i ON i.collection_id = c.collection_id"
    " WHERE i.path >= %(first)s AND i.path < %(end)s AND i.path <> %(path)s"
    " AND i.format = 'RAW' AND i.missing_since IS NULL)"
)
BASKET = "SELECT * FROM imgdb._basket()"


class Verdict(StrEnum):
    """What can be decided about an image beside another one, which stays."""

    remove = "remove"
    keep = "keep"
    different = "different"
    skip = "skip"


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided about an image beside another one."""

    image_id: int
    beside_id: int
    verdict: Verdict


Decisions = Mapping[int, Decision]


def _decision(image_id: int, beside_id: int, verdict: str) -> Decision:
    return Decision(image_id, beside_id, Verdict(verdict))


_DECISION = args_row(_decision)


def decide(conn: psycopg.Connection[Any], decisions: Iterable[Decision]) -> None:
    """Note decisions, all of them or none.

    UsageError where one of two is to be removed already, is not there, or is the other one.
    """
    try:
        with conn.transaction():
            for one in decisions:
                conn.execute(DECIDE, (one.image_id, one.beside_id, one.verdict))
    except psycopg.errors.IntegrityError as error:
        raise UsageError(str(translate(error))) from error


def undecide(conn: psycopg.Connection[Any], image_id: int | None = None) -> list[Decision]:
    """Take back, and return, what was decided about an image, or by the last call of `decide`."""
    with conn.cursor(row_factory=_DECISION) as cursor:
        return cursor.execute(UNDECIDE, (image_id,)).fetchall()


def raw_beside(conn: psycopg.Connection[Any], path: str) -> bool:
    """Tell whether the database knows a raw in the folder of a picture, of the same stem."""
    folder, slash, name = path.rpartition("/")
    stem = f"{folder}{slash}{name.rpartition('.')[0] or name}"
    asked = {"path": path, "first": f"{stem}.", "end": f"{stem}/"}  # after . comes /
    row = conn.execute(RAW_BESIDE, asked).fetchone()
    return bool(row and row[0])


def decisions(conn: psycopg.Connection[Any]) -> Decisions:
    """Return what was decided, by image_id."""
    with conn.cursor(row_factory=_DECISION) as cursor:
        return {one.image_id: one for one in cursor.execute(DECISIONS)}


def ask_again(conn: psycopg.Connection[Any]) -> int:
    """Forget what was skipped; return how many images that were."""
    return conn.execute(FORGET_SKIPPED).rowcount


@dataclass(frozen=True, slots=True)
class Open:
    """What is still to be decided of a group: `candidates`, each beside `left`, which stays."""

    group: Group
    left: GroupRow
    candidates: Sequence[GroupRow]


def still_open(group: Group, decided: Decisions) -> Open | None:
    """Return what is still to be decided of a group of one kind, None if nothing is."""
    members = {member.image_id: member for member in group.members if not member.same_file}
    left = group.keeper.image_id
    while (gone := decided.get(left)) is not None and gone.verdict == Verdict.remove:
        left = gone.beside_id
    # What stays instead may have been decided in a group that a wider search gave.
    if left not in members:
        return None
    candidates = [
        member
        for image_id, member in members.items()
        if image_id != left and image_id not in decided
    ]
    return Open(group, members[left], candidates) if candidates else None


@dataclass(frozen=True, slots=True)
class _Row:
    """An image of the basket: what is kept has no decision."""

    keeper_id: int
    image_id: int
    decision_id: int | None
    collection: str
    path: str
    ahash: int | None
    dhash: int | None
    phash: int | None
    whash: int | None
    width: int | None
    height: int | None
    frames: int | None
    byte_size: int | None
    format: str | None
    modified_at: datetime | None
    sha256: bytes


def basket(conn: psycopg.Connection[Any]) -> list[Group]:
    """Return what was decided to be removed, as groups: first what is kept, then what goes for it.

    Files that are gone are left out. The connection must be outside of a transaction.
    """
    with read_only(conn), conn.cursor(row_factory=class_row(_Row)) as cursor:
        return find_companions(count_freed(list(_groups(cursor.execute(BASKET)))))


def _groups(rows: Iterable[_Row]) -> Iterator[Group]:
    for keeper_id, found in groupby(rows, key=attrgetter("keeper_id")):
        keeper, *gone = found
        if keeper.image_id != keeper_id or not gone:  # one of the files is not there
            continue
        size = sum(row.byte_size or 0 for row in gone)
        members = [_member(row, keeper, len(gone) + 1, size) for row in (keeper, *gone)]
        yield Group(keeper_id, "decided", None, size, members)


def _member(row: _Row, keeper: _Row, images: int, reclaimable_bytes: int) -> GroupRow:
    rule = rule_hashes(USUAL_RULE)
    by_rule = rule_distance(*([getattr(image, name) for name in rule] for image in (row, keeper)))
    return GroupRow(
        group_id=keeper.image_id,
        tier="decided",
        diameter=None,
        images=images,
        reclaimable_bytes=reclaimable_bytes,
        path=row.path,
        keeper=row is keeper,
        removable=row is not keeper,
        distance=by_rule,
        ahash_distance=_bits(row.ahash, keeper.ahash),
        dhash_distance=_bits(row.dhash, keeper.dhash),
        phash_distance=_bits(row.phash, keeper.phash),
        whash_distance=_bits(row.whash, keeper.whash),
        same_bytes=row.sha256 == keeper.sha256,
        collection=row.collection,
        image_id=row.image_id,
        width=row.width,
        height=row.height,
        frames=row.frames,
        byte_size=row.byte_size,
        format=row.format,
        modified_at=row.modified_at,
        sha256=row.sha256,
    )


def _bits(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else bit_distance(a, b)
