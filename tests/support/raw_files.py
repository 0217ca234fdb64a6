"""TIFFs by hand, among them camera raws: a preview in front, what a sensor measured behind it."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TypeAlias

import numpy as np
from PIL import Image

Value: TypeAlias = "int | bytes | tuple[int, ...] | list[Directory]"
Directory: TypeAlias = "dict[int, Value]"

SENSOR_COLOURS, LINEAR_RAW = 32803, 34892


def directory_file(chain: list[Directory], magic: bytes = b"II*\0\x08\0\0\0") -> bytes:
    """Write a TIFF: the value of a tag is a number (short or long), numbers (longs), bytes, or
    directories; tag 273 has the bytes of the pixels.
    """
    out = bytearray(magic)
    previous = 4
    for one in chain:
        struct.pack_into("<I", out, previous, len(out))
        previous = _write(out, one)
    return bytes(out)


def _write(out: bytearray, directory: Directory) -> int:
    begin = len(out)
    tags = {**directory}
    pixels = tags.get(273)
    if isinstance(pixels, bytes):
        tags[279] = len(pixels)
    out += bytes(2 + 12 * len(tags) + 4)
    struct.pack_into("<H", out, begin, len(tags))
    for position, (tag, value) in enumerate(sorted(tags.items(), key=lambda item: item[0])):
        kind, count, field = _field(out, tag, value)
        struct.pack_into("<HHI4s", out, begin + 2 + 12 * position, tag, kind, count, field)
    return begin + 2 + 12 * len(tags)


def _field(out: bytearray, tag: int, value: Value) -> tuple[int, int, bytes]:
    if isinstance(value, int):
        return 4, 1, struct.pack("<I", value)
    if tag == 273:
        assert isinstance(value, bytes)
        out += value
        return 4, 1, struct.pack("<I", len(out) - len(value))
    if isinstance(value, list):
        places = []
        for below in value:
            places.append(len(out))
            _write(out, below)
        value = tuple(places)
        kind, count, content = 4, len(value), struct.pack(f"<{len(value)}I", *value)
    elif isinstance(value, bytes):
        kind, count, content = (2 if tag in (271, 272, 50708) else 1), len(value), value
    else:
        kind, count, content = 3, len(value), struct.pack(f"<{len(value)}H", *value)
    if len(content) <= 4:
        return kind, count, content.ljust(4, b"\0")
    out += content
    return kind, count, struct.pack("<I", len(out) - len(content))


def rgb(picture: Image.Image) -> Directory:
    """Describe a picture in uncompressed colours."""
    return {
        256: picture.width,
        257: picture.height,
        258: (8, 8, 8),
        259: 1,
        262: 2,
        273: picture.convert("RGB").tobytes(),
        277: 3,
        278: picture.height,
    }


def sensor(picture: Image.Image) -> Directory:
    """Describe what a sensor with a pattern of red, green, green, blue measures of a picture."""
    colours = np.asarray(picture.convert("RGB"), np.float64)
    light = np.where(colours <= 10.3, colours / 3294.6, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    measured = np.empty(light.shape[:2])
    for row, column, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        measured[row::2, column::2] = light[row::2, column::2, colour]
    return {
        254: 0,
        256: picture.width,
        257: picture.height,
        258: (16,),
        259: 1,
        262: SENSOR_COLOURS,
        273: (measured * 65535).astype("<u2").tobytes(),
        277: 1,
        278: picture.height,
        33421: (2, 2),
        33422: b"\0\1\1\2",
        50714: (0,),
        50717: 65535,
    }


def dng(picture: Image.Image, *, orientation: int = 1, jpeg: bytes = b"") -> bytes:
    """Write a raw as phones and cameras do: a small picture of it in front, then what the sensor
    measured; `jpeg` is a further, larger preview.
    """
    below = [sensor(picture)]
    if jpeg:
        width, height = Image.open(BytesIO(jpeg)).size
        sides: Directory = {256: width, 257: height, 277: 3}
        below.insert(0, {**sides, 254: 1, 258: (8, 8, 8), 259: 7, 262: 6, 273: jpeg, 278: height})
    first: Directory = {
        **rgb(picture.resize((160, 160 * picture.height // picture.width))),
        254: 1,
        271: b"Maker\0",
        272: b"Model\0",
        274: orientation,
        330: below,
        50706: b"\1\4\0\0",
        50708: b"Maker Model\0",
    }
    return directory_file([first])
