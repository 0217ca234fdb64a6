"""A picture in any shape that a program has it in: a path, bytes, a binary file, a PIL image."""

import contextlib
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from typing import IO, TypeAlias, cast

from PIL import Image, ImageOps

from imgdb.pictures.loader import Source, open_source, open_stream
from imgdb.pictures.reasons import picture_errors

AnyImage: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image
)

# The modes that PNG and TIFF hold as they are; what is in none of them is turned into another.
_IN_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_IN_TIFF = ("I", "F", "CMYK", "YCbCr", "LAB")
_TURNED = {"PA": "RGBA", "La": "LA", "RGBa": "RGBA"}


@contextlib.contextmanager
def open_image(image: AnyImage) -> Iterator[Source]:
    """Open a picture; TypeError for anything else, PictureError for one that cannot be read.

    A PIL image is taken for the lossless file that it would be, upright.
    """
    if isinstance(image, str | os.PathLike):
        opened = open_source(image)
    else:
        opened = open_stream(_content(image), byte_size=None, modified_at=datetime.now(UTC))
    with opened as source:
        yield source


def _content(image: object) -> BytesIO:
    """Return the bytes of a picture as a file."""
    if isinstance(image, bytes | bytearray | memoryview):
        return BytesIO(image)
    if isinstance(image, Image.Image):
        with picture_errors():
            return _saved(image)
    read = getattr(image, "read", None)
    if not callable(read):
        raise TypeError(
            f"a picture is a path, bytes, a binary file or a PIL image, not {type(image).__name__}"
        )
    if isinstance(image, io.TextIOBase) or isinstance(read(0), str):
        raise TypeError("the file of a picture is opened as binary: open(path, 'rb')")
    return cast(BytesIO, image)


def _saved(image: Image.Image) -> BytesIO:
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in (*_IN_PNG, *_IN_TIFF):
        upright = upright.convert(_TURNED.get(upright.mode, "RGB"))
    file = BytesIO()
    if upright.mode in _IN_PNG:
        upright.save(file, "PNG", compress_level=1)
    else:
        upright.save(file, "TIFF")
    file.seek(0)
    return file
