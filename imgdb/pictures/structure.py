"""Check the structure of a file without decoding it: is it whole, how many pictures are in it?

Decoders are lenient: a PNG with a wrong checksum or without its end loads in silence, and so does
an animation that is cut off. imgdb refuses a file that is shorter than it says.
"""

import zlib
from collections.abc import Iterator
from struct import error as struct_error
from struct import unpack
from typing import BinaryIO

from imgdb.errors import PictureError
from imgdb.pictures.tiff import MAX_PAGES, Tiff

# Counting stops here, as with the pages of a TIFF.
MAX_FRAMES = MAX_PAGES

_PART = 1 << 20
_TAIL = 1 << 12  # where the end marker of nearly every JPEG is: looking through a part takes 1 ms

# Frames of JPEGs that nobody decodes: lossless, differential, and those of JPEG-LS.
_UNREAD_JPEGS = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7})

# A progressive JPEG has ten scans or so; ten thousand million pixels take half a minute.
_PROGRESSIVE = 0xC2
_USUAL_SCANS = 100
_MOST_SCANNED_PIXELS = 10_000_000_000

# Deflate makes at most 258 bytes of 2 bits.
_DEFLATE_RATIO = 1032
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def check_whole(file: BinaryIO, format_name: str, byte_size: int) -> int:
    """Raise PictureError if the file is cut off or damaged, as far as its structure shows.

    Return the number of its pictures for GIF and TIFF, where a decoder would read the whole file to
    count them; for other formats 0.
    """
    try:
        if format_name == "PNG":
            _check_png(file, byte_size)
        elif format_name == "JPEG":
            _check_jpeg(file, byte_size)
        elif format_name == "WEBP":
            _check_webp(file, byte_size)
        elif format_name in ("AVIF", "HEIF", "JPEG2000"):
            _check_boxes(file, format_name, byte_size)
        elif format_name == "GIF":
            return _count_gif_frames(file, byte_size)
        elif format_name == "TIFF":
            return _count_tiff_pages(file, byte_size)
    except struct_error as exc:  # fewer bytes than a field has
        raise PictureError("truncated", f"{format_name}: it ends within a header") from exc
    return 0


def _check_png(file: BinaryIO, byte_size: int) -> None:
    position, data_size = 8, 0
    while True:
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[:4], "big")
        position += 12 + length
        if len(head) < 8 or position > byte_size:
            raise PictureError("truncated", "PNG: it has no end (IEND)")
        kind = head[4:]
        checksum = zlib.crc32(kind)
        for part in _parts(file, length):
            checksum = zlib.crc32(part, checksum)
        if checksum != int.from_bytes(file.read(4), "big"):
            raise PictureError("broken", f"PNG: wrong checksum of chunk {kind!a}")
        data_size += length if kind == b"IDAT" else 0
        if kind == b"IEND":
            break
    # Where the compressed stream ends early, rows that are not there come out black.
    if data_size * _DEFLATE_RATIO < _png_size(file):
        raise PictureError("truncated", f"PNG: {data_size} bytes cannot hold its pixels")


def _png_size(file: BinaryIO) -> int:
    """Give the size of the pixels before compression, without the filter bytes."""
    file.seek(16)
    width, height, depth, colour = unpack(">IIBB", file.read(10))
    return int((width * depth * _PNG_CHANNELS.get(colour, 1) + 7) // 8 * height)


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        part = file.read(min(length, _PART))
        if not part:
            return
        length -= len(part)
        yield part


def _check_jpeg(file: BinaryIO, byte_size: int) -> None:
    """Look for the end marker behind the start of the scan (a thumbnail before it has its own)."""
    position = 2
    while True:
        file.seek(position)
        marker = file.read(4)
        if len(marker) < 4 or marker[0] != 0xFF:
            return  # not for us to judge: the decoder resynchronises or refuses
        if marker[1] == 0xFF:
            position += 1
        elif marker[1] == 0xDA:
            break
        elif marker[1] == 0x01 or 0xD0 <= marker[1] <= 0xD8:
            position += 2
        else:
            if marker[1] in _UNREAD_JPEGS:
                raise PictureError("unsupported-format", "JPEG: lossless or hierarchical")
            if marker[1] == _PROGRESSIVE:
                _check_scans(file, position)
            position += 2 + int.from_bytes(marker[2:], "big")
    stop, length = byte_size, _TAIL
    while stop > position:
        start = max(position, stop - length)
        file.seek(start)
        # One byte more than the part: the marker may lie across.
        if b"\xff\xd9" in file.read(stop - start + 1):
            return
        stop, length = start, _PART
    raise PictureError("truncated", "JPEG: it has no end (EOI)")


def _check_scans(file: BinaryIO, header: int) -> None:
    """Refuse a progressive JPEG of many scans: each costs a pass over all pixels, and few bytes."""
    file.seek(header + 5)
    height, width = unpack(">HH", file.read(4))
    scans = sum(part.count(b"\xff\xda") for part in _parts(file, 1 << 62))
    if scans > _USUAL_SCANS and scans * width * height > _MOST_SCANNED_PIXELS:
        raise PictureError("broken", f"JPEG: {scans} scans of {width} x {height} pixels")


def _check_webp(file: BinaryIO, byte_size: int) -> None:
    file.seek(4)
    said = unpack("<I", file.read(4))[0] + 8
    if said > byte_size:
        raise PictureError("truncated", f"WEBP: {byte_size} of {said} bytes")


def _check_boxes(file: BinaryIO, format_name: str, byte_size: int) -> None:
    """Add up the boxes of an ISO media file; a bare JPEG 2000 codestream has none."""
    position = 0
    while position + 8 <= byte_size:
        file.seek(position)
        length, kind = unpack(">I4s", file.read(8))
        if position == 0 and kind not in (b"ftyp", b"jP  "):
            return
        if length == 1:
            length = unpack(">Q", file.read(8))[0]
        if length < 8:  # 0: up to the end of the file
            return
        position += length
    if position > byte_size:
        raise PictureError("truncated", f"{format_name}: {byte_size} of {position} bytes")


def _count_gif_frames(file: BinaryIO, byte_size: int) -> int:
    file.seek(10)
    file.seek(13 + _colour_table(file.read(1)))
    frames = 0
    while frames < MAX_FRAMES:
        kind = file.read(1)
        if kind == b"\0":  # a block terminator too many
            continue
        if kind == b",":
            frames += 1
            file.seek(_colour_table(file.read(9)[8:]) + 1, 1)
        elif kind == b"!":
            file.seek(1, 1)
        else:  # the trailer, nothing (many a writer forgets it), or rubbish
            break
        while (length := file.read(1)) != b"\0":
            if not length or file.seek(length[0], 1) > byte_size:
                raise PictureError("truncated", f"GIF: it ends within frame {max(frames, 1)}")
    return frames


def _colour_table(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _count_tiff_pages(file: BinaryIO, byte_size: int) -> int:
    """Count the pages of a TIFF, without the small copies and the masks of others."""
    return max(1, sum(not page.is_reduced for page in Tiff(file, byte_size).pages()))


def webp_size(head: bytes) -> tuple[int, int] | None:
    """Read width and height from a WebP's header: its decoder takes memory for them when opened."""
    kind, frame = head[12:16], head[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(frame[4:7], "little") + 1, int.from_bytes(frame[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(frame[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = unpack("<HH", frame[6:10])
        return width & 0x3FFF, height & 0x3FFF
    return None


def targa_has_alpha(file: BinaryIO) -> bool:
    """Tell what a Targa of version 2 says of its fourth channel; without a word it is alpha."""
    try:
        file.seek(-26, 2)
        footer = file.read(26)
        extension = int.from_bytes(footer[:4], "little")
        if not footer.endswith(b"TRUEVISION-XFILE.\0") or extension == 0:
            return True
        file.seek(extension + 494)
        # 0: no alpha; 1 and 2: undefined; 3: alpha; 4: alpha, already multiplied
        return file.read(1) not in (b"\0", b"\1", b"\2")
    except OSError:
        return True
