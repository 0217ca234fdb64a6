"""What the command and its worker processes say to each other through pipes."""

from __future__ import annotations

import copyreg
import operator
import os
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from imgdb.hashes.fingerprint import Fingerprint
from imgdb.hashes.regions import Region

if TYPE_CHECKING:
    from imgdb.errors import PictureError
    from imgdb.hashes.copies import CopyHashes
    from imgdb.hashes.orientations import Turned
    from imgdb.pictures.metadata import Metadata
    from imgdb.pictures.thumbnail import Thumbnail
    from imgdb.workers.work import Work

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True, slots=True)
class Members:
    """A task: read a share of an archive's members, but for the first `done` of the share.

    `only` are the spellings of the members that count, None for all.
    """

    path: str
    part: int
    parts: int
    done: int
    only: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Recognise:
    """A task: a file that is not to be decoded if it is one of these, by their SHA-256."""

    path: str
    digests: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file that is one of those, as it is now."""

    sha256: bytes
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Errand:
    """A task with a work of its own, instead of the one that all tasks of the worker have."""

    task: str | Members | Recognise
    work: Work


@dataclass(frozen=True, slots=True)
class Made:
    """What a work that no room below knows has made of a file."""

    value: object


# What became of a file.
Outcome: TypeAlias = (
    "Fingerprint | Recognised | Thumbnail | Turned | CopyHashes | Metadata | Made | PictureError"
)


@dataclass(frozen=True, slots=True)
class Began:
    """A member of an archive is at hand."""

    member: str


@dataclass(frozen=True, slots=True)
class MemberDone:
    """The outcome of the member at hand."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Answered:
    """The outcomes of the next tasks, in their order, and the seconds that each took on average.

    The outcome None says that an archive was read to its end.
    """

    outcomes: tuple[Outcome | None, ...]
    seconds: float


def _as_call(kind: type[object]) -> None:
    """Pickle the objects of a dataclass as a call: its own way takes ten times as long."""
    values = operator.attrgetter(*(column.name for column in fields(kind)))  # type: ignore[arg-type]
    copyreg.pickle(kind, lambda made: (kind, values(made)))


_as_call(Fingerprint)
_as_call(Region)


def pack(message: object) -> bytes:
    """Return a message as it goes through a pipe."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Bytes of a pipe, in any pieces -> messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[object]:
        """Yield the messages that are complete with this piece."""
        self._buffer += piece
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, at)
            end = at + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            yield pickle.loads(memoryview(self._buffer)[at + _LENGTH.size : end])
            at = end
        del self._buffer[:at]


def write_all(fd: int, content: bytes) -> None:
    """Write to a blocking pipe to the last byte."""
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
