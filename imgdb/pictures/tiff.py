"""The directories of a TIFF: each says of one picture of the file what it is."""

from __future__ import annotations

from collections.abc import Iterator
from struct import calcsize, iter_unpack, unpack
from typing import BinaryIO, NamedTuple

from imgdb.errors import PictureError

# Counting stops here: a chain of 11 million empty pages fits into 64 MiB.
MAX_PAGES = 65_535

NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE = 254, 255
WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SUB_DIRECTORIES = 256, 257, 259, 262, 330
DNG_VERSION = 50706

# Where the data of a picture begin, and how long they are: strips, tiles, a JPEG, and what the
# sensors of Panasonic measured.
DATA = ((273, 279), (324, 325), (513, 514), (280, 279))

_READ = frozenset({
    NEW_SUBFILE_TYPE, OLD_SUBFILE_TYPE, WIDTH, HEIGHT, COMPRESSION, PHOTOMETRIC, SUB_DIRECTORIES,
    DNG_VERSION, *(tag for pair in DATA for tag in pair),
})  # fmt: skip

# Tags stand in the order of their numbers, and the first few tell what kind of a page it is. A
# picture has some 20 tags, a raw up to 100; a hostile file has 65,535 pages that claim as many.
_TAGS, _FEW_TAGS = 512, 8
_SUB_DIRECTORIES, _NUMBERS = 16, 65_536

_ELSEWHERE = 0xFFFFFFFF

_LETTERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}


class Directory(NamedTuple):
    """What a directory says in whole numbers, by tag, and where the last of them end.

    `next` is where the next one is, or 0.
    """

    numbers: dict[int, tuple[int, ...]]
    numbers_end: int
    next: int

    def number(self, tag: int) -> int:
        """Return the first number of a tag, 0 if there is none."""
        return next(iter(self.numbers.get(tag, ())), 0)

    @property
    def pixels(self) -> int:
        return self.number(WIDTH) * self.number(HEIGHT)

    @property
    def end(self) -> int:
        """Where the last data of the picture end, as the directory says."""
        ends = (
            begin + length
            for begins, lengths in DATA
            for begin, length in zip(
                self.numbers.get(begins, ()), self.numbers.get(lengths, ()), strict=False
            )
            if begin != _ELSEWHERE
        )
        return max((self.numbers_end, *ends))

    @property
    def is_reduced(self) -> bool:
        """Tell whether it is a small copy of another picture of the file, or its mask."""
        return bool(self.number(NEW_SUBFILE_TYPE) & 0b101) or self.number(OLD_SUBFILE_TYPE) == 2


class Tiff:
    """A TIFF or BigTIFF; struct.error where it ends within a directory."""

    def __init__(self, file: BinaryIO, byte_size: int) -> None:
        self._file = file
        self._byte_size = byte_size
        head = self._read(0, 16)
        big = b"+" in head[2:4]
        self._order = "<" if head[:2] == b"II" else ">"
        self._offset, self._count = ("Q", "Q") if big else ("I", "H")
        (self._first,) = self._unpack(self._offset, 8 if big else 4)

    def pages(self) -> Iterator[Directory]:
        """Yield the directories of the chain, with their first tags; raises PictureError."""
        seen: set[int] = set()  # a chain can be a ring
        position = self._first
        while position and position not in seen and len(seen) < MAX_PAGES:
            if position >= self._byte_size:
                raise PictureError("truncated", f"TIFF: page {len(seen) + 1} is not there")
            seen.add(position)
            page = self._directory(position, _FEW_TAGS)
            yield page
            position = page.next

    def described(self) -> Iterator[Directory]:
        """Yield the first directories of the chain with all that belong to them, in full."""
        position = self._first
        for _ in range(_SUB_DIRECTORIES):
            if not 0 < position < self._byte_size:
                break
            one = self._directory(position, _TAGS)
            yield one
            yield from self.below(one)
            position = one.next

    def first(self) -> Directory:
        """Return the directory of the first page."""
        return self._directory(self._first, _TAGS)

    def below(self, directory: Directory) -> Iterator[Directory]:
        """Yield the directories that belong to one, and are not in the chain."""
        for position in directory.numbers.get(SUB_DIRECTORIES, ())[:_SUB_DIRECTORIES]:
            yield self._directory(position, _TAGS)

    def _directory(self, position: int, most_tags: int) -> Directory:
        (count,) = self._unpack(self._count, position)
        begin = position + calcsize("=" + self._count)
        room = calcsize("=" + self._offset)
        entry = f"{self._order}HH{self._offset}{room}s"
        content = self._read(begin, calcsize(entry) * min(count, most_tags))
        content = content[: len(content) // calcsize(entry) * calcsize(entry)]
        numbers, numbers_end = {}, 0
        for tag, kind, many, field in iter_unpack(entry, content):
            if tag in _READ and kind in _LETTERS:
                numbers[tag], end = self._numbers(kind, many, field)
                numbers_end = max(numbers_end, end)
        end = begin + calcsize(entry) * count
        # Some writers leave out the end of the chain.
        after = self._unpack(self._offset, end)[0] if end < self._byte_size else 0
        return Directory(numbers, numbers_end, after)

    def _numbers(self, kind: int, many: int, field: bytes) -> tuple[tuple[int, ...], int]:
        """Read the first numbers of a tag; they stand in its field if they have room there.

        Return also where they end, 0 if in the field.
        """
        letter, end = _LETTERS[kind], 0
        size = calcsize("=" + letter)
        many = min(many, _NUMBERS)
        if many * size > len(field):
            (place,) = unpack(self._order + self._offset, field)
            end = place + many * size
            field = self._read(place, many * size)
            many = len(field) // size
        return unpack(f"{self._order}{many}{letter}", field[: many * size]), end

    def _unpack(self, letter: str, position: int) -> tuple[int, ...]:
        return unpack(self._order + letter, self._read(position, calcsize("=" + letter)))

    def _read(self, position: int, size: int) -> bytes:
        self._file.seek(min(position, self._byte_size))
        return self._file.read(size)
