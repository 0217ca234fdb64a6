"""Give a file a second name in another folder, on the same disk or another, and take names away."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from imgdb.atomic import NO_LINK
from imgdb.duplicates.folders import Folder, Refused, said, sync
from imgdb.duplicates.proof import PIECE, Held, digest

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def put(file: Held, target: Folder, name: str, sha256: bytes) -> None:
    """Give a file a second name, or copy it where that cannot be; never over another file.

    Raises FileExistsError, Refused, and what else the operating system says.
    """
    try:
        os.link(
            file.name,
            name,
            src_dir_fd=file.folder.fd,
            dst_dir_fd=target.fd,
            follow_symlinks=False,
        )
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(file, target, name, sha256)
    else:
        # A link is made of what has the name at that moment.
        status = os.stat(name, dir_fd=target.fd, follow_symlinks=False)
        if not os.path.samestat(status, file.status):
            os.unlink(name, dir_fd=target.fd)
            raise Refused("it was changed just now")
    sync(target.fd)


def remove(file: Held) -> None:
    """Take a file's name away; raises Refused, also if the file has changed meanwhile."""
    file.check_still()
    try:
        os.unlink(file.name, dir_fd=file.folder.fd)
    except OSError as error:
        raise Refused(f"it cannot be removed: {said(error)}") from error


def _copy(file: Held, target: Folder, name: str, sha256: bytes) -> None:
    """Copy by way of a temporary file, so that a whole file is at the target or none."""
    # The name is the same in every run, so that it replaces what a killed run left behind.
    part = f".{sha256.hex()[:16]}.imgdb-part"
    _unlink(part, target)
    fd = os.open(part, _NEW, 0o600, dir_fd=target.fd)
    try:
        os.lseek(file.fd, 0, os.SEEK_SET)
        while piece := os.read(file.fd, PIECE):
            while piece:
                piece = piece[os.write(fd, piece) :]
        _make_like(fd, file)
        os.fsync(fd)
        if digest(fd) != sha256:
            raise OSError(errno.EIO, "the copy is not like the file")
        _give_name(part, target, name)
    finally:
        os.close(fd)
        _unlink(part, target)


def _make_like(fd: int, file: Held) -> None:
    status = file.status
    with suppress(OSError):  # only root can give it to somebody else
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, stat.S_IMODE(status.st_mode))
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _give_name(part: str, target: Folder, name: str) -> None:
    try:
        os.link(part, name, src_dir_fd=target.fd, dst_dir_fd=target.fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # A file system without links: nothing but this look keeps another file from being lost.
        if is_there(target, name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from None
        os.rename(part, name, src_dir_fd=target.fd, dst_dir_fd=target.fd)


def is_there(inside: Folder, name: str) -> bool:
    """Tell whether anything has a name in a folder."""
    try:
        os.stat(name, dir_fd=inside.fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _unlink(name: str, inside: Folder) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=inside.fd)
