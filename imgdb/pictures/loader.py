"""Any file -> one upright 8-bit grey picture, safely and always the same way.

First come the questions: is it a regular file, what is its format by content, and is that format on
the list (`formats`)? Then it is decoded by the rules of `decoding`. docs/pictures.md has all rules.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import BinaryIO, cast

from PIL import Image

from imgdb.errors import PictureError
from imgdb.paths import modified_at
from imgdb.pictures.decoding import (
    Decode,
    Decoded,
    Encoded,
    decode_colour,
    decode_grey,
    decode_on_black,
    read_metadata,
)
from imgdb.pictures.formats import HEAD_SIZE, identify
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.metadata import Metadata
from imgdb.pictures.raws import is_raw_tiff
from imgdb.pictures.reasons import picture_errors

# Bytes. A file of up to this size is read once and decoded from memory, a larger one is read twice.
_IN_MEMORY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded file; `width` and `height` are those of the full picture, upright.

    `colours` are as `imgdb.pictures.mean_colours` makes them. `luma` is the picture in colours, or
    again in grey where it has none; None if it was not asked for. `transparent` says whether paper
    may be seen through it.
    """

    grey: Image.Image
    format: str
    width: int
    height: int
    frames: int
    byte_size: int
    modified_at: datetime
    sha256: bytes
    colours: bytes
    luma: Image.Image | None = None
    transparent: bool = False


def load(
    path: str | bytes | os.PathLike[str],
    *,
    max_pixels: int = MAX_PIXELS,
    decode: Decode = "exact",
) -> Picture:
    """Read a file as an upright grey picture; raises PictureError."""
    with open_source(path) as source:
        return source.picture(decode, max_pixels=max_pixels)


def load_stream(
    file: BinaryIO,
    *,
    byte_size: int | None,
    modified_at: datetime,
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    decode: Decode = "exact",
) -> Picture:
    """Read a member of an archive, or stdin, by the same rules; raises PictureError."""
    with open_stream(file, byte_size=byte_size, modified_at=modified_at, name=name) as source:
        return source.picture(decode, max_pixels=max_pixels)


class Source:
    """The bytes of one file, opened and recognised; `picture` may decode them several times."""

    def __init__(
        self, file: BinaryIO, format_name: str, byte_size: int, modified_at: datetime
    ) -> None:
        self.file = file
        self.format = format_name
        self.byte_size = byte_size
        self.modified_at = modified_at
        self._sha256: bytes | None = None

    @property
    def sha256(self) -> bytes:
        if self._sha256 is None:
            self.file.seek(0)
            self._sha256 = hashlib.file_digest(cast(BytesIO, self.file), "sha256").digest()
        return self._sha256

    def checked_sha256(self) -> bytes:
        """Return the SHA-256 of a file that has not changed meanwhile; raises PictureError."""
        with self._checked():
            return self.sha256

    def check_unchanged(self) -> None:
        """Raise PictureError `changed` if the file is no longer what it was when it was opened."""

    def picture(
        self, decode: Decode = "exact", *, max_pixels: int = MAX_PIXELS, luma: bool = False
    ) -> Picture:
        """Decode; raises PictureError."""
        with self._checked():
            decoded = decode_grey(self._encoded(), decode, max_pixels, luma=luma)
            sha256 = self.sha256
        assert decoded.colours is not None
        return Picture(
            grey=decoded.image,
            format=self.format,
            width=decoded.width,
            height=decoded.height,
            frames=decoded.frames,
            byte_size=self.byte_size,
            modified_at=self.modified_at,
            sha256=sha256,
            colours=decoded.colours,
            luma=decoded.luma,
            transparent=decoded.transparent,
        )

    def on_black(self, *, max_pixels: int = MAX_PIXELS) -> tuple[Image.Image, bytes]:
        """Decode to grey and colours, as it looks on black; raises PictureError."""
        with self._checked():
            decoded = decode_on_black(self._encoded(), max_pixels)
        assert decoded.colours is not None
        return decoded.image, decoded.colours

    def small(self, side: int, *, max_pixels: int = MAX_PIXELS) -> Decoded:
        """Decode to colours, at most `side` pixels wide and high; raises PictureError."""
        with self._checked():
            return decode_colour(self._encoded(), side, max_pixels)

    def metadata(self, *, max_pixels: int = MAX_PIXELS) -> Metadata:
        """Tell what the file says of its picture; raises PictureError."""
        with self._checked():
            return read_metadata(self._encoded(), max_pixels)

    def _encoded(self) -> Encoded:
        self.file.seek(0)
        head = self.file.read(HEAD_SIZE)
        return Encoded(self.file, head, self.format, self.byte_size)

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            with picture_errors(self.format):
                yield
        finally:
            # If the file has changed, neither the picture nor the error says anything about it.
            self.check_unchanged()


class _FileSource(Source):
    def __init__(self, fd: int, file: BinaryIO, format_name: str, status: os.stat_result) -> None:
        super().__init__(file, format_name, status.st_size, modified_at(status))
        self._fd = fd
        self._status = status

    def check_unchanged(self) -> None:
        now, was = os.fstat(self._fd), self._status
        if (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns):
            raise PictureError("changed", f"{was.st_size} bytes, then {now.st_size}")


@contextlib.contextmanager
def open_source(path: str | bytes | os.PathLike[str]) -> Iterator[Source]:
    """Open a regular file whose content is of a known format; raises PictureError."""
    with picture_errors():
        fd = _open(path)
    try:
        with picture_errors():
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise PictureError("not-a-file", _kind(status.st_mode))
            if status.st_size == 0:
                raise PictureError("empty")
            head = os.read(fd, HEAD_SIZE)
            format_name = identify(head)
            if status.st_size <= _IN_MEMORY:
                file: BinaryIO = BytesIO(_read_all(fd, head, status.st_size))
            else:
                file = os.fdopen(fd, "rb", closefd=False)
            format_name = _with_raws(format_name, file, status.st_size, os.fsdecode(path))
        yield _FileSource(fd, file, format_name, status)
    finally:
        os.close(fd)


@contextlib.contextmanager
def open_stream(
    file: BinaryIO, *, byte_size: int | None, modified_at: datetime, name: str = ""
) -> Iterator[Source]:
    """Take in a stream whose content is of a known format; raises PictureError.

    `byte_size` is what the archive says; a stream that is longer or shorter is refused. `name` is
    what the archive calls the file.
    """
    with contextlib.ExitStack() as stack:
        content: BinaryIO = BytesIO()
        with picture_errors():
            part = file.read(HEAD_SIZE)
            if not part:
                raise PictureError("empty")
            format_name = identify(part)
            size = 0
            while part:
                if size <= _IN_MEMORY < size + len(part):
                    memory, content = content, stack.enter_context(tempfile.TemporaryFile())
                    memory.seek(0)
                    shutil.copyfileobj(memory, content)
                size += content.write(part)
                if byte_size is not None and size > byte_size:
                    raise PictureError("broken", "longer than the archive says")
                part = file.read(1 << 20)
            if byte_size is not None and size < byte_size:
                raise PictureError("truncated", f"{size} of {byte_size} bytes")
            format_name = _with_raws(format_name, content, size, name)
        yield Source(content, format_name, size, modified_at)


def _with_raws(format_name: str, file: BinaryIO, byte_size: int, name: str) -> str:
    """Return the format of an opened file that begins like one of `format_name`."""
    if format_name == "TIFF" and is_raw_tiff(file, byte_size, name):
        return "RAW"
    return format_name


def _open(path: str | bytes | os.PathLike[str]) -> int:
    try:
        # Without O_NONBLOCK the open of a FIFO hangs; without O_NOCTTY a terminal becomes ours.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as exc:  # a NUL, or a character that no file name can hold
        raise PictureError("missing", str(exc)) from exc


def _read_all(fd: int, head: bytes, size: int) -> bytes:
    """Read the rest of a file of `size` bytes that begins with `head`."""
    parts = [head]
    remaining = size - len(head)
    while remaining > 0:
        part = os.read(fd, remaining)
        if not part:
            raise PictureError("changed", f"{size} bytes, then {size - remaining}")
        parts.append(part)
        remaining -= len(part)
    return b"".join(parts)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "socket"
