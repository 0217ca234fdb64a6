"""The page of `imgdb duplicates`: groups with what is kept, and how far the others are from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from imgdb.duplicates.groups import DuplicateChoice, Group
from imgdb.hashes.orientations import AS_IS, by_words
from imgdb.hashes.values import PDQ_RULES
from imgdb.pages import render
from imgdb.pages.answers import SHOWN
from imgdb.workers.thumbnails import side_for, thumbnails


def duplicates_page(
    groups: Sequence[Group],
    *,
    choice: DuplicateChoice,
    max_distance: int,
    watching: Callable[[int], None] = lambda done: None,
) -> str:
    """Return the page for groups that were found; `watching` is told how many pictures are read.

    `max_distance` is the one that `choice` asks for, or the default of its space.
    """
    members = [member for group in groups for member in group.members]
    rule = "pdq" if choice.space in PDQ_RULES else choice.space
    made = thumbnails(
        (member.path for member in members), side=side_for(len(members)), watching=watching
    )
    return render.render_page(
        "duplicates.html",
        parts=("pictures", "lens", "marks", "duplicates"),
        choice=choice,
        max_distance=max_distance,
        hashes=(rule, *(name for name in SHOWN if name != rule)),
        images=len(members),
        reclaimable_bytes=sum(group.reclaimable_bytes for group in groups),
        groups=[
            {
                "group": group,
                # The keeper, turned as a member is, lies over it.
                "shown": [
                    (member, made[member.path], by_words(member.orientation or AS_IS.words))
                    for member in group.members
                ],
                "is_chain": group.diameter is None or group.diameter > max_distance,
            }
            for group in groups
        ],
    )
