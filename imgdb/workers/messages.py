"""What the command and its worker processes say to each other through pipes."""

from __future__ import annotations

import copyreg
import operator
import os
import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields

from imgdb.errors import PictureError
from imgdb.hashes.copies import CopyHashes
from imgdb.hashes.fingerprint import Fingerprint
from imgdb.hashes.orientations import Turned
from imgdb.hashes.regions import Region
from imgdb.pictures.decoding import Decode
from imgdb.pictures.thumbnail import Thumbnail

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a worker hashes: the first message that it gets. `memory` is in bytes.

    With a `thumbnail_side`, in pixels, it makes thumbnails instead; `turned`, the first of the
    hashes alone in every orientation; with `edits`, by their names, it hashes edited copies.
    """

    decode: Decode
    algorithms: tuple[str, ...]
    max_pixels: int
    memory: int
    thumbnail_side: int | None = None
    turned: bool = False
    edits: tuple[str, ...] = ()
    regions: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True, slots=True)
class Members:
    """An order to read a share of an archive's members, but for the first `done` of the share.

    `only` are the spelled names of those that count, None for all.
    """

    path: str
    part: int
    parts: int
    done: int
    only: frozenset[str] | None = None


# How a file ended.
Outcome = Fingerprint | Thumbnail | Turned | CopyHashes | PictureError


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
    """The outcomes of the next orders, in their order, and the seconds that each took on average.

    None is that of an archive that was read to its end.
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
