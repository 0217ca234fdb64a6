"""Groups of duplicates, with a proposal for which image of each to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.duplicates.companions import find_companions
from imgdb.duplicates.names import Names, count_freed, look_at_names
from imgdb.hashes.values import PDQ_RULES, USUAL_RULE

if TYPE_CHECKING:
    from imgdb.duplicates.connecting import Connected

DUPLICATES = (
    "SELECT * FROM imgdb._duplicates(space_name => %(space)s, max_distance => %(max_distance)s,"
    " tier_name => %(tier)s, collection_name => %(collection)s, against_name => %(against)s,"
    " other_folders => %(other_folders)s, keep_rule => %(keep)s, keep_folder => %(keep_in)s,"
    " group_limit => %(limit)s, member_images => %(images)s, member_groups => %(groups)s,"
    " member_copies => %(copies)s, linked_a => %(linked_a)s, linked_b => %(linked_b)s,"
    " no_files => %(no_files)s, raw_copies => %(raw_copies)s)"
)
MEMBERS = ("images", "groups", "copies", "linked_a", "linked_b")
DISTANCE = "SELECT coalesce(%s::integer, imgdb._default_distance(%s, collection_name => %s))"
DIFFERENT = "SELECT image_id_a, image_id_b FROM imgdb._different_pairs()"

WITHOUT_COLOURS = (
    "SELECT imgdb._images_without_colours(collection_name => %(collection)s,"
    " against_name => %(against)s)"
)


WITHOUT_PDQ = (
    "SELECT imgdb._images_without_pdq(collection_name => %(collection)s,"
    " against_name => %(against)s)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateChoice:
    """What counts as a duplicate, and which image of a group is to be kept.

    `against` compares `collection` (None: all others) with the images of another one, and only
    with these; `other_folders` compares only what is in unlike folders. `least_bytes` and
    `least_pixels` leave out smaller images. `keep_in`, a folder as `imgdb.paths` spells it, goes
    before the rule `keep`. With `raw_copies` a raw and its JPEG are copies of each other. With
    `parts` what shares regions is in one group, too, but no copy for that.
    """

    space: str = USUAL_RULE
    max_distance: int | None = None
    tier: str = "near"
    collection: str | None = None
    against: str | None = None
    other_folders: bool = False
    least_bytes: int | None = None
    least_pixels: int | None = None
    keep: str = "most-pixels"
    keep_in: str | None = None
    raw_copies: bool = False
    parts: bool = True
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A member of a group, as the database says it: `Group` and `Member` in one row.

    `orientation` says how it is turned against the keeper, where `turned_copies` found out. What is
    known from the disk only: `same_file`, another name (a hard link) of the keeper; `freed_bytes`,
    what the disk gains if a removable one goes; `companions`, the paths of the files that belong to
    a removable one only, and `shared_companions`, of those that belong to others as well.
    `more_metadata` is what a removable one has and the keeper has not, where it was compared.
    `colour_difference` and `same_colours` are those to the keeper, None if the colours of one are
    not known.
    `relation` is what the image, or the one that it is a copy of, is to the first of the group: the
    `same` picture, a `part` of it, it `contains` or `overlaps` it, or is `connected` by others
    only. `votes` are the regions that a kept one shares with the first, or with a copy of it.
    """

    group_id: int
    tier: str
    diameter: int | None
    images: int
    reclaimable_bytes: int
    path: str
    keeper: bool
    removable: bool
    distance: int | None
    ahash_distance: int | None
    dhash_distance: int | None
    phash_distance: int | None
    whash_distance: int | None
    same_bytes: bool
    collection: str
    image_id: int
    width: int | None
    height: int | None
    frames: int | None
    byte_size: int | None
    format: str | None
    modified_at: datetime | None
    sha256: bytes | None
    orientation: str | None = None
    same_file: bool = False
    freed_bytes: int | None = None
    companions: tuple[str, ...] = ()
    shared_companions: tuple[str, ...] = ()
    more_metadata: tuple[str, ...] = ()
    colour_difference: float | None = None
    same_colours: bool | None = None
    relation: str = "same"
    votes: int | None = None

    @property
    def colours_matter(self) -> str:
        """Say what sets its colours apart from those of the keeper, if anything does."""
        if self.same_bytes or self.same_colours or self.sha256 is None:
            return ""
        if self.keeper and self.relation != "same" and self.same_colours is None:
            return ""
        if self.same_colours is None:
            return "colours not known"
        return "grey copy" if self.removable else "other colours"


@dataclass(frozen=True, slots=True)
class Group:
    """Images that are connected by matches; the keeper comes first.

    One of each kind is kept, since what is of another kind is no copy: a raw beside its JPEG, files
    of several frames, of which only the first was looked at, and pictures of other colours, or of
    none that are known. Their copies follow them.
    `diameter` is the largest distance between any two of them by the rule that was searched by:
    more than the distance asked for in a chain, whose ends may be unlike. None for groups of more
    than 5,000 different hashes. The distances of a member are those to the keeper.
    In a group of tier `parts` some images only share regions: it is made of groups of copies, each
    with keepers of its own.
    """

    group_id: int
    tier: str
    diameter: int | None
    reclaimable_bytes: int
    members: list[GroupRow]

    @property
    def keeper(self) -> GroupRow:
        """Return the image to keep."""
        return self.members[0]

    def parts(self) -> list[Group]:
        """Split into groups of one kind and colour, each with its own keeper."""
        parts: list[list[GroupRow]] = []
        for member in self.members:
            if member.keeper or not parts:
                parts.append([])
            parts[-1].append(member)
        return [replace(self, members=part) for part in parts]

    @property
    def removable(self) -> list[GroupRow]:
        """Return the files that may go: not what is kept for reference, or lies in an archive."""
        return [member for member in self.members if member.removable]


def duplicates(
    conn: psycopg.Connection[Any],
    choice: DuplicateChoice,
    linked: Sequence[tuple[int, int]] = (),
    watching: Callable[[float], None] = lambda done: None,
) -> list[Group]:
    """Find groups of duplicates, those with the most bytes to reclaim first.

    `linked` are further pairs of images (by image_id) that count as near. Of a file with several
    paths one counts, and what lies in a trash does not. The connection must be outside of a
    transaction: the search runs in one that is read-only. `watching` is told now and then how much
    of the search is done, from 0 to 1.
    """
    from imgdb.duplicates.connecting import compared_images, connect_images
    from imgdb.duplicates.parts import part_pairs

    if choice.max_distance is None and choice.space in PDQ_RULES:
        choice = replace(choice, max_distance=PDQ_RULES[choice.space])
    with read_only(conn), conn.cursor(row_factory=class_row(GroupRow)) as cursor:
        # What is wrong with the choice is said before anything is compared.
        cursor.execute(DUPLICATES, _arguments(choice, Names()) | dict.fromkeys(MEMBERS))
        images = compared_images(conn, choice)
        connect = partial(
            connect_images,
            conn,
            choice,
            max_distance=value(
                conn, DISTANCE, choice.max_distance, choice.space, choice.collection
            ),
            different=conn.execute(DIFFERENT).fetchall(),
            linked=linked,
            part_pairs=part_pairs(conn, choice),
        )
        # Saying what is in large groups takes about as long as finding them.
        connected = connect(images, watching=lambda done: watching(done / 2))
        found = _described(
            cursor, choice, connected, linked, Names(), lambda done: watching(0.5 + done / 2)
        )
        names = look_at_names(found, choice.against)
        if names:
            if choice.limit is not None:  # further groups come up when these are none any more
                every = replace(choice, limit=None)
                found = _described(cursor, every, connected, linked, Names())
                names = look_at_names(found, choice.against)
            # Without some of its images a group may fall apart, but nothing new is connected.
            images = images.only(connected.image_ids, names.left_out)
            found = _described(cursor, choice, connect(images), linked, names)
    return find_companions(count_freed(found))


def count_without_colours(conn: psycopg.Connection[Any], choice: DuplicateChoice) -> int:
    """Count the images whose colours are not known, so that only their bytes say what they are."""
    if choice.tier == "same-bytes":
        return 0
    with read_only(conn):
        (count,) = conn.execute(WITHOUT_COLOURS, asdict(choice)).fetchone() or (0,)
    return int(count)


def count_without_pdq(conn: psycopg.Connection[Any], choice: DuplicateChoice) -> int:
    """Count the images that have no PDQ hash, where it is compared."""
    if choice.tier != "near" or choice.space not in PDQ_RULES:
        return 0
    with read_only(conn):
        (count,) = conn.execute(WITHOUT_PDQ, asdict(choice)).fetchone() or (0,)
    return int(count)


def _arguments(choice: DuplicateChoice, names: Names) -> dict[str, Any]:
    return asdict(choice) | {"no_files": list(names.no_files)}


def _described(
    cursor: psycopg.Cursor[GroupRow],
    choice: DuplicateChoice,
    connected: Connected,
    linked: Sequence[tuple[int, int]],
    names: Names,
    watching: Callable[[float], None] = lambda done: None,
) -> list[Group]:
    """Say what is in each group and what may go, of as many groups as are asked for."""
    from imgdb.duplicates.parts import related, shared_by_copies

    groups: list[Group] = []
    described = 0
    shared = shared_by_copies(connected.parts)
    for ids, of_groups, copies in connected.batches():
        named = dict(zip(ids, copies, strict=True))
        here = [pair for pair in linked if pair[0] in named]
        links = [a for a, _ in here] or None, [b for _, b in here] or None
        members = dict(zip(MEMBERS, (ids, of_groups, copies, *links), strict=True))
        found = _grouped(cursor.execute(DUPLICATES, _arguments(choice, names) | members))
        groups += [related(group, named, shared) for group in found]
        groups.sort(key=_most_bytes_first)
        del groups[choice.limit or len(groups) :]
        described += len(ids)
        watching(described / len(connected.image_ids))
    return groups


def _most_bytes_first(group: Group) -> tuple[int, int, int]:
    return -group.reclaimable_bytes, -len(group.members), group.group_id


def _grouped(rows: psycopg.Cursor[GroupRow]) -> Iterator[Group]:
    for group_id, found in groupby(rows, key=attrgetter("group_id")):
        members = list(found)
        first = members[0]
        yield Group(group_id, first.tier, first.diameter, first.reclaimable_bytes, members)


# What is said of a group, not of each of its images.
OF_GROUP = ("group_id", "tier", "diameter", "images", "reclaimable_bytes")


def group_object(group: Group) -> dict[str, Any]:
    """Return a group as commands and the server give it in JSON: with its members."""
    names = [field.name for field in fields(group.keeper) if field.name not in OF_GROUP]
    return {name: getattr(group.keeper, name) for name in OF_GROUP} | {
        "members": [{name: getattr(member, name) for name in names} for member in group.members]
    }
