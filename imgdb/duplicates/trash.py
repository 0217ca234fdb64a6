"""A folder that takes files instead of deleting them, and can give each back to where it was.

Below it a file has the whole path that it had. What comes in is written to a record first, so that
at any moment the record and the disk together say what has happened.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgdb.atomic import NO_LINK
from imgdb.duplicates.proof import PIECE, Refused, Verified, digest, said, verified
from imgdb.errors import UsageError
from imgdb.paths import path_from_text, path_text
from imgdb.trashes import RECORD


@dataclass(frozen=True, slots=True)
class Taken:
    """A line of the record: a file that was, or was about to be, moved to the trash."""

    path: str
    trashed: str
    sha256: bytes
    byte_size: int


class Trash:
    """A trash folder; it is made when the first file comes."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._taken = {taken.path: taken for taken in read_record(self.folder)}

    def holds(self, path: str, sha256: bytes) -> bool:
        """Tell whether the file that was at a path (as spelled) lies in the trash."""
        taken = self._taken.get(path)
        return taken is not None and taken.sha256 == sha256 and self._is_whole(taken)

    def take(self, path: str, file: Verified, sha256: bytes) -> None:
        """Move a file to the trash; raises Refused, and the file is where it was."""
        taken = self._taken.get(path)
        # A run that was killed has put it here, and not yet taken it away from its place.
        here = (
            taken is not None
            and taken.sha256 == sha256
            and (self._is_name_of(taken, file) or self._is_whole(taken))
        )
        if taken is None or not here:
            try:
                taken = self._put(path, file, sha256)
            except OSError as error:
                raise Refused(f"it cannot be put into the trash: {said(error)}") from error
        try:
            remove(file)
        except Refused:
            if not here:
                self._place(taken).unlink()
            raise

    def _put(self, path: str, file: Verified, sha256: bytes) -> Taken:
        taken = self._room_for(path, sha256, file.status.st_size)
        self._place(taken).parent.mkdir(parents=True, exist_ok=True)
        self._note(taken)
        put(file, self._place(taken), sha256)
        return taken

    def _place(self, taken: Taken) -> Path:
        return self.folder / path_from_text(taken.trashed)

    def _is_name_of(self, taken: Taken, file: Verified) -> bool:
        try:
            return os.path.samestat(self._place(taken).lstat(), file.status)
        except OSError:
            return False

    def _room_for(self, path: str, sha256: bytes, size: int) -> Taken:
        inner = Path(path_from_text(path).lstrip("/"))
        free, number = inner, 1
        while os.path.lexists(self.folder / free):
            number += 1
            free = inner.with_name(f"{inner.stem}~{number}{inner.suffix}")
        return Taken(path, path_text(free), sha256, size)

    def _is_whole(self, taken: Taken) -> bool:
        try:
            with verified(str(self._place(taken)), taken.sha256, taken.byte_size, change=False):
                return True
        except (Refused, OSError):
            return False

    def _note(self, taken: Taken) -> None:
        line = json.dumps(
            {
                "path": taken.path,
                "trashed": taken.trashed,
                "sha256": taken.sha256.hex(),
                "byte_size": taken.byte_size,
                "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        with (self.folder / RECORD).open("ab") as record:
            # After half a line, which a full disk or a power failure leaves behind, on a new one.
            start = b"\n" if record.tell() and not self._ends_in_newline() else b""
            record.write(start + line.encode() + b"\n")
            record.flush()
            os.fsync(record.fileno())
        self._taken[taken.path] = taken

    def _ends_in_newline(self) -> bool:
        with (self.folder / RECORD).open("rb") as record:
            record.seek(-1, os.SEEK_END)
            return record.read(1) == b"\n"


def read_record(folder: Path) -> Iterator[Taken]:
    """Yield what a trash folder has taken, oldest first; lines that are cut off are left out."""
    try:
        lines = (folder / RECORD).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            entry = json.loads(line)
            path, trashed = entry["path"], entry["trashed"]
            for spelled in (path, trashed):
                path_from_text(spelled)
            taken = Taken(path, trashed, bytes.fromhex(entry["sha256"]), int(entry["byte_size"]))
        except (ValueError, KeyError, TypeError, AttributeError, UsageError):
            continue
        yield taken


def put_back(folder: Path, taken: Taken) -> bool:
    """Put a file back to where it was; False if it is not in the trash. Raises Refused."""
    place = folder / path_from_text(taken.trashed)
    if not os.path.lexists(place):
        return False
    target = Path(path_from_text(taken.path))
    with verified(str(place), taken.sha256, taken.byte_size, change=True) as file:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            put(file, target, taken.sha256)
        except FileExistsError:
            if not _is(target, file, taken):
                raise Refused("there is another file at its place") from None
        except OSError as error:
            raise Refused(f"it cannot be put back: {said(error)}") from error
        remove(file)
    return True


def _is(target: Path, file: Verified, taken: Taken) -> bool:
    """Tell whether a file was put back already, and is in the trash as well."""
    try:
        with verified(str(target), taken.sha256, taken.byte_size, change=False):
            return True
    except Refused:
        # Two names of one file: the lock on it is ours.
        return os.path.lexists(target) and os.path.samestat(os.lstat(target), file.status)


def put(file: Verified, target: Path, sha256: bytes) -> None:
    """Give a file a second name, or copy it where that cannot be; never over another file.

    Raises FileExistsError, and what else the operating system says.
    """
    try:
        os.link(file.name, target, src_dir_fd=file.folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        _copy(file, target, sha256)
    sync_folder(target.parent)


def remove(file: Verified) -> None:
    """Take a file's name away; raises Refused, also if the file has changed meanwhile."""
    file.check_still()
    try:
        os.unlink(file.name, dir_fd=file.folder)
    except OSError as error:
        raise Refused(f"it cannot be removed: {said(error)}") from error


def _copy(file: Verified, target: Path, sha256: bytes) -> None:
    """Copy by way of a temporary file, so that a whole file is at the target or none."""
    part = target.with_name(f".{sha256.hex()[:16]}.imgdb-part")
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as copy:
            os.lseek(file.fd, 0, os.SEEK_SET)
            while piece := os.read(file.fd, PIECE):
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        _like(file, part)
        with part.open("rb") as written:
            if digest(written.fileno()) != sha256:
                raise OSError(errno.EIO, "the copy is not like the file")
        _name(part, target)
    finally:
        part.unlink(missing_ok=True)


def _like(file: Verified, copy: Path) -> None:
    status = file.status
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.chmod(status.st_mode & 0o7777)
    if os.geteuid() == 0:
        os.chown(copy, status.st_uid, status.st_gid)


def _name(part: Path, target: Path) -> None:
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        # A file system without links: nothing but this look keeps another file from being lost.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        part.rename(target)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder outlive a power failure."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
