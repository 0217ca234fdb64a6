"""Zip and tar archives -> their members, read in place; nothing is ever unpacked to disk.

The names inside are only names: whatever path they claim, no file is made of them.
"""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from imgdb.errors import PictureError, UsageError
from imgdb.paths import path_text
from imgdb.pictures.reasons import picture_errors

ZIP_SUFFIXES = (".zip", ".cbz")
TAR_SUFFIXES = (".tar", ".cbt", ".tgz", ".tar.gz", ".tbz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
# Archives of other programs are not read, which is said: their pictures are not searchable. Many of
# these comics are zip archives under a wrong name, though.
UNREAD_SUFFIXES = (".7z", ".cb7", ".rar", ".cbr", ".ace", ".cba", ".lzh", ".lha")

# Between the archive and the member; no folder is likely to end in an exclamation mark.
INSIDE = "!/"

# Limits against bombs. Pictures are compressed already, so what unpacks to more than RATIO times
# its size, and to more than SMALL bytes, was made to do so.
MEMBERS = 1_000_000
MEMBER_BYTES = 2 << 30
RATIO = 200
SMALL = 256 << 20


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """A file in an archive; `open` raises PictureError."""

    name: str
    byte_size: int
    modified_at: datetime
    open: Callable[[], AbstractContextManager[BinaryIO]]


def is_archive(path: str) -> bool:
    """Tell by its name whether a file is to be read as an archive."""
    return path.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES + UNREAD_SUFFIXES)


def is_zip(path: str) -> bool:
    """Tell by its name whether the members can be read in any order, by several processes."""
    return path.lower().endswith(ZIP_SUFFIXES)


def member_text(archive: str, name: str) -> str:
    """Return the spelling of a member; `archive` is the spelling of its archive."""
    return archive + INSIDE + inner_text(name)


def inner_text(name: str) -> str:
    """Spell the name of a member; an archive may hold any name."""
    try:
        return path_text(name)
    except UsageError:
        return path_text(ascii(name))


def archive_of(path: str) -> str | None:
    """Return the archive that a member's path is in, if there is one on the disk."""
    at = path.find(INSIDE)
    while at >= 0:
        if Path(path[:at]).is_file():
            return path[:at]
        at = path.find(INSIDE, at + 1)
    return None


def entries(path: str, part: int, parts: int) -> Iterator[ArchiveMember]:
    """Yield every `parts`-th file of an archive, from `part` on; raises PictureError.

    A member is to be read before the next one is asked for.
    """
    with picture_errors("archive"):
        if not path.lower().endswith(UNREAD_SUFFIXES):
            yield from _zip(path, part, parts) if is_zip(path) else _tar(path)
        elif zipfile.is_zipfile(path):
            yield from _zip(path, part, parts)
        else:
            words = "an archive that is neither zip nor tar: pack it anew"
            raise PictureError("unsupported-format", words)


def _zip(path: str, part: int, parts: int) -> Iterator[ArchiveMember]:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        _check_count(len(infos))
        for info in infos[part::parts]:
            yield ArchiveMember(
                _plain_name(info.filename),
                info.file_size,
                _zip_time(info),
                partial(_open_in_zip, archive, info),
            )


@contextmanager
def _open_in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    if info.flag_bits & 0x1:
        raise PictureError("encrypted")
    _check_size(info.file_size, info.compress_size)
    with picture_errors("archive"), archive.open(info) as file:
        yield cast(BinaryIO, file)


def _zip_time(info: zipfile.ZipInfo) -> datetime:
    # A zip does not say which time zone its times are in.
    try:
        return datetime(*info.date_time, tzinfo=UTC)
    except ValueError:
        return datetime(1980, 1, 1, tzinfo=UTC)


def _tar(path: str) -> Iterator[ArchiveMember]:
    size = Path(path).stat().st_size
    count = 0
    with tarfile.open(path, "r:*") as archive:
        while (member := archive.next()) is not None:
            # tarfile would keep them all.
            archive.members = []  # type: ignore[attr-defined]
            count += 1
            _check_count(count)
            # Passing over members unpacks them too.
            _check_total(archive.offset, size)
            if member.isreg():
                yield ArchiveMember(
                    _plain_name(member.name),
                    member.size,
                    _tar_time(member),
                    partial(_open_in_tar, archive, member),
                )


@contextmanager
def _open_in_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[BinaryIO]:
    if member.size > MEMBER_BYTES:
        raise PictureError("bomb", f"{member.size:,} bytes")
    file = archive.extractfile(member)
    assert file is not None
    with picture_errors("archive"), file:
        yield cast(BinaryIO, file)


def _tar_time(member: tarfile.TarInfo) -> datetime:
    try:
        return datetime.fromtimestamp(member.mtime, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime(1970, 1, 1, tzinfo=UTC)


def _plain_name(name: str) -> str:
    return name.removeprefix("./").lstrip("/")


def _check_count(count: int) -> None:
    if count > MEMBERS:
        raise PictureError("bomb", f"more than {MEMBERS:,} members")


def _check_size(size: int, packed: int) -> None:
    if size > MEMBER_BYTES or (size > SMALL and size > RATIO * packed):
        raise PictureError("bomb", f"{size:,} bytes out of {packed:,}")


def _check_total(unpacked: int, size: int) -> None:
    if unpacked > SMALL and unpacked > RATIO * size:
        raise PictureError("bomb", f"more than {unpacked:,} bytes out of {size:,}")
