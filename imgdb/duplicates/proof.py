"""A file on the disk that is proved to be the one that was meant, and held so while it is used."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from imgdb.duplicates.folders import Folder, Refused, folder, said

PIECE = 1 << 20


class Gone(Refused):
    """There is nothing at the path, in a folder that is there."""


@dataclass(frozen=True, slots=True)
class Held:
    """An open regular file; the folder that its name is in is open, too."""

    fd: int
    folder: Folder
    name: str
    status: os.stat_result

    @property
    def path(self) -> str:
        """Return where it is, without symbolic links on the way."""
        return str(Path(self.folder.path, self.name))

    def check_still(self) -> None:
        """Raise Refused unless the name leads to this very file, unchanged since it was read."""
        if not same(self.status, look(self.folder, self.name)):
            raise Refused("it was changed just now")

    def is_at(self, path: str) -> bool:
        """Tell whether another path is a name of this file (a hard link), whatever it holds."""
        outside, name = os.path.split(path)
        try:
            with folder(outside) as other:
                return os.path.samestat(self.status, look(other, name))
        except Refused:
            return False


@contextmanager
def held(path: str, *, change: bool) -> Iterator[Held]:
    """Open a file by a path without links, and lock it; raises Refused, or Gone.

    With `change`, the lock keeps others from changing the file and from relying on it. So of two
    plans that each remove what the other one keeps, only one can go on.
    """
    outside, name = os.path.split(path)
    with folder(outside) as inside, held_in(inside, name, change=change) as file:
        yield file


@contextmanager
def held_in(inside: Folder, name: str, *, change: bool) -> Iterator[Held]:
    """Do as `held` with a file of an open folder."""
    _check_kind(look(inside, name))
    fd = _open(inside, name)
    try:
        _lock(fd, fcntl.LOCK_EX if change else fcntl.LOCK_SH)
        yield Held(fd, inside, name, os.fstat(fd))
    finally:
        os.close(fd)


@contextmanager
def verified(path: str, sha256: bytes, size: int, *, change: bool) -> Iterator[Held]:
    """Open and lock a file as `held` does, and prove its bytes; raises Refused, or Gone."""
    with held(path, change=change) as file:
        prove(file, sha256, size)
        yield file


def prove(file: Held, sha256: bytes, size: int) -> None:
    """Raise Refused unless a file has these bytes."""
    if file.status.st_size != size or digest(file.fd) != sha256:
        raise Refused("its bytes are not those of the plan")
    file.check_still()


def digest(fd: int) -> bytes:
    """Return the SHA-256 of a file, from its start."""
    os.lseek(fd, 0, os.SEEK_SET)
    total = hashlib.sha256()
    while piece := os.read(fd, PIECE):
        total.update(piece)
    return total.digest()


def look(inside: Folder, name: str) -> os.stat_result:
    """Return what a name in a folder is, a link as such; raises Refused, or Gone."""
    try:
        return os.stat(name, dir_fd=inside.fd, follow_symlinks=False)
    except FileNotFoundError:
        raise Gone("it is no longer there") from None
    except OSError as error:
        raise Refused(f"it cannot be looked at: {said(error)}") from error


def same(a: os.stat_result, b: os.stat_result) -> bool:
    """Tell whether a file is the same one, and unchanged as far as its size and time say."""
    return os.path.samestat(a, b) and (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Refused("it is a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("it is no regular file")


def _open(inside: Folder, name: str) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=inside.fd)
    except OSError as error:
        raise Refused(f"it cannot be read: {said(error)}") from error


def _lock(fd: int, kind: int) -> None:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise Refused("another program holds it locked, perhaps another imgdb apply") from error
        # File systems without locks are left to the person who runs one plan at a time.
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
