"""Turned and mirrored copies among the images of the database, for `imgdb.duplicates`.

Two images are copies if one of them, turned, is within the distance of the other one as it is. The
turned hashes are not stored: the files are read again, each content once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.duplicates.groups import DuplicateChoice, Group, GroupRow
from imgdb.errors import PictureError, UsageError
from imgdb.hashes.colours import colour_difference, same_colours, turned
from imgdb.hashes.orientations import AS_IS, ONE_OF_TWO, ORIENTATIONS, Orientation, Turned, by_words
from imgdb.hashes.values import rule_distance, rule_hashes
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.workers.limits import PICTURE_SECONDS
from imgdb.workers.stored_pictures import read_stored
from imgdb.workers.work import HashTurned

TURNABLE = (
    "SELECT * FROM imgdb._turnable(space_name => %(space)s, collection_name => %(collection)s,"
    " against_name => %(against)s, least_bytes => %(least_bytes)s,"
    " least_pixels => %(least_pixels)s)"
)
PAIRS = (
    "SELECT * FROM imgdb._turned_pairs(space_name => %(space)s, max_distance => %(max_distance)s,"
    " collection_name => %(collection)s, against_name => %(against)s,"
    " other_folders => %(other_folders)s, least_bytes => %(least_bytes)s,"
    " least_pixels => %(least_pixels)s, turned_images => %(images)s, turned_hashes => %(hashes)s,"
    " turned_seconds => %(seconds)s)"
)

# Images whose turned hashes are searched in one call.
BATCH = 50_000

# Groups of more images have no diameter where some are turned: every pair would be measured.
_MEASURED = 1000


# The distance by a rule, then those of its hashes.
Distances = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Turnable:
    """An image and its hashes as it is; `to_turn` if its file is to be hashed turned.

    `second` is the hash that a rule adds to the first.
    """

    image_id: int
    hash: int | None
    second: int | None
    path: str
    sha256: bytes | None
    colours: bytes | None
    to_turn: bool


@dataclass(slots=True)
class TurnedHashes:
    """What was found out: the hashes of a rule by image_id, as they are and in all ORIENTATIONS.

    `colours` are those that are known. `failures` are the files that could not be read, by path;
    `without_file` counts images whose hashes were imported.
    """

    upright: dict[int, tuple[int | None, ...]] = field(default_factory=dict)
    turned: dict[int, array[int]] = field(default_factory=dict)
    colours: dict[int, bytes] = field(default_factory=dict)
    failures: dict[str, PictureError] = field(default_factory=dict)
    without_file: int = 0

    def in_orientation(self, image_id: int, orientation: Orientation) -> tuple[int, ...] | None:
        """Return the hashes of an image that was turned."""
        hashes = self.turned.get(image_id)
        if hashes is None:
            return None
        return tuple(hashes[ORIENTATIONS.index(orientation) :: len(ORIENTATIONS)])

    def least_turn(self, image_id: int, kept_id: int) -> tuple[Orientation, Distances] | None:
        """Return how an image is turned against another one, and the distances by the rule then."""
        upright, kept = self.upright.get(image_id), self.upright.get(kept_id)
        # The distance by the rule, and those of its hashes.
        apart: dict[Orientation, Distances] = {}
        for orientation in ORIENTATIONS:
            if upright and (other := self.in_orientation(kept_id, orientation)) is not None:
                apart[orientation] = _distances(other, upright)
            elif kept and (other := self.in_orientation(image_id, orientation)) is not None:
                apart[orientation.inverse()] = _distances(other, kept)
        near = {one: found for one, found in apart.items() if found[0] is not None}
        if not near:
            return None
        # The least turned one comes first among equals.
        best = min(near, key=lambda one: (near[one][0], ORIENTATIONS.index(one)))
        return best, near[best]

    def have_same_colours(self, image_id: int, kept_id: int) -> bool:
        """Tell whether two images have the same colours, one of them turned as the other is."""
        colours, kept = self.colours.get(image_id), self.colours.get(kept_id)
        found = self.least_turn(image_id, kept_id)
        if colours is None or kept is None or found is None:
            return False
        return same_colours(colours, turned(kept, found[0]))


def turnable(conn: psycopg.Connection[Any], choice: DuplicateChoice) -> list[Turnable]:
    """List the images that `choice` compares; those of a reference need not be turned."""
    if choice.tier != "near":
        raise UsageError("turned copies are near ones: take tier near")
    with read_only(conn), conn.cursor(row_factory=class_row(Turnable)) as cursor:
        return cursor.execute(TURNABLE, asdict(choice)).fetchall()


def files_to_read(images: Iterable[Turnable]) -> dict[str, list[Turnable]]:
    """Return the paths of the files to read, and which images each of them tells of."""
    by_content: dict[bytes, list[Turnable]] = {}
    for image in images:
        if image.to_turn and image.sha256 is not None:
            by_content.setdefault(image.sha256, []).append(image)
    return {same[0].path: same for same in by_content.values()}


def turn_images(
    images: Sequence[Turnable],
    space: str,
    *,
    jobs: int | None = None,
    max_pixels: int = MAX_PIXELS,
    timeout: float = PICTURE_SECONDS,
    watching: Callable[[int], None] = lambda done: None,
) -> TurnedHashes:
    """Read files again and make their hashes by a rule in every orientation.

    `watching` is told now and then how many of `files_to_read` are done.
    """
    names = tuple(rule_hashes(space))
    known = TurnedHashes(
        upright={image.image_id: (image.hash, image.second)[: len(names)] for image in images},
        colours={image.image_id: image.colours for image in images if image.colours},
        without_file=sum(image.to_turn and image.sha256 is None for image in images),
    )
    work = HashTurned(algorithms=names, max_pixels=max_pixels)
    files = files_to_read(images)
    read = read_stored(files, work, jobs=jobs, timeout=timeout, watching=watching)
    for path, outcome in read.items():
        if not isinstance(outcome, Turned):
            assert isinstance(outcome, PictureError)
            known.failures[path] = outcome
        elif outcome.sha256 != files[path][0].sha256:
            known.failures[path] = PictureError("changed", "since it was ingested")
        else:
            hashes = array("q", outcome.hashes)
            known.turned |= dict.fromkeys((image.image_id for image in files[path]), hashes)
    return known


def turned_pairs(
    conn: psycopg.Connection[Any], choice: DuplicateChoice, known: TurnedHashes
) -> list[tuple[int, int]]:
    """Find pairs of images (by image_id): one of them, turned, is near the other as it is.

    Pairs of other colours, or of such as are not known, are none.
    """
    # With a reference only one of two is turned, so it must be turned in every way.
    wanted = ONE_OF_TWO if choice.against is None else ORIENTATIONS[1:]
    is_sum = len(rule_hashes(choice.space)) > 1
    pairs: list[tuple[int, int]] = []
    images = list(known.turned)
    for first in range(0, len(images), BATCH):
        batch = images[first : first + BATCH]
        entries = [
            (image, hashes)
            for image in batch
            for orientation in wanted
            if (hashes := known.in_orientation(image, orientation))
        ]
        arguments = {
            **asdict(choice),
            "images": [image for image, _ in entries],
            "hashes": [hashes[0] for _, hashes in entries],
            "seconds": [hashes[1] for _, hashes in entries] if is_sum else None,
        }
        with read_only(conn):
            pairs += conn.execute(PAIRS, arguments).fetchall()
    return [pair for pair in pairs if known.have_same_colours(*pair)]


def oriented(groups: Iterable[Group], known: TurnedHashes, space: str) -> Iterator[Group]:
    """Say how each image of a group is turned against the keeper, and measure it turned back.

    For a turned image, only the distances of the rule that was searched by are known.
    """
    for group in groups:
        members = [
            _oriented(member, group.keeper if member.keeper else part.keeper, known, space)
            for part in group.parts()
            for member in part.members
        ]
        if any(member.orientation not in (AS_IS.words, None) for member in members):
            diameter = _diameter(members, known)
        else:
            diameter = group.diameter
        members = [replace(member, diameter=diameter) for member in members]
        yield replace(group, members=members, diameter=diameter)


def _oriented(member: GroupRow, keeper: GroupRow, known: TurnedHashes, space: str) -> GroupRow:
    if member.keeper and member.relation != "same":  # only a part of it is alike
        return member
    if (
        member.same_bytes
        or member.image_id == keeper.image_id
        or member.image_id not in known.upright
    ):
        return replace(member, orientation=AS_IS.words)
    found = known.least_turn(member.image_id, keeper.image_id)
    if found is None:
        return member
    best, (measured, *each) = found
    if best == AS_IS:
        return replace(member, orientation=best.words)
    known_now = dict(zip(rule_hashes(space), each, strict=True))
    colours, kept = known.colours.get(member.image_id), known.colours.get(keeper.image_id)
    if colours and kept:
        kept = turned(kept, best)
        member = replace(
            member,
            colour_difference=colour_difference(colours, kept),
            same_colours=same_colours(colours, kept),
        )
    return replace(
        member,
        orientation=best.words,
        distance=measured,
        ahash_distance=known_now.get("ahash"),
        dhash_distance=known_now.get("dhash"),
        phash_distance=known_now.get("phash"),
        whash_distance=known_now.get("whash"),
    )


def _distances(a: Sequence[int | None], b: Sequence[int | None]) -> Distances:
    each = (rule_distance([one], [other]) for one, other in zip(a, b, strict=True))
    return rule_distance(a, b), *each


def _diameter(members: Sequence[GroupRow], known: TurnedHashes) -> int | None:
    """Measure a group with every image turned as the keeper is; None if that is not known."""
    hashes: set[tuple[int | None, ...]] = set()
    for member in members:
        if member.orientation == AS_IS.words:
            hashes.add(known.upright.get(member.image_id, ()))
        elif member.orientation:
            back = by_words(member.orientation).inverse()
            turned_back = known.in_orientation(member.image_id, back)
            if turned_back is None:
                return None
            hashes.add(turned_back)
        else:
            return None
    measured = [value for value in hashes if value]
    if len(measured) > _MEASURED:
        return None
    return max((rule_distance(a, b) or 0 for a, b in combinations(measured, 2)), default=0)
