"""Files that belong to a picture by their names: a live photo's video, edits, notes, sidecars."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from imgdb.paths import path_from_text, path_text

if TYPE_CHECKING:
    from imgdb.duplicates.groups import Group, GroupRow

# Videos and sounds of phones and cameras, and what programs write beside a picture: Apple (aae),
# Adobe and many others (xmp), Google Takeout (json), DxO (dop), RawTherapee and ART (pp3, arp),
# Nikon (nksc), ON1 (on1), Canon (vrd), exiv2 (exv), ExifTool (mie).
SUFFIXES = {
    "aae", "arp", "dop", "exv", "json", "mie", "mov", "mp4", "nksc", "on1", "pp3", "thm", "vrd",
    "wav", "xmp",
}  # fmt: skip

# Google Takeout cuts off the middle of long names, and has the number of IMG(1).JPG at the end.
_MIDDLE = "supplemental-metadata"
_REST = re.compile(r"(?:\.(?P<middle>[a-z-]+))?(?P<number>\(\d+\))?\.(?P<suffix>[a-z0-9]+)")
_NUMBERED = re.compile(r"(.+?)(\(\d+\))(\.[^.]*)")


def is_named_after(name: str, picture: str) -> bool:
    """Tell whether a file belongs to a picture of this whole name: IMG_1.JPG.xmp to IMG_1.JPG."""
    name = name.casefold()
    for whole, number in _forms(picture):
        rest = _REST.fullmatch(name, len(whole)) if name.startswith(whole) else None
        if (
            rest is not None
            and rest["suffix"] in SUFFIXES
            and rest["number"] == number
            and (rest["middle"] in (None, "out") or _MIDDLE.startswith(rest["middle"]))
        ):
            return True
    return False


def _forms(picture: str) -> list[tuple[str, str | None]]:
    """Return how names after a picture begin, folded, and the number that then follows."""
    whole = picture.casefold()
    numbered = _NUMBERED.fullmatch(whole)
    return [(whole, None), *([(numbered[1] + numbered[3], numbered[2])] if numbered else [])]


def shares_stem(name: str, picture: str) -> bool:
    """Tell whether a file is of a picture's stem, and may be its: IMG_1.MOV of IMG_1.JPG."""
    return is_possible(name) and _stem(name) == _stem(picture) and name != picture


def is_possible(name: str) -> bool:
    """Tell whether a file of this name can be a companion at all."""
    return _suffix(name) in SUFFIXES


def others_of_stem(picture: str, names: Iterable[str]) -> list[str]:
    """Return the further files that a picture would share its companions with: IMG_1.CR2, say."""
    stem = _stem(picture)
    return [
        name for name in names if _stem(name) == stem and name != picture and not is_possible(name)
    ]


def find_companions(groups: Sequence[Group]) -> list[Group]:
    """Say of each file that may go which companions go with it, and which stay with others.

    A companion of several pictures goes with the last of them. Of what is not on this machine
    nothing is said.
    """
    listed = cache(NamesIn)
    removable = [member for group in groups for member in group.removable]
    last = {_stem_path(member): member.image_id for member in removable}
    going = {member.path for member in removable}
    shown = {member.path for group in groups for member in group.members}
    found: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for member in removable:
        folder, name = os.path.split(path_from_text(member.path))
        names = listed(folder)
        own = names.named_after(name)
        of_stem = names.of_stem(name)
        by_stem = [one for one in of_stem if shares_stem(one, name) and one not in own]
        spelled = {one: path_text(f"{folder}{os.sep}{one}") for one in {*of_stem, *own}}
        if any(spelled[one] not in going for one in others_of_stem(name, of_stem)):
            shared, by_stem = by_stem, []
        else:
            shared = []
            if last[_stem_path(member)] != member.image_id:
                by_stem = []
        along = (spelled[one] for one in sorted({*own, *by_stem}))
        stay = (spelled[one] for one in shared)
        found[member.image_id] = (
            tuple(path for path in along if path not in shown),
            tuple(path for path in stay if path not in shown),
        )
    return [_with(group, found) for group in groups]


def _with(group: Group, found: Mapping[int, tuple[tuple[str, ...], tuple[str, ...]]]) -> Group:
    def members() -> Iterator[GroupRow]:
        for member in group.members:
            along, stay = found.get(member.image_id, ((), ()))
            yield replace(member, companions=along, shared_companions=stay)

    return replace(group, members=list(members()))


class NamesIn:
    """The names of the files in a folder by their stems, and by what they may be named after.

    Folders of 10,000 pictures are usual: none of them is compared with all others.
    """

    def __init__(self, folder: str) -> None:
        self._of_stem: defaultdict[str, list[str]] = defaultdict(list)
        self._after: defaultdict[str, list[str]] = defaultdict(list)
        for name in _listed(folder):
            self._of_stem[_stem(name)].append(name)
            if is_possible(name):
                folded = name.casefold()
                for place, sign in enumerate(folded):
                    if sign in ".(":  # what follows the name of the picture begins so
                        self._after[folded[:place]].append(name)

    def of_stem(self, picture: str) -> list[str]:
        """Return the names of the stem of a picture, by name."""
        return self._of_stem.get(_stem(picture), [])

    def named_after(self, picture: str) -> set[str]:
        """Return the names of which `is_named_after` holds."""
        begun = {name for whole, _ in _forms(picture) for name in self._after.get(whole, ())}
        return {name for name in begun if is_named_after(name, picture)}


def _listed(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return []


def _stem_path(member: GroupRow) -> tuple[str, str]:
    folder, name = os.path.split(member.path)
    return folder, _stem(name)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem.casefold()


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix[1:].casefold()
