"""Which of the images in groups are one file on the disk, under several names.

The database knows paths. Only the disk knows that two of them are one file: a symbolic link and
what it leads to, a folder under two names (bound, or behind a link), hard links. What is not here
(the database may be that of another machine) is taken as the database has it.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from imgdb.paths import path_from_text
from imgdb.trashes import trash_around

if TYPE_CHECKING:
    from imgdb.duplicates.groups import Group, GroupRow

Identity = tuple[int, int]


@dataclass(slots=True)
class Names:
    """Images (by image_id) that are `left_out`, and `no_files`: links whose files are no images."""

    left_out: set[int] = field(default_factory=set)
    no_files: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.left_out or self.no_files)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An image as the disk has it: `folder` and `name` are where the name is written down.

    A link that leads nowhere has no `file`.
    """

    member: GroupRow
    file: Identity | None
    folder: Identity
    name: str
    is_link: bool
    is_behind_link: bool


def look_at_names(groups: Iterable[Group], reference: str | None) -> Names:
    """Say what must be left out, so that each file counts once and no trash is kept.

    Of several names of a file, that of the collection `reference` stays, or one that no link is on
    the way of, or the first one.
    """
    found = Names()
    by_file: dict[Identity, list[_Seen]] = {}
    in_trash, folder_of = cache(_is_in_trash), cache(_folder)
    for member in (member for group in groups for member in group.members):
        if member.sha256 is None:  # imported, by whatever name
            continue
        if in_trash(os.path.split(path_from_text(member.path))[0]):
            found.left_out.add(member.image_id)
        elif (seen := _seen(member, folder_of)) is None:
            continue
        elif seen.file is None:
            found.left_out.add(member.image_id)
        else:
            by_file.setdefault(seen.file, []).append(seen)
    for file, names in by_file.items():
        files = [seen for seen in names if not seen.is_link]
        entries: dict[tuple[Identity, str], list[_Seen]] = {}
        for seen in files or names:
            entry = (seen.folder, seen.name) if files else (file, "")
            entries.setdefault(entry, []).append(seen)
        stay = [min(same, key=lambda seen: _order(seen, reference)) for same in entries.values()]
        kept = {seen.member.image_id for seen in stay}
        if not files:
            found.no_files |= kept
        found.left_out |= {seen.member.image_id for seen in names} - kept
    return found


def count_freed(groups: Sequence[Group]) -> list[Group]:
    """Say what each file that may go would free, most first.

    Another name of the kept file (a hard link) may not go, and of a file all of whose names go only
    one frees it.
    """
    counted = [_counted(group) for group in groups]
    return sorted(counted, key=lambda group: -group.reclaimable_bytes)


def _counted(group: Group) -> Group:
    status = {member.image_id: _status(member) for member in group.members}
    kept = {
        member.image_id: _identity(status[part.keeper.image_id])
        for part in group.parts()
        for member in part.members
    }
    same_files = {
        member.image_id
        for member in group.members
        if not member.keeper
        and _identity(status[member.image_id]) == kept[member.image_id] is not None
    }
    going = [member for member in group.removable if member.image_id not in same_files]
    names = Counter(_identity(status[member.image_id]) for member in going)
    freed: dict[int, int] = {}
    counted: set[Identity] = set()
    for member in going:
        found = status[member.image_id]
        file = _identity(found)
        frees = found is None or (file not in counted and names[file] >= found.st_nlink)
        freed[member.image_id] = (member.byte_size or 0) if frees else 0
        if file is not None:
            counted.add(file)
    total = sum(freed.values())
    members = [
        replace(
            member,
            reclaimable_bytes=total,
            removable=member.image_id in freed,
            freed_bytes=freed.get(member.image_id),
            same_file=member.image_id in same_files,
        )
        for member in group.members
    ]
    return replace(group, reclaimable_bytes=total, members=members)


def _seen(
    member: GroupRow, folder_of: Callable[[str], tuple[Identity, bool] | None]
) -> _Seen | None:
    path, status = path_from_text(member.path), _status(member)
    outside, name = os.path.split(path)
    folder = folder_of(outside) if status is not None else None
    if status is None or folder is None:
        return None
    is_link = stat.S_ISLNK(status.st_mode)
    file = _identity(_followed(path) if is_link else status)
    return _Seen(member, file, folder[0], name, is_link, folder[1])


def _folder(path: str) -> tuple[Identity, bool] | None:
    """Return which folder this is, and whether it is behind a symbolic link."""
    identity = _identity(_followed(path))
    return None if identity is None else (identity, os.path.realpath(path) != path)


def _is_in_trash(folder: str) -> bool:
    """Tell whether a folder is a trash or below one; it may be gone, having been emptied."""
    return trash_around(os.path.realpath(folder)) is not None


def _order(seen: _Seen, reference: str | None) -> tuple[bool, bool]:
    return seen.member.collection != reference, seen.is_behind_link


def _status(member: GroupRow) -> os.stat_result | None:
    """Look at the file of an image; None if it is not here, as members of archives are not."""
    if member.sha256 is None:
        return None
    try:
        return os.lstat(path_from_text(member.path))
    except (OSError, ValueError):
        return None


def _followed(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except OSError:
        return None


def _identity(status: os.stat_result | None) -> Identity | None:
    return None if status is None else (status.st_dev, status.st_ino)
