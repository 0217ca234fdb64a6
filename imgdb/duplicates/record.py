"""The record of a trash: what it has taken, from where, one line for each picture.

A line is written before anything is moved. So at any moment the record and the disk together say
what has happened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgdb.duplicates.folders import Folder, Rights, sync
from imgdb.errors import UsageError
from imgdb.paths import path_from_text
from imgdb.trashes import RECORD

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Part:
    """A file that was, or was about to be, moved: spelled where it was, and where in the trash.

    `path` is as the database knows it, `place` the same without links; `trashed` is below the
    trash.
    """

    path: str
    place: str
    trashed: str
    sha256: bytes
    byte_size: int


@dataclass(frozen=True, slots=True)
class Taken(Part):
    """A picture and its companions; `rights` are those of the folders that it was in."""

    companions: tuple[Part, ...] = ()
    rights: tuple[Rights, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return all its files, the picture last: while it is there, the rest is to be done."""
        return (*self.companions, self)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line that is not believed, and why."""

    path: str
    reason: str


def read_record(trash: Folder) -> Iterator[Taken | Damaged]:
    """Yield what a trash has taken, oldest first; lines that are cut off are left out."""
    try:
        fd = os.open(RECORD, _READ, dir_fd=trash.fd)
    except FileNotFoundError:
        return
    with os.fdopen(fd, "rb") as record:
        lines = record.read().splitlines()
    for line in lines:
        try:
            entry = json.loads(line)
            path = str(entry["path"])
        except (ValueError, KeyError, TypeError):
            continue
        try:
            yield _taken(entry)
        except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
            yield Damaged(path, f"the record of it is damaged: {error}")


def append_record(trash: Folder, taken: Taken) -> None:
    """Write a line, and make sure that it outlives a power failure."""
    entry = _entry(taken) | {
        "folders": [[f"{one.mode:o}", one.uid, one.gid] for one in taken.rights],
        "companions": [_entry(one) for one in taken.companions],
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    # It lists the names in folders that others may not look into.
    fd = os.open(RECORD, _APPEND, 0o600, dir_fd=trash.fd)
    with os.fdopen(fd, "r+b", buffering=0) as record:
        end = record.seek(0, os.SEEK_END)
        # After half a line, which a full disk or a power failure leaves behind, on a new one.
        start = b"\n" if end and os.pread(fd, 1, end - 1) != b"\n" else b""
        line = start + json.dumps(entry).encode() + b"\n"
        if record.write(line) != len(line):
            raise OSError("the record cannot be written")
        os.fsync(fd)
    if not end:
        sync(trash.fd)


def _entry(part: Part) -> dict[str, object]:
    entry: dict[str, object] = {
        "path": part.path,
        "trashed": part.trashed,
        "sha256": part.sha256.hex(),
        "byte_size": part.byte_size,
    }
    return entry if part.place == part.path else entry | {"place": part.place}


def _taken(entry: Mapping[str, Any]) -> Taken:
    rights = [
        Rights(int(mode, 8), int(uid), int(gid)) for mode, uid, gid in entry.get("folders", ())
    ]
    return Taken(
        **_part(entry),
        companions=tuple(Part(**_part(one)) for one in entry.get("companions", ())),
        rights=tuple(rights),
    )


def _part(entry: Mapping[str, Any]) -> dict[str, Any]:
    path, trashed = entry["path"], entry["trashed"]
    place = entry.get("place", path)
    for spelled in (path, place):
        _check(spelled, absolute=True)
    _check(trashed, absolute=False)
    return {
        "path": path,
        "place": place,
        "trashed": trashed,
        "sha256": bytes.fromhex(entry["sha256"]),
        "byte_size": int(entry["byte_size"]),
    }


def _check(spelled: str, *, absolute: bool) -> None:
    """Raise ValueError for a path that would lead out of the trash, or to no certain place."""
    path = path_from_text(spelled)
    if Path(path).is_absolute() is not absolute:
        raise ValueError(f"{spelled} is {'not ' if absolute else ''}absolute")
    if os.path.normpath(path) != path or path == os.curdir or os.pardir in Path(path).parts:
        raise ValueError(f"{spelled} is not in its shortest form, or leads out of the trash")
    if "\0" in path:
        raise ValueError("no file can have such a path")
