"""The kinds of work that workers do: each says what becomes of one picture file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from imgdb.hashes.fingerprint import Fingerprint, Unhashed, read_source
from imgdb.hashes.orientations import Turned, hash_turned
from imgdb.hashes.values import ALGORITHMS
from imgdb.pictures.decoding import Decode
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source
from imgdb.pictures.metadata import Metadata
from imgdb.pictures.thumbnail import Thumbnail, make_thumbnail
from imgdb.workers.limits import WORKER_MEMORY
from imgdb.workers.messages import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(ABC):
    """What a worker does with each file: the first message that it gets; `memory` is in bytes."""

    max_pixels: int = MAX_PIXELS
    memory: int = WORKER_MEMORY

    @abstractmethod
    def do(self, source: Source) -> Outcome | Unhashed:
        """Do it with an opened file; raises PictureError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashFiles(Work):
    """Make the hashes of a file, with `regions` also its regions, with `pdq` also its PDQ."""

    decode: Decode = "exact"
    algorithms: tuple[str, ...] = ALGORITHMS
    regions: bool = False
    pdq: bool = False

    def do(self, source: Source) -> Fingerprint | Unhashed:
        return read_source(
            source,
            decode=self.decode,
            algorithms=self.algorithms,
            max_pixels=self.max_pixels,
            regions=self.regions,
            pdq=self.pdq,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeThumbnails(Work):
    """Make a thumbnail of a file, at most `side` pixels wide and high."""

    side: int

    def do(self, source: Source) -> Thumbnail:
        return make_thumbnail(source, side=self.side, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMetadata(Work):
    """Tell what a file says of its picture."""

    def do(self, source: Source) -> Metadata:
        return source.metadata(max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashTurned(Work):
    """Make hashes of a file in every orientation."""

    algorithms: tuple[str, ...]

    def do(self, source: Source) -> Turned:
        return hash_turned(source, self.algorithms, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCopies(Work):
    """Make the hashes of copies of a file, each made by one of the `edits` (names).

    With `pdq` also their PDQ, with `regions` also their regions.
    """

    edits: tuple[str, ...]
    algorithms: tuple[str, ...]
    pdq: bool = False
    regions: bool = False

    def do(self, source: Source) -> Outcome:
        # Most workers have nothing to edit.
        from imgdb.hashes.copies import hash_copies

        return hash_copies(
            source,
            self.edits,
            self.algorithms,
            pdq=self.pdq,
            regions=self.regions,
            max_pixels=self.max_pixels,
        )
