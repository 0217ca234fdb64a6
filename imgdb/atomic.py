"""Write a file that is there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from imgdb.errors import UsageError

# A link cannot be made: other file system, one without links, or not allowed for this file.
NO_LINK = {
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK
}  # fmt: skip


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written: a reader of `path` finds the old one or the whole new one.

    Where `path` is a link, what it leads to is replaced. The new file has the rights of the old
    one. UsageError where no file can be.
    """
    target = check_replaceable(path)
    with _part(target) as (file, part):
        yield file
        _finish(file, target)
        part.replace(target)


@contextmanager
def creating(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file to be written: at `path` is nothing, then the whole file.

    FileExistsError, in the end at the latest, where there is anything already.
    """
    if os.path.lexists(path):
        raise _exists(path)
    _check_folder(path, path.parent)
    with _part(path) as (file, part):
        yield file
        _finish(file, path)
        give_name(part, path)


def give_name(part: Path, target: Path) -> None:
    """Name a file, never over another one: FileExistsError."""
    try:
        os.link(part, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # A file system without links: nothing but this look keeps another file from being lost.
        if os.path.lexists(target):
            raise _exists(target) from None
        part.rename(target)


def check_replaceable(path: Path) -> Path:
    """Return the file that `path` is or leads to; UsageError where no file can be written."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # as root, we would replace even /dev/null
        raise UsageError(f"{path}: not a regular file, which could be replaced")
    _check_folder(path, target.parent)
    return target


def _check_folder(path: Path, folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}")


@contextmanager
def _part(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Open a file beside `target` whose name nobody can guess, and that nobody else can read."""
    fd, name = tempfile.mkstemp(prefix=f".{target.name[:200]}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _finish(file: IO[bytes], target: Path) -> None:
    """Write all that is in memory, and give the file the rights of what is at `target`."""
    file.flush()
    try:
        old = target.stat()
    except FileNotFoundError:
        mode = 0o666 & ~_umask()
    else:
        mode = stat.S_IMODE(old.st_mode)
        with suppress(OSError):  # only root can give a file to another one
            os.fchown(file.fileno(), old.st_uid, old.st_gid)
    os.fchmod(file.fileno(), mode)
    os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
