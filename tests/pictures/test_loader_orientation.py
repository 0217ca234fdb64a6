"""Orientation is applied once: by the file's word, in every format that has one."""

from io import BytesIO

import numpy as np
import pytest
from pictures import STORED, chunk, encode, exif_of, grey_array, grey_tiff, load, scene
from PIL import ImageOps

GREY = grey_array()


def check(content: bytes, tolerance: float = 0) -> None:
    picture = load(content)
    assert (picture.width, picture.height) == picture.grey.size == (200, 150)
    assert np.abs(np.asarray(picture.grey).astype(int) - GREY).mean() <= tolerance


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("format_name", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("JPEG", {"quality": 95}, 2),
        ("AVIF", {"quality": 95}, 2),
    ],
)
def test_all_eight(format_name: str, options: dict, tolerance: float, orientation: int) -> None:
    stored = STORED[orientation](scene())
    check(encode(stored, format_name, exif=exif_of(orientation), **options), tolerance)


@pytest.mark.parametrize("orientation", STORED)
def test_heif_is_turned_by_its_decoder_alone(orientation: int) -> None:
    """pillow-heif writes irot and imir boxes beside the EXIF, as phones do."""
    pytest.importorskip("pillow_heif")
    stored = STORED[orientation](scene())
    check(encode(stored, "HEIF", quality=95, exif=exif_of(orientation).tobytes()), 2)


@pytest.mark.parametrize("orientation", STORED)
def test_deep_grey_tiff(orientation: int) -> None:
    stored = np.asarray(STORED[orientation](scene().convert("L"))).astype("<u2") * 257
    check(grey_tiff(stored.astype("<u2"), 16, orientation=orientation))


def test_exif_behind_the_pixels_of_a_png() -> None:
    content = encode(STORED[6](scene()), "PNG")
    exif = exif_of(6).tobytes().removeprefix(b"Exif\0\0")
    check(content[:-12] + chunk(b"eXIf", exif) + content[-12:])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_a_number_that_is_no_orientation(orientation: int) -> None:
    check(encode(scene(), "PNG", exif=exif_of(orientation)))


def test_targa_stored_in_any_corner() -> None:
    content = bytearray(encode(scene(), "TGA"))
    upright = load(bytes(content)).grey
    content[17] ^= 0x10
    assert load(bytes(content)).grey.tobytes() == ImageOps.mirror(upright).tobytes()
    content[17] ^= 0x30
    assert load(bytes(content)).grey.tobytes() == ImageOps.flip(upright).tobytes()


def test_the_hidden_orientation_of_xmp_counts_where_exif_is_silent() -> None:
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
    stored = STORED[3](scene())
    check(encode(stored, "WEBP", lossless=True, xmp=packet))
    both = BytesIO()
    scene().save(both, "WEBP", lossless=True, xmp=packet, exif=exif_of(1))
    check(both.getvalue())
