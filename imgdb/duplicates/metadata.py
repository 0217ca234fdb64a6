"""Which files that may go say more of their picture than the file that is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from imgdb.duplicates.groups import Group, GroupRow
from imgdb.pictures.metadata import Metadata
from imgdb.workers.limits import PICTURE_SECONDS
from imgdb.workers.messages import Outcome
from imgdb.workers.stored_pictures import read_stored
from imgdb.workers.work import ReadMetadata


def files_to_compare(groups: Iterable[Group]) -> list[str]:
    """Return the paths of the files to read: same bytes say the same."""
    found: dict[str, None] = {}
    for group in groups:
        others = [member.path for member in group.removable if not member.same_bytes]
        if others:
            found |= dict.fromkeys([group.keeper.path, *others])
    return list(found)


def compare_metadata(
    groups: Sequence[Group],
    *,
    jobs: int | None = None,
    timeout: float = PICTURE_SECONDS,
    watching: Callable[[int], None] = lambda done: None,
) -> list[Group]:
    """Say of each file that may go which kinds of metadata it has and the kept one has not.

    `watching` is told now and then how many of `files_to_compare` are read. Of a file that cannot
    be read nothing is said.
    """
    files = files_to_compare(groups)
    read = read_stored(files, ReadMetadata(), jobs=jobs, timeout=timeout, watching=watching)
    return [
        replace(group, members=[_compared(one, group.keeper, read) for one in group.members])
        for group in groups
    ]


def _compared(member: GroupRow, keeper: GroupRow, read: dict[str, Outcome]) -> GroupRow:
    own, kept = read.get(member.path), read.get(keeper.path)
    if not (member.removable and isinstance(own, Metadata) and isinstance(kept, Metadata)):
        return member
    return replace(member, more_metadata=more_metadata(own, kept))


def more_metadata(own: Metadata, other: Metadata) -> tuple[str, ...]:
    """Return the kinds of metadata that one file has and another one lacks."""
    return tuple(kind for kind in own.kinds if kind not in other.kinds)
