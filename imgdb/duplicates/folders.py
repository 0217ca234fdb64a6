"""Folders that are entered part by part: no symbolic link is followed on the way."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

# To go through a folder needs no right to list it; systems without O_PATH ask for that, too.
_ENTER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_READ = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_RDONLY

_OPEN_TO = 0o777


class Refused(Exception):
    """Why a file is left alone, in a person's words."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may do what with a folder; the owner of a folder that is made is told by root only."""

    mode: int = 0o700
    uid: int = -1
    gid: int = -1


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder, good for `dir_fd`, and the rights of all folders on the way, its own last."""

    path: str
    fd: int
    rights: tuple[Rights, ...]

    def files(self) -> list[str]:
        """Return the names of the regular files in it."""
        with _readable(self.fd) as own, os.scandir(own) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))


@contextmanager
def folder(path: str, make: Sequence[Rights] | None = None) -> Iterator[Folder]:
    """Open a folder by its absolute path without `..`; raises Refused.

    With `make`, folders that are missing are made, with these rights (the first is that of the
    first part of the path), or for nobody else where these do not go so far.
    """
    root = os.open(os.sep, _ENTER)
    try:
        with _walk(Folder(os.sep, root, ()), path, make, tighten=False) as found:
            yield found
    finally:
        os.close(root)


@contextmanager
def folder_below(
    outer: Folder, path: str, make: Sequence[Rights] | None = None
) -> Iterator[Folder]:
    """Open a folder below another one; raises Refused.

    With `make`, what is missing is made, and no folder on the way is then more open than it says.
    """
    with _walk(outer, path, make, tighten=make is not None) as found:
        yield found


def sync(fd: int) -> None:
    """Make sure that the names in a folder outlive a power failure."""
    # What was opened to go through it cannot be synced.
    with _readable(fd) as own:
        os.fsync(own)


def said(error: OSError) -> str:
    """Say an error of the operating system within a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


@contextmanager
def _walk(
    outer: Folder, path: str, make: Sequence[Rights] | None, *, tighten: bool
) -> Iterator[Folder]:
    fd, rights = os.dup(outer.fd), []
    try:
        for level, name in enumerate(part for part in Path(path).parts if part != os.sep):
            wanted = make[level] if make is not None and level < len(make) else Rights()
            try:
                inner = _enter(fd, name, None if make is None else wanted)
            except OSError as error:
                # Perhaps its disk is not mounted: a folder that is gone tells nothing of a file.
                raise Refused(_trouble(fd, name, path, error)) from error
            os.close(fd)
            fd = inner
            status = os.fstat(fd)
            if tighten and status.st_mode & _OPEN_TO & ~wanted.mode:
                with _readable(fd) as own:
                    os.fchmod(own, stat.S_IMODE(status.st_mode) & (wanted.mode | ~_OPEN_TO))
            rights.append(Rights(stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid))
        yield Folder(str(Path(outer.path, path)), fd, tuple(rights))
    finally:
        os.close(fd)


def _enter(outer: int, name: str, make: Rights | None) -> int:
    try:
        return os.open(name, _ENTER, dir_fd=outer)
    except FileNotFoundError:
        if make is None:
            raise
    # Closed to all others until it is as it should be.
    os.mkdir(name, 0o700, dir_fd=outer)
    made = os.open(name, _READ, dir_fd=outer)
    try:
        with suppress(OSError):  # only root can give it to somebody else
            os.fchown(made, make.uid, make.gid)
        os.fchmod(made, make.mode)
        sync(outer)
    finally:
        os.close(made)
    return os.open(name, _ENTER, dir_fd=outer)


def _trouble(outer: int, name: str, path: str, error: OSError) -> str:
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        with suppress(OSError):
            status = os.stat(name, dir_fd=outer, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                return f"{name}, on the way to it, is a symbolic link"
    return f"its folder cannot be opened: {said(error)}"


@contextmanager
def _readable(fd: int) -> Iterator[int]:
    own = os.open(".", _READ, dir_fd=fd)
    try:
        yield own
    finally:
        os.close(own)
