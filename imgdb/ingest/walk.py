"""Paths that a person names -> the files to look at, one by one, whatever else lies in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from imgdb.errors import PictureError, UsageError
from imgdb.ingest.exclusion import USUAL, Exclusion
from imgdb.paths import absolute, modified_at, outermost, path_text
from imgdb.pictures.raws import SUFFIXES as RAW_SUFFIXES
from imgdb.trashes import is_trash, trash_around, trash_of

# Suffixes of pictures. Only the content decides what a file is; the name decides whether a file
# that is no picture counts as a failure or is skipped.
SUFFIXES = (
    frozenset(
        f".{name}"
        for names in (
            (
                "jpg",
                "jpeg",
                "jpe",
                "jfif",
                "jif",
                "mpo",
                "png",
                "apng",
                "gif",
                "webp",
                "tif",
                "tiff",
            ),
            (
                "bmp",
                "dib",
                "ico",
                "pbm",
                "pgm",
                "ppm",
                "pnm",
                "pfm",
                "tga",
                "jp2",
                "j2k",
                "jpc",
                "jpx",
            ),
            ("jpf", "avif", "avifs", "heic", "heics", "heif", "heifs", "hif"),
        )
        for name in names
    )
    | RAW_SUFFIXES
)

# Seconds to wait for the next line of a list before saying that there is nothing just now.
LIST_WAIT = 0.1


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; `named` if a person named it, not the folder around it."""

    path: str
    byte_size: int
    modified_at: datetime
    inode: int
    named: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A path that cannot be looked at; `named` as in File."""

    path: str
    error: PictureError
    named: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that nobody named and that is no regular file, or is excluded."""

    path: str


@dataclass(frozen=True, slots=True)
class TrashFolder:
    """A folder that `imgdb apply --trash` moved files to: what is in it is no picture of ours."""

    path: str


WalkItem = File | Unreadable | Skipped | TrashFolder


def check_named(paths: Iterable[str]) -> None:
    """Raise UsageError unless there is something at each path."""
    gone = [path for path in paths if not os.path.exists(path)]
    if gone:
        names = ", ".join(path_text(path) for path in gone[:5])
        more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
        raise UsageError(f"no such file or folder: {names}{more}")


def walk(paths: Iterable[str], exclusion: Exclusion = USUAL) -> Iterator[WalkItem]:
    """Look at absolute paths, folders recursively; each file comes once.

    A symbolic link to a file counts as that file; one to a folder is followed only if it is named
    itself, so there are no loops. What is named is never excluded, unless it is in a trash.
    """
    folders: list[str] = []
    files: dict[str, None] = {}
    for path in paths:
        if os.path.isdir(path):
            folders.append(path)
        else:
            files[path] = None
    for path in files:
        yield TrashFolder(trash) if (trash := trash_of(path)) else look_at(path)
    for folder in outermost(folders):
        yield from _below(folder, files, exclusion)


def walk_list(
    lists: Iterator[str | None], exclusion: Exclusion = USUAL
) -> Iterator[WalkItem | None]:
    """Do as `walk` for a list that need not be complete yet; None passes through.

    A program wrote it: a path in it is excluded by its own name, though not by those of its
    folders.
    """
    for path in lists:
        if path is None:
            yield None
        elif os.path.isdir(path):
            yield from _below(path, {}, exclusion)
        elif exclusion.excludes(path):
            yield Skipped(path)
        else:
            yield TrashFolder(trash) if (trash := trash_of(path)) else look_at(path)


def spot(path: str, exclusion: Exclusion, *, folders: bool) -> Iterator[WalkItem]:
    """Look at a path that nobody named; with `folders` at all that is in it if it is a folder."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            if folders:
                yield from _below(path, {}, exclusion)
        elif not os.path.isdir(path):
            yield _quiet(path, os.stat(path))
    except OSError as error:
        yield Unreadable(path, _reason(error), False)


def look_at(path: str) -> File | Unreadable:
    """Look at one file that a person named."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        return Unreadable(path, _reason(error), True)
    # FIFOs and the like: opening them will say what they are, and that it cannot be done.
    return _file(path, status, True)


def count_files(paths: Sequence[str], exclusion: Exclusion, given_up: threading.Event) -> int:
    """Return about how many files `walk` will look at; stops when given up."""
    ahead = [path for path in paths if os.path.isdir(path)]
    total = len(paths) - len(ahead)
    ahead = outermost(ahead)
    while ahead and not given_up.is_set():
        with contextlib.suppress(OSError), os.scandir(ahead.pop()) as entries:
            for entry in entries:
                if exclusion.excludes(entry.path) or not entry.is_dir(follow_symlinks=False):
                    total += 1
                else:
                    ahead.append(entry.path)
    return total


def is_readable(folder: str) -> bool:
    """Tell whether there is a folder, with something in it, that can be listed."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False


def is_gone(path: str) -> bool:
    """Tell whether there surely is nothing at a path: an error of the disk is no proof."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    return False


def _below(folder: str, apart: dict[str, None], exclusion: Exclusion) -> Iterator[WalkItem]:
    """Yield what is in a folder and below, except the files `apart`."""
    if trash := trash_around(folder):
        yield TrashFolder(trash)
        return
    # Folders are read one after the other and never listed in memory, however many files they hold.
    ahead = [folder]
    while ahead:
        here = ahead.pop()
        if is_trash(here):
            yield TrashFolder(here)
            continue
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.path in apart:
                        continue
                    if exclusion.excludes(entry.path):
                        yield Skipped(entry.path)
                    elif entry.is_dir(follow_symlinks=False):
                        ahead.append(entry.path)
                    else:
                        yield _entry(entry)
        except FileNotFoundError as error:
            # Removed since its parent was read; the folder that was named must be there.
            if here == folder:
                yield Unreadable(here, _reason(error), True)
        except OSError as error:
            yield Unreadable(here, _reason(error), here == folder)


def _entry(entry: os.DirEntry[str]) -> WalkItem:
    try:
        status = entry.stat()
    except OSError as error:
        # Links to nothing or to themselves, and what was removed this moment.
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return Skipped(entry.path)
        return Unreadable(entry.path, _reason(error), False)
    return _quiet(entry.path, status)


def _quiet(path: str, status: os.stat_result) -> File | Skipped:
    return _file(path, status, False) if stat.S_ISREG(status.st_mode) else Skipped(path)


def looks_like_picture(path: str) -> bool:
    """Tell whether a file's name promises a picture."""
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _file(path: str, status: os.stat_result, named: bool) -> File:
    return File(path, status.st_size, modified_at(status), status.st_ino, named)


def _reason(error: OSError | ValueError) -> PictureError:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, None):
        return PictureError("missing", "" if number == errno.ENOENT else str(error))
    if number in (errno.EACCES, errno.EPERM):
        return PictureError("denied")
    return PictureError("io-error", os.strerror(number or 0))


def read_list(file: str, *, null: bool = False) -> Iterator[str | None]:
    """Yield the absolute paths that a file lists, one a line or each ended by NUL; `-` is stdin.

    None means that the writer has not written more so far. Empty lines do not count.
    """
    if file == "-":
        yield from _read_list(sys.stdin.fileno(), null)
        return
    with open(file, "rb", buffering=0) as listing:
        yield from _read_list(listing.fileno(), null)


def _read_list(fd: int, null: bool) -> Iterator[str | None]:
    end = b"\0" if null else b"\n"
    rest = b""
    while True:
        if not select.select([fd], [], [], LIST_WAIT)[0]:
            yield None
            continue
        piece = os.read(fd, 1 << 16)
        *names, rest = (rest + piece).split(end)
        if not piece:
            names, rest = [rest], b""
        for name in names:
            if name:
                yield absolute(os.fsdecode(name))
        if not piece:
            return
