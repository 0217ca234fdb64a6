"""Read the portable bitmaps that Pillow reads in Python, a microsecond a sample: with numpy.

A 12-megapixel PPM of 16 bits takes Pillow 50 s, longer than a worker may take.
"""

import re
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.errors import PictureError
from imgdb.pictures.limits import SizeLimit

_SPACE = rb"(?:[ \t\n\v\f\r]|#[^\r\n]*[\r\n])+"
_NUMBER = _SPACE + rb"(\d{1,10})"
# Width, height and the highest value (a bitmap has none), then one white space, then the samples.
_PLAIN_BITMAP = re.compile(rb"P(1)" + _NUMBER * 2 + rb"[ \t\n\v\f\r]")
_OTHERS = re.compile(rb"P([2356])" + _NUMBER * 3 + rb"[ \t\n\v\f\r]")
_COMMENT = re.compile(rb"#[^\r\n]*")

_CHUNK_SAMPLES = 1 << 20


def read_pnm(file: BinaryIO, head: bytes, limit: SizeLimit) -> Image.Image | None:
    """Read plain pictures, and binary ones of other than 8 bits; None if Pillow is to read it.

    Samples are scaled to 8 bits; those of grey pictures with values above 255 to 16 bits, mode
    "I;16". Raises PictureError.
    """
    header = _PLAIN_BITMAP.match(head) or _OTHERS.match(head)
    if header is None:
        return None
    kind, width, height, *rest = map(int, header.groups())
    top = rest[0] if rest else 1
    if kind in (5, 6) and top == 255:
        return None
    limit.check("PPM", width, height)
    if not 0 < top < 65536:
        raise PictureError("broken", f"PPM: values up to {top}")
    bands = 3 if kind in (3, 6) else 1
    wide = bands == 1 and top > 255
    scale = np.rint(np.arange(top + 1) * ((65535 if wide else 255) / top))
    scale = scale.astype(np.uint16 if wide else np.uint8)
    file.seek(header.end())
    count = width * height * bands
    if kind == 1:
        samples = scale[::-1][_bits(file, count)]  # in a bitmap 1 is black
    elif kind <= 3:
        samples = scale[_plain(file, count, top)]
    else:
        samples = _binary(file, count, top, scale)
    return Image.fromarray(samples.reshape((height, width, 3) if bands == 3 else (height, width)))


def _bits(file: BinaryIO, count: int) -> NDArray[np.uint8]:
    digits = _text(file).translate(None, b" \t\n\v\f\r")
    bits = np.frombuffer(digits[:count], np.uint8) - ord("0")
    _check(bits, count, 1)
    return bits


def _plain(file: BinaryIO, count: int, top: int) -> NDArray[np.int64]:
    text = _text(file)
    if text.translate(None, b"0123456789 \t\n\v\f\r"):
        raise PictureError("broken", "PPM: something else than numbers")
    samples = np.fromstring(text.decode("ascii"), np.int64, sep=" ")[:count]
    _check(samples, count, top)
    return samples


def _text(file: BinaryIO) -> bytes:
    return _COMMENT.sub(b"", file.read())


def _check(samples: NDArray[Any], count: int, top: int) -> None:
    if len(samples) < count:
        raise PictureError("truncated", f"PPM: {len(samples)} of {count} samples")
    if samples.max(initial=0) > top or samples.min(initial=0) < 0:
        raise PictureError("broken", f"PPM: a sample is more than {top}")


def _binary(
    file: BinaryIO, count: int, top: int, scale: NDArray[np.generic]
) -> NDArray[np.generic]:
    """Read and scale chunk by chunk: 16 bits a sample, of a big picture, are too many at once."""
    dtype = np.dtype(np.uint8 if top < 256 else ">u2")
    samples = np.empty(count, scale.dtype)
    for start in range(0, count, _CHUNK_SAMPLES):
        stop = min(start + _CHUNK_SAMPLES, count)
        chunk = np.frombuffer(file.read((stop - start) * dtype.itemsize), dtype)
        if len(chunk) < stop - start:
            raise PictureError("truncated", f"PPM: {start + len(chunk)} of {count} samples")
        samples[start:stop] = scale[np.minimum(chunk, top)]
    return samples
