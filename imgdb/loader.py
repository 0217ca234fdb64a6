"""Any file -> one upright 8-bit grey picture, safely and always the same way.

The only module that opens pictures. The order of the rules: regular file, format by content,
allow-list, pixel limit from the header, first frame, orientation, ranges, white paper, grey.
"""

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import BinaryIO, Literal, cast

from PIL import Image, ImageFile, UnidentifiedImageError

from imgdb.errors import PictureError
from imgdb.formats import FORMATS, HEAD_SIZE, identify
from imgdb.grey import to_grey
from imgdb.paths import path_from_text, path_text

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "REASONS",
    "Decode",
    "Picture",
    "Source",
    "explain",
    "load",
    "load_stream",
    "modified_at",
    "open_source",
    "open_stream",
    "path_from_text",
    "path_text",
    "prepare",
]

Decode = Literal["exact", "scaled"]

MAX_PIXELS = 300_000_000

# Up to this size a file is read once and decoded from memory; above it is read twice.
_IN_MEMORY = 64 * 1024 * 1024

# `scaled` never decodes to less than this on the shorter side.
_SCALED_SIDE = 512

REASONS = {
    "missing": "there is no such file (any more)",
    "denied": "no permission to read it",
    "not-a-file": "a folder, FIFO, socket or device, not a regular file",
    "empty": "the file has no bytes",
    "unknown-format": "not a picture in any format that imgdb knows",
    "unsupported-format": "a picture, but of a format that imgdb does not read",
    "too-large": "it has more pixels than --max-pixels allows",
    "truncated": "the file ends before the picture does",
    "broken": "the file is damaged, or of a kind that the decoder does not know",
    "changed": "the file changed while it was read",
    "no-memory": "decoding needs more memory than a worker may have",
    "timeout": "decoding takes longer than a worker may take",
    "crashed": "the decoder crashed on it",
    "io-error": "the disk or the network failed while reading it",
}


def explain(error: PictureError) -> str:
    """Say for a person why a file cannot be hashed."""
    words = REASONS.get(error.reason, error.reason)
    return f"{words} ({error.detail})" if error.detail else words


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_prepared = False


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded file; `width` and `height` are those of the full picture, upright."""

    grey: Image.Image
    format: str
    width: int
    height: int
    frames: int
    byte_size: int
    modified_at: datetime
    sha256: bytes


def prepare() -> None:
    """Set Pillow up, once per process; `load` does it when nobody did."""
    global _prepared
    if _prepared:
        return
    # All of Pillow's own plugins first: pillow-heif registered before them breaks some AVIF files.
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    from PIL import AvifImagePlugin

    # Workers are processes, one per core: threads inside of them only get in each other's way.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    _prepared = True


def modified_at(status: os.stat_result) -> datetime:
    """Give a file's time of modification as PostgreSQL stores it: UTC, whole microseconds."""
    try:
        return _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:  # a clock gone wild; the year 9999 is as good as any
        return datetime.max.replace(tzinfo=UTC)


class Source:
    """The bytes of one file, opened and recognised; `picture` decodes them, as often as need be."""

    def __init__(self, file: BinaryIO, format_name: str, byte_size: int, modified_at: datetime):
        self.file = file
        self.format = format_name
        self.byte_size = byte_size
        self.modified_at = modified_at
        self._sha256: bytes | None = None

    @property
    def sha256(self) -> bytes:
        if self._sha256 is None:
            self.file.seek(0)
            self._sha256 = _digest(self.file)
        return self._sha256

    def check_unchanged(self) -> None:
        """Raise PictureError `changed` if the file is no longer what it was when it was opened."""

    def picture(self, decode: Decode = "exact", *, max_pixels: int = MAX_PIXELS) -> Picture:
        """Decode; raises PictureError."""
        prepare()
        with _explained(self.format):
            grey, frames, (width, height) = _decode(self, decode, max_pixels)
            sha256 = self.sha256
        self.check_unchanged()
        return Picture(
            grey=grey,
            format=self.format,
            width=width,
            height=height,
            frames=frames,
            byte_size=self.byte_size,
            modified_at=self.modified_at,
            sha256=sha256,
        )


def _digest(file: BinaryIO) -> bytes:
    if isinstance(file, BytesIO):
        return hashlib.sha256(file.getbuffer()).digest()
    digest = hashlib.sha256()
    while part := file.read(1 << 20):
        digest.update(part)
    return digest.digest()


class _FileSource(Source):
    def __init__(self, fd: int, file: BinaryIO, format_name: str, status: os.stat_result):
        super().__init__(file, format_name, status.st_size, modified_at(status))
        self._fd = fd
        self._status = status

    def check_unchanged(self) -> None:
        now = os.fstat(self._fd)
        was = self._status
        if (now.st_size, now.st_mtime_ns) != (was.st_size, was.st_mtime_ns):
            raise PictureError("changed", f"{was.st_size} bytes, then {now.st_size}")


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


@contextlib.contextmanager
def open_stream(
    file: BinaryIO, *, byte_size: int | None, modified_at: datetime, name: str = ""
) -> Iterator[Source]:
    """Take in a stream whose content is of a known format; raises PictureError.

    `byte_size` is what the archive says; a stream that is longer or shorter is refused.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        with _explained(""):
            head = file.read(HEAD_SIZE)
            if not head:
                raise PictureError("empty")
            format_name = identify(head)
            size = 0
            while head:
                size += len(head)
                if byte_size is not None and size > byte_size:
                    raise PictureError("broken", "longer than the archive says")
                spool.write(head)
                head = file.read(1 << 20)
        if byte_size is not None and size < byte_size:
            raise PictureError("truncated", f"{size} of {byte_size} bytes")
        spool.seek(0)
        content = BytesIO(spool.read()) if size <= _IN_MEMORY else cast(BinaryIO, spool)
        yield Source(content, format_name, size, modified_at)


@contextlib.contextmanager
def open_source(path: str | bytes | os.PathLike[str]) -> Iterator[Source]:
    """Open a regular file whose content is of a known format; raises PictureError."""
    with _explained(""):
        fd = _open_regular(path)
    try:
        with _explained(""):
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
        yield _FileSource(fd, file, format_name, status)
    finally:
        os.close(fd)


def _open_regular(path: str | bytes | os.PathLike[str]) -> int:
    # O_NONBLOCK: opening a FIFO must not hang, nor start a device; O_NOCTTY: nor take a terminal.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except ValueError as exc:  # a NUL, or a character that no file name can hold
        raise PictureError("missing", str(exc)) from exc
    except OSError as exc:
        if exc.errno in (errno.ENXIO, errno.ENODEV):
            raise PictureError("not-a-file", "socket or device") from exc
        raise


def _read_all(fd: int, head: bytes, size: int) -> bytes:
    """Read the rest of a file of `size` bytes."""
    parts = [head]
    remaining = size - len(head)
    while remaining > 0:
        part = os.read(fd, remaining)
        if not part:
            raise PictureError("changed", f"{size} bytes, then {size - remaining}")
        parts.append(part)
        remaining -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "socket"


def _decode(
    source: Source, decode: Decode, max_pixels: int
) -> tuple[Image.Image, int, tuple[int, int]]:
    # Twice this raises in Pillow wherever it meets a size: also of a picture inside an icon.
    Image.MAX_IMAGE_PIXELS = max_pixels // 2
    source.file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(source.file, formats=[source.format]) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise PictureError("too-large", f"{width}x{height} pixels")
            if width * height == 0:
                raise PictureError("broken", "no pixels")
            bits = _sample_bits(image)
            # Below twice that nothing is reduced, and the hashes shall be exact.
            reducible = source.format == "JPEG" and min(image.size) >= 2 * _SCALED_SIDE
            if decode == "scaled" and reducible:
                image.draft("L", (_SCALED_SIDE, _SCALED_SIDE))
            image.load()
            if source.format == "TIFF":  # which turns itself
                width, height = image.size
            turn = _turn(image, source.format)
            grey = to_grey(image, bits=bits)
            if grey is image:  # counting frames winds the file on: the picture must stay behind
                grey = image.copy()
            frames = int(getattr(image, "n_frames", 1))
    if turn is not None:
        # Turning grey gives the same pixels as turning colours and costs a seventh.
        grey = grey.transpose(turn)
        if turn >= Image.Transpose.ROTATE_90 and turn != Image.Transpose.ROTATE_180:
            width, height = height, width
    return grey, frames, (width, height)


def _turn(image: Image.Image, format_name: str) -> Image.Transpose | None:
    # libheif and Pillow's TIFF turn the pixels themselves.
    if format_name in ("HEIF", "TIFF"):
        return None
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION, 1)))
    except Exception:  # EXIF is parsed by Python code that can raise anything: the picture is whole
        return None


def _sample_bits(image: Image.Image) -> int:
    tags = getattr(image, "tag_v2", None)
    if tags is not None:
        bits = tags.get(258, (16,))
        return int(bits[0])
    return 16


@contextlib.contextmanager
def _explained(format_name: str) -> Iterator[None]:
    """Turn whatever reading and decoding raise into a PictureError."""
    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as exc:
        raise PictureError("too-large", str(exc)) from exc
    except MemoryError as exc:
        raise PictureError("no-memory") from exc
    except UnidentifiedImageError as exc:
        raise PictureError("broken", f"{format_name}: the header makes no sense") from exc
    except FileNotFoundError as exc:
        raise PictureError("missing") from exc
    except PermissionError as exc:
        raise PictureError("denied") from exc
    except Exception as exc:
        words = " ".join(f"{format_name} {type(exc).__name__}: {exc}".split())[:200]
        if isinstance(exc, OSError) and exc.errno is not None:
            reason = "missing" if exc.errno in (errno.ENOTDIR, errno.ENAMETOOLONG) else "io-error"
        else:
            reason = "truncated" if "truncated" in words else "broken"
        raise PictureError(reason, words) from exc
