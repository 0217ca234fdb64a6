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

PIECE = 1 << 20


class Refused(Exception):
    """Why a file is left alone, in a person's words."""


class Gone(Refused):
    """There is nothing at the path, in a folder that is there."""


@dataclass(frozen=True, slots=True)
class Verified:
    """An open regular file whose bytes are as expected; `folder` is open, too."""

    fd: int
    folder: int
    name: str
    status: os.stat_result

    def check_still(self) -> None:
        """Raise Refused unless the path leads to this very file, unchanged since it was read."""
        if not _same(self.status, _look(self.folder, self.name)):
            raise Refused("it was changed just now")

    def is_at(self, path: str) -> bool:
        """Tell whether another path is a name of this file (a hard link), whatever it holds."""
        try:
            return os.path.samestat(self.status, os.lstat(path))
        except OSError:
            return False


@contextmanager
def verified(path: str, sha256: bytes, size: int, *, change: bool) -> Iterator[Verified]:
    """Open a file and prove its bytes; raises Refused, or Gone.

    With `change`, a lock keeps others from changing the file and from relying on it. So of two
    plans that each remove what the other one keeps, only one can go on.
    """
    with _folder(Path(path).parent) as folder:
        name = Path(path).name
        _check_kind(_look(folder, name))
        fd = _open(folder, name)
        try:
            _lock(fd, fcntl.LOCK_EX if change else fcntl.LOCK_SH)
            status = os.fstat(fd)
            if status.st_size != size or digest(fd) != sha256:
                raise Refused("its bytes are not those of the plan")
            found = Verified(fd, folder, name, status)
            found.check_still()
            yield found
        finally:
            os.close(fd)


def digest(fd: int) -> bytes:
    """Return the SHA-256 of a file, from its start."""
    os.lseek(fd, 0, os.SEEK_SET)
    total = hashlib.sha256()
    while piece := os.read(fd, PIECE):
        total.update(piece)
    return total.digest()


def said(error: OSError) -> str:
    """Say an error of the operating system within a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        # Perhaps its disk is not mounted, so this is not the same as Gone.
        raise Refused(f"its folder cannot be opened: {said(error)}") from error
    try:
        yield folder
    finally:
        os.close(folder)


def _look(folder: int, name: str) -> os.stat_result:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        raise Gone("it is no longer there") from None
    except OSError as error:
        raise Refused(f"it cannot be looked at: {said(error)}") from error


def _check_kind(status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Refused("it is a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("it is no regular file")


def _open(folder: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=folder)
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


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return os.path.samestat(a, b) and (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)
