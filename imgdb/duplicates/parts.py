"""Images of which only parts are alike, in the groups of `imgdb.duplicates.groups`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

if TYPE_CHECKING:
    from imgdb.duplicates.groups import DuplicateChoice, Group, GroupRow

PART_PAIRS = (
    "SELECT * FROM imgdb._part_pairs(collection_name => %(collection)s,"
    " against_name => %(against)s, wrong_per_image => %(wrong_per_image)s)"
)

# Images that each one is connected with by chance, on average.
WRONG_PER_IMAGE = 0.01

INVERSE = {"part": "contains", "contains": "part"}


@dataclass(frozen=True, slots=True)
class PartPair:
    """What another image is to an image, by the regions that both have, and how many those are."""

    image_id: int
    other_id: int
    relation: str
    votes: int


def part_pairs(conn: psycopg.Connection[Any], choice: DuplicateChoice) -> list[PartPair]:
    """Find the images that share regions, where they are wanted."""
    if choice.tier != "near" or not choice.parts:
        return []
    arguments = asdict(choice) | {"wrong_per_image": WRONG_PER_IMAGE}
    with conn.cursor(row_factory=class_row(PartPair)) as cursor:
        return cursor.execute(PART_PAIRS, arguments).fetchall()


def shared_by_copies(
    pairs: Iterable[tuple[int, int, PartPair]],
) -> dict[tuple[int, int], tuple[int, str]]:
    """Return the votes and the relation of images to others: what one copy shares, all do.

    A pair comes with what names the copies of its two images.
    """
    shared: dict[tuple[int, int], tuple[int, str]] = {}
    for one, other, pair in pairs:
        inverse = INVERSE.get(pair.relation, pair.relation)
        for of, relation in (((one, other), pair.relation), ((other, one), inverse)):
            shared[of] = max(shared.get(of, (0, "")), (pair.votes, relation))
    return shared


def related(
    group: Group, copies: Mapping[int, int], shared: Mapping[tuple[int, int], tuple[int, str]]
) -> Group:
    """Say what the images of a group are to the first one.

    `copies` names by image those that match as whole pictures.
    """
    first = copies[group.keeper.image_id]
    told = {first}
    members = []
    for member in group.members:
        of = copies[member.image_id]
        votes, relation = shared.get((first, of), (None, "connected"))
        if of == first:
            members.append(member)
        elif of in told:
            members.append(replace(member, relation=relation))
        else:
            told.add(of)
            members.append(_leading(member, relation, votes))
    return replace(group, members=members)


def _leading(member: GroupRow, relation: str, votes: int | None) -> GroupRow:
    """Say of the kept one of some copies that only a part of it is like the first of the group."""
    return replace(
        member,
        relation=relation,
        votes=votes,
        distance=None,
        colour_difference=None,
        same_colours=None,
    )
