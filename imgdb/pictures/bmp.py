"""Read the Windows bitmaps that Pillow cannot, or not the same way in every version.

Those are the run-length coded ones (mended in Pillow 13) and those that say by masks where in a
pixel the colours lie (Pillow knows ten layouts).
"""

from struct import error as struct_error
from struct import unpack_from
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.errors import PictureError
from imgdb.pictures.limits import SizeLimit

_RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 1, 2, 3, 6
_USUAL_MASKS = {2: (0x7C00, 0x3E0, 0x1F, 0), 4: (0xFF0000, 0xFF00, 0xFF, 0xFF000000)}
_STRIP_PIXELS = 1 << 20


def read_bmp(file: BinaryIO, head: bytes, limit: SizeLimit) -> Image.Image | None:
    """Read a picture with run lengths or bit fields; None if Pillow is to read it.

    Raises PictureError.
    """
    try:
        offset, header_size, width, height = unpack_from("<IIii", head, 10)
        depth, compression = unpack_from("<HI", head, 28)
    except struct_error:
        return None
    if header_size < 40:
        return None
    runs = (depth, compression) in ((8, _RLE8), (4, _RLE4))
    fields = depth in (16, 32) and compression in (_BITFIELDS, _ALPHA_BITFIELDS)
    if not (runs or fields):
        return None
    upwards, height = height > 0, abs(height)
    limit.check("BMP", width, height)
    if runs:
        image = _with_palette(_runs(file, offset, width, height, depth), head, header_size)
    else:
        image = _fields(file, head, offset, width, height, depth // 8, header_size)
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if upwards else image


def _runs(file: BinaryIO, offset: int, width: int, height: int, depth: int) -> NDArray[np.uint8]:
    """Unpack run lengths to one palette index a pixel; what is skipped keeps index 0.

    A run stops at the end of its row, and rows beyond the last are ignored.
    """
    file.seek(offset)
    data = file.read()
    pixels = np.zeros((height, width), np.uint8)
    at, row, column = 0, 0, 0
    while row < height:
        if at + 2 > len(data):
            raise PictureError("truncated", f"BMP: {row} of {height} rows")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            stop = min(column + count, width)
            if depth == 8:
                pixels[row, column:stop] = value
            else:
                pixels[row, column:stop:2] = value >> 4
                pixels[row, column + 1 : stop : 2] = value & 15
            column = stop
        elif value == 0:
            row, column = row + 1, 0
        elif value == 1:
            break
        elif value == 2:
            right, down = data[at : at + 2].ljust(2, b"\0")
            row, column = row + down, min(column + right, width)
            at += 2
        else:
            size = value if depth == 8 else (value + 1) // 2
            literal = np.frombuffer(data[at : at + size], np.uint8)
            if len(literal) < size:
                raise PictureError("truncated", f"BMP: {row} of {height} rows")
            if depth == 4:
                literal = np.stack((literal >> 4, literal & 15), axis=1).ravel()[:value]
            stop = min(column + value, width)
            pixels[row, column:stop] = literal[: stop - column]
            column = stop
            at += size + size % 2
    return pixels


def _with_palette(pixels: NDArray[np.uint8], head: bytes, header_size: int) -> Image.Image:
    colours = unpack_from("<I", head, 46)[0] or 256
    start = 14 + header_size
    quads = np.frombuffer(head[start : start + 4 * min(colours, 256)], np.uint8)
    quads = quads[: len(quads) // 4 * 4].reshape(-1, 4)
    image = Image.fromarray(pixels)
    image.putpalette(np.ascontiguousarray(quads[:, 2::-1]).tobytes())
    return image


def _fields(
    file: BinaryIO,
    head: bytes,
    offset: int,
    width: int,
    height: int,
    pixel_size: int,
    header_size: int,
) -> Image.Image:
    """Unpack pixels whose colours lie where four masks say."""
    masks = unpack_from("<4I", head.ljust(70, b"\0"), 54)
    if not any(masks[:3]):
        masks = _USUAL_MASKS[pixel_size]
    with_alpha = header_size >= 56 or unpack_from("<I", head, 30)[0] == _ALPHA_BITFIELDS
    if not with_alpha or masks[3] == 0:
        masks = masks[:3]
    image = Image.new("RGBA" if len(masks) == 4 else "RGB", (width, height))
    stride = (width * pixel_size + 3) // 4 * 4
    rows = max(1, _STRIP_PIXELS // width)
    file.seek(offset)
    for top in range(0, height, rows):
        count = min(rows, height - top)
        data = file.read(count * stride)
        if len(data) < count * stride:
            raise PictureError("truncated", f"BMP: {top + len(data) // stride} of {height} rows")
        lines = np.frombuffer(data, np.uint8).reshape(count, stride)[:, : width * pixel_size]
        words = np.ascontiguousarray(lines).view(f"<u{pixel_size}")
        strip = np.stack([_field(words, mask) for mask in masks], axis=2)
        image.paste(Image.fromarray(strip), (0, top))
    return image


def _field(words: NDArray[np.generic], mask: int) -> NDArray[np.uint8]:
    """Cut one colour out of every pixel and scale it to 0..255."""
    if mask == 0:
        return np.zeros(words.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    values = (words.astype(np.uint32) & np.uint32(mask)) >> np.uint32(shift)
    grey: NDArray[np.uint8] = (values.astype(np.uint64) * 255 // top).astype(np.uint8)
    return grey
