"""What is to be done about duplicates, as a text that a person can read and edit.

A plan is a list of groups, separated by empty lines. In each there are lines `keep` and `remove`,
one for a file: sha256, bytes, pixels, bits that differ from the first one, path to the end of the
line. After a line `remove` may come lines `with`, one for each file that belongs to the picture:
bytes, time of modification, path. Lines that begin with # say nothing to `imgdb apply`. Before the
groups, lines `link` say which folders are symbolic links: the folder, a tab, where it leads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imgdb import __version__
from imgdb.atomic import creating
from imgdb.duplicates.companions import is_named_after, shares_stem
from imgdb.duplicates.links import link_on_way
from imgdb.errors import ImgdbError, UsageError
from imgdb.paths import from_plain_text, modified_at, path_from_text, path_text, plain_text
from imgdb.words import byte_count

if TYPE_CHECKING:
    from imgdb.duplicates.groups import Group, GroupRow

FORMAT = 1

HEAD = """\
imgdb-plan {format}

# Made {made} by imgdb {version}. Nothing has happened yet:
#     imgdb apply FILE --trash FOLDER     moves what stands on a `remove` line to a folder
#     imgdb apply FILE --hard-link        makes it another name of the kept file (same bytes only)
#     imgdb apply FILE --delete           deletes it
# Add --dry-run to see what would be done.
#
# To keep a file, delete its line, or turn `remove` into `keep`. To keep another file of a group
# than proposed, swap the two words. A file is removed only while a kept file of its group, that is
# of the lines up to the next empty one, is there and unchanged.
#
# Lines `with` name what belongs to the file before them. It stays where it is, but with
# --trash FOLDER --with-companions it goes and comes back along.
#
# what  sha256, bytes, pixels, bits that differ from the first file, path
"""

_HEADER = re.compile(r"imgdb-plan (\d+)")
_ENTRY = re.compile(
    r"(keep|remove)[ \t]+([0-9a-f]{64})[ \t]+(\d{1,18})[ \t]+(?:\d+x\d+|-)[ \t]+(?:\d+|-)"
    r"[ \t]+(/.*)"
)

_WITH = re.compile(r"with[ \t]+(\d{1,18})[ \t]+(\S+)[ \t]+(/.*)")
_LINK = re.compile(r"link[ \t]+(/[^\t]*)\t+(/[^\t]*)")


class UnknownPlan(ImgdbError):
    """A file that is no plan, or one of a format that this imgdb does not know."""


@dataclass(frozen=True, slots=True)
class PlannedCompanion:
    """A file that goes along with another one, as it was when the plan was made."""

    line: int
    path: str
    byte_size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file in a plan, on a line of it; `path` is as `imgdb.paths` spells it."""

    line: int
    sha256: bytes
    byte_size: int
    path: str
    companions: list[PlannedCompanion] = field(default_factory=list)

    @property
    def file(self) -> str:
        """Return the path as the functions of `os` take it."""
        return path_from_text(self.path)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line of a plan that is not carried out, and why."""

    line: int
    path: str
    reason: str


@dataclass(slots=True)
class PlannedGroup:
    """Files that are alike: those to remove go only while one of those to keep is there."""

    keep: list[PlannedFile] = field(default_factory=list)
    remove: list[PlannedFile] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan says, and which of its lines cannot be carried out as they stand."""

    groups: list[PlannedGroup]
    refused: list[Refusal]
    links: dict[str, str] = field(default_factory=dict)


def write_plan(path: str | os.PathLike[str], groups: Sequence[Group]) -> int:
    """Write what is proposed for groups to a new file; return how many files would be removed.

    Groups with nothing to remove are left out. UsageError if there is a file already: it
    may be a plan that somebody has edited.
    """
    # What is to go is only safe while the kept one of its own kind is there.
    parts = [part for group in groups for part in group.parts() if part.removable]
    lines = _lines(parts)
    try:
        with creating(Path(path)) as file:
            file.writelines(line.encode("utf-8") for line in lines)
    except FileExistsError:
        raise UsageError(f"there is a file already, choose another name: {path}") from None
    return sum(len(group.removable) for group in groups)


def _lines(groups: Sequence[Group]) -> Iterator[str]:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield HEAD.format(format=FORMAT, made=made, version=__version__)
    links = sorted(_links_on_way(groups))
    if links:
        yield "\n# Symbolic links on the way to the files; `imgdb apply` follows no other link.\n"
    for link, target in links:
        yield f"link    {plain_text(path_text(link))}\t{plain_text(path_text(target))}\n"
    for number, group in enumerate(groups, 1):
        diameter = "" if group.diameter is None else f", diameter {group.diameter}"
        size = byte_count(sum(member.freed_bytes or 0 for member in group.removable))
        yield f"\n# group {number}: {group.tier}, {len(group.members)} images{diameter}, {size}\n"
        for member in group.members:
            yield _line(member, group.keeper)


def _links_on_way(groups: Iterable[Group]) -> set[tuple[str, str]]:
    files = (member for group in groups for member in (group.keeper, *group.removable))
    folders = {os.path.split(path_from_text(member.path))[0] for member in files}
    return {found for folder in folders if (found := link_on_way(folder)) is not None}


def _line(member: GroupRow, keeper: GroupRow) -> str:
    if member.same_file:
        return f"# the same file as what is kept, by another name: {plain_text(member.path)}\n"
    if not (member.keeper or member.removable):
        return f"# stays {plain_text(member.path)}\n"
    pixels = f"{member.width}x{member.height}"
    distance = "-" if member.distance is None else member.distance
    assert member.sha256 is not None
    line = (
        f"{'keep' if member.keeper else 'remove':<6}  {member.sha256.hex()}  "
        f"{member.byte_size:>9}  {pixels:>9}  {distance:>2}  {plain_text(member.path)}\n"
    )
    warnings = "".join(f"# The next one {said}:\n" for said in _warnings(member, keeper))
    along = "".join(map(_with_line, member.companions))
    stay = "".join(
        f"# stays, since it belongs to others, too: {plain_text(path)}\n"
        for path in member.shared_companions
    )
    return warnings + line + along + stay


def _with_line(path: str) -> str:
    try:
        status = os.lstat(path_from_text(path))
    except OSError:
        return ""
    modified = modified_at(status).isoformat(timespec="microseconds")
    return f"with    {status.st_size:>9}  {modified}  {plain_text(path)}\n"


def _warnings(member: GroupRow, keeper: GroupRow) -> Iterator[str]:
    if (member.frames or 1) > 1:
        yield f"has {member.frames} frames or pages"
    if member.keeper:
        return
    if member.colours_matter:
        yield "has no colours: it is a grey copy of what is kept"
    if _pixels(member) > _pixels(keeper):
        yield "has more pixels than what is kept"
    if member.more_metadata:
        yield f"has what the kept file has not: {', '.join(member.more_metadata)}"
    if member.freed_bytes == 0 and member.byte_size:
        yield "frees nothing, the file having other names (hard links)"


def _pixels(member: GroupRow) -> int:
    return (member.width or 0) * (member.height or 0)


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Read a plan; UnknownPlan if it is none, or of a newer format.

    A line that cannot be read is refused alone: the others mean what they say without it.
    """
    # What is not UTF-8 spells no path, so such a line is refused like any damaged one.
    text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = enumerate(text.split("\n"), 1)
    _check_header(path, lines)
    groups: list[PlannedGroup] = [PlannedGroup()]
    refused: list[Refusal] = []
    links: dict[str, str] = {}
    # The entry that a line `with` would belong to; None where that line could not be read.
    last: tuple[str, PlannedFile] | None = None
    for number, line in lines:
        line = line.removesuffix("\r")
        if not line.strip():
            groups.append(PlannedGroup())
            last = None
        elif (link := _LINK.fullmatch(line)) is not None:
            try:
                path, target = (path_from_text(from_plain_text(text)) for text in link.groups())
            except UsageError as error:
                refused.append(Refusal(number, "", f"the path cannot be read: {error}"))
            else:
                links[path] = target
        elif line.startswith("with"):
            along = _read_companion(number, line, last)
            if isinstance(along, Refusal):
                refused.append(along)
            elif last is not None and last[0] == "remove":
                last[1].companions.append(along)
        elif not line.startswith("#"):
            found = _read_entry(number, line)
            last = None
            if isinstance(found, Refusal):
                refused.append(found)
            else:
                last = word, entry = found
                (groups[-1].keep if word == "keep" else groups[-1].remove).append(entry)
    refused += _contradictions(groups)
    groups = [group for group in groups if group.keep or group.remove]
    return Plan(groups, sorted(refused, key=_by_line), links)


def _check_header(path: str | os.PathLike[str], lines: Iterator[tuple[int, str]]) -> None:
    for _, line in lines:
        if line.strip() and not line.startswith("#"):
            found = _HEADER.fullmatch(line.strip())
            if found is None:
                break
            if int(found[1]) > FORMAT:
                raise UnknownPlan(
                    f"{path} is a plan of format {found[1]}, this imgdb knows {FORMAT}: use the "
                    "imgdb that made it, or a newer one"
                )
            return
    raise UnknownPlan(f"{path} is no plan: it does not begin with `imgdb-plan {FORMAT}`")


def _read_entry(number: int, line: str) -> tuple[str, PlannedFile] | Refusal:
    found = _ENTRY.fullmatch(line)
    if found is None:
        return Refusal(number, "", "the line cannot be read: not `keep` or `remove`, sha256, bytes,"
                       " pixels, bits, path")  # fmt: skip
    word, digest, size, text = found.groups()
    path = _read_path(number, text)
    if isinstance(path, Refusal):
        return path
    return word, PlannedFile(number, bytes.fromhex(digest), int(size), path)


def _read_companion(
    number: int, line: str, last: tuple[str, PlannedFile] | None
) -> PlannedCompanion | Refusal:
    found = _WITH.fullmatch(line)
    path = "" if found is None else _read_path(number, found[3])
    if isinstance(path, Refusal):
        return path
    try:
        modified = datetime.fromisoformat(found[2]) if found is not None else None
    except ValueError:
        modified = None
    if found is None or modified is None or modified.tzinfo is None:
        return Refusal(number, path, "the line cannot be read: not `with`, bytes, time, path")
    if last is None or not _belong(path, last[1].path):
        return Refusal(number, path, "it belongs to no file on a line before it")
    return PlannedCompanion(number, path, int(found[1]), modified)


def _belong(path: str, picture: str) -> bool:
    folder, name = os.path.split(path_from_text(path))
    other, whole = os.path.split(path_from_text(picture))
    return folder == other and (is_named_after(name, whole) or shares_stem(name, whole))


def _read_path(number: int, text: str) -> str | Refusal:
    try:
        path = from_plain_text(text)
        file = path_from_text(path)
    except UsageError as error:
        return Refusal(number, "", f"the path cannot be read: {error}")
    if "\0" in file:
        return Refusal(number, path, "no file can have such a path")
    # `..` would lead out of the trash folder, and two spellings would pass for two files.
    if os.path.normpath(file) != file:
        return Refusal(number, path, "the path is not in its shortest form")
    return path


def _contradictions(groups: Iterable[PlannedGroup]) -> Iterator[Refusal]:
    """Take out of the groups what cannot be removed whatever the files are like."""
    kept = {entry.path: entry.line for group in groups for entry in group.keep}
    removed: dict[str, int] = {}
    for group in groups:
        possible = []
        for entry in group.remove:
            if (line := kept.get(entry.path)) is not None:
                yield Refusal(entry.line, entry.path, f"line {line} says to keep it")
            elif (line := removed.get(entry.path)) is not None:
                yield Refusal(entry.line, entry.path, f"line {line} removes it already")
            elif not group.keep:
                yield Refusal(entry.line, entry.path, "no file of its group is kept")
            elif line := next((kept[c.path] for c in entry.companions if c.path in kept), None):
                yield Refusal(entry.line, entry.path, f"line {line} says to keep a companion of it")
            else:
                removed[entry.path] = entry.line
                possible.append(entry)
        group.remove = possible


def _by_line(refusal: Refusal) -> int:
    return refusal.line
