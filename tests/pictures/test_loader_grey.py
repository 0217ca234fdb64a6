"""Ranges, transparency and colour models: what looks alike on white paper is the same grey."""

import struct

import numpy as np
import pytest
from pictures import (
    SIZE,
    bmp,
    encode,
    grey_array,
    grey_scene,
    grey_tiff,
    load,
    on_white,
    png,
    scene,
    see_through,
)
from PIL import Image

GREY = grey_array()
DEEP = GREY.astype(np.uint16) * 257


def grey_of(content: bytes) -> np.ndarray:
    return np.asarray(load(content).grey)


@pytest.mark.parametrize(
    "content",
    [
        encode(Image.fromarray(DEEP), "PNG"),
        encode(Image.fromarray(DEEP), "TIFF"),
        grey_tiff(DEEP.astype("<u2"), 16),
        grey_tiff(DEEP.astype(">u2"), 16),
        grey_tiff((65535 - DEEP).astype("<u2"), 16, photometric=0),
        b"P5 200 150 65535\n" + DEEP.astype(">u2").tobytes(),
        b"P5\n# deep\n200 150\n# 12 bits\n4095\n" + (DEEP >> 4).astype(">u2").tobytes(),
        b"P2 200 150 65535\n" + b"\n".join(b"%d" % value for value in DEEP.ravel()),
    ],
)
def test_sixteen_bits_are_scaled_by_their_depth(content: bytes) -> None:
    assert np.array_equal(grey_of(content), GREY)


def test_fewer_bits_in_a_wider_container() -> None:
    """A 12-bit camera in a 16-bit file: by the depth of the file it would be nearly black."""
    assert np.array_equal(grey_of(grey_tiff(DEEP >> 4, 16)), GREY)
    assert np.array_equal(grey_of(encode(Image.fromarray(DEEP >> 6), "PNG")), GREY)
    # A dark picture stays dark: its brightest sample is above a sixteenth of the range.
    assert grey_of(grey_tiff(DEEP >> 3, 16)).max() == 31


@pytest.mark.parametrize("scale", [1 / 255, 1.0, 257.0, 8848.0 / 255])
def test_floats_are_scaled_by_their_own_range(scale: float) -> None:
    floats = (GREY * scale).astype("<f4")
    assert np.array_equal(grey_of(grey_tiff(floats, 32, sample_format=3)), GREY)
    inverse = grey_tiff(floats, 32, sample_format=3, photometric=0)
    assert np.array_equal(grey_of(inverse), 255 - GREY)


def test_floats_that_are_no_numbers() -> None:
    floats = GREY.astype("<f4")
    floats[0, :3] = np.nan, np.inf, -np.inf
    grey = grey_of(grey_tiff(floats, 32, sample_format=3))
    assert grey[0, :3].tolist() == [0, 255, 0]
    assert np.array_equal(grey[1:], GREY[1:])
    nothing = np.full((4, 4), np.nan, "<f4")
    assert not grey_of(grey_tiff(nothing, 32, sample_format=3)).any()
    alike = np.full((4, 4), 0.7, "<f4")
    assert not grey_of(grey_tiff(alike, 32, sample_format=3)).any()


def test_wide_integers_are_scaled_by_their_own_range() -> None:
    unsigned = GREY.astype("<u4") * 0x01010101
    assert np.array_equal(grey_of(grey_tiff(unsigned, 32)), GREY)
    signed = (GREY.astype("<i4") - 128) * 1000
    assert np.array_equal(grey_of(grey_tiff(signed, 32, sample_format=2)), GREY)
    short = (GREY.astype("<i2") - 128) * 200
    assert np.array_equal(grey_of(grey_tiff(short, 16, sample_format=2)), GREY)


def test_colours_of_sixteen_bits() -> None:
    colours = np.asarray(scene()).astype(">u2") * 257
    content = png(*SIZE, 16, 2, colours.astype(">u2").tobytes())
    assert np.array_equal(grey_of(content), GREY)
    assert np.array_equal(grey_of(b"P6 200 150 65535\n" + colours.astype(">u2").tobytes()), GREY)


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "WEBP", "TGA", "JPEG2000"])
def test_transparency_is_laid_on_white(format_name: str) -> None:
    options = {"lossless": True, "exact": True} if format_name == "WEBP" else {}
    content = encode(see_through(scene()), format_name, **options)
    assert np.array_equal(grey_of(content), np.asarray(on_white(see_through(scene()))))


def test_grey_with_alpha() -> None:
    picture = Image.merge("LA", (grey_scene(), Image.linear_gradient("L").resize(SIZE)))
    assert np.array_equal(grey_of(encode(picture, "PNG")), np.asarray(on_white(picture)))
    deep = np.stack([np.asarray(band).astype(">u2") * 257 for band in picture.split()], axis=2)
    content = png(*SIZE, 16, 4, deep.astype(">u2").tobytes())
    assert np.array_equal(grey_of(content), np.asarray(on_white(picture)))


def test_colours_under_full_transparency_do_not_count() -> None:
    hidden = np.random.default_rng(1).integers(0, 256, (20, 20, 4), np.uint8)
    hidden[..., 3] = 0
    assert (grey_of(encode(Image.fromarray(hidden), "PNG")) == 255).all()


def test_a_palette_with_transparency() -> None:
    palette = scene().quantize(64)
    alphas = bytes(range(0, 256, 4))
    with_alpha = palette.convert("RGBA")
    table = list(alphas) + [255] * 192
    with_alpha.putalpha(palette.copy().point(table, "L"))
    assert np.array_equal(
        grey_of(encode(palette, "PNG", transparency=alphas)), np.asarray(on_white(with_alpha))
    )
    one = with_alpha.copy()
    one.putalpha(palette.copy().point([0] * 7 + [255] + [0] * 248, "L"))
    one.putalpha(Image.eval(one.getchannel("A"), lambda value: 255 - value))
    for format_name in ("PNG", "GIF"):
        content = encode(palette, format_name, transparency=7)
        assert np.array_equal(grey_of(content), np.asarray(on_white(one))), format_name


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_transparent_grey(depth: int) -> None:
    """tRNS of a grey PNG names a value in the depth of the file: it is white, others stay."""
    top = 2**depth - 1
    row = np.arange(16) % (top + 1) if depth < 8 else np.arange(16) * (top // 15)
    packed = {
        8: row.astype(np.uint8).tobytes(),
        16: row.astype(">u2").tobytes(),
    }.get(depth) or bytes(np.packbits((row[:, None] >> np.arange(depth)[::-1]) & 1))
    chosen = int(row[1])
    content = png(16, 1, depth, 0, packed, (b"tRNS", struct.pack(">H", chosen)))
    wanted = np.where(row == chosen, 255, row * 255 // top)
    assert grey_of(content)[0].tolist() == wanted.tolist()


@pytest.mark.parametrize("depth", [8, 16])
def test_one_transparent_colour(depth: int) -> None:
    kind, factor = (np.uint8, 1) if depth == 8 else (np.dtype(">u2"), 257)
    colours = np.array([[[200, 20, 60], [10, 200, 90]]]) * factor
    trns = struct.pack(">3H", *colours[0, 0])
    content = png(2, 1, depth, 2, colours.astype(kind).tobytes(), (b"tRNS", trns))
    other = Image.new("RGB", (1, 1), (10, 200, 90)).convert("L").getpixel((0, 0))
    assert grey_of(content)[0].tolist() == [255, other]


def test_an_alpha_channel_without_content_is_none() -> None:
    """Room for alpha, all of it zero, as many a Targa has it: viewers show the colours."""
    blind = scene()
    blind.putalpha(0)
    assert np.array_equal(grey_of(encode(blind, "TGA")), GREY)
    assert (grey_of(encode(blind, "PNG")) == 255).all()


def test_targa_that_says_it_has_no_alpha() -> None:
    body = encode(see_through(scene()), "TGA", compression="tga_rle")
    body = body.removesuffix(b"\0" * 8 + b"TRUEVISION-XFILE.\0")
    for attribute, wanted in ((0, GREY), (3, np.asarray(on_white(see_through(scene()))))):
        extension = struct.pack("<H", 495) + bytes(492) + bytes([attribute])
        footer = struct.pack("<II", len(body), 0) + b"TRUEVISION-XFILE.\0"
        assert np.array_equal(grey_of(body + extension + footer), wanted)


def test_a_gif_frame_smaller_than_the_screen_lies_on_paper() -> None:
    frame = Image.new("P", (4, 2), 1)
    frame.putpalette([255, 255, 255, 0, 0, 0])
    content = bytearray(encode(frame, "GIF"))
    content[6:10] = struct.pack("<HH", 8, 6)  # the screen
    at = content.index(b"\x2c\0\0\0\0\4\0\2\0")
    content[at + 1 : at + 5] = struct.pack("<HH", 3, 2)  # the frame on it
    wanted = np.full((6, 8), 255)
    wanted[2:4, 3:7] = 0
    assert np.array_equal(grey_of(bytes(content)), wanted)


def test_lab_counts_by_its_lightness() -> None:
    bands = (grey_scene(), Image.new("L", SIZE, 140), Image.new("L", SIZE, 90))
    assert np.array_equal(grey_of(encode(Image.merge("LAB", bands), "TIFF")), GREY)


def test_cmyk_is_grey_by_way_of_rgb() -> None:
    picture = scene().convert("CMYK")
    assert np.array_equal(
        grey_of(encode(picture, "TIFF")), np.asarray(picture.convert("RGB").convert("L"))
    )


def test_run_lengths() -> None:
    palette = b"".join(struct.pack("<I", value * 0x10101) for value in range(256))
    eight = b"\3\x10\0\0" + b"\0\3\x20\x30\x40\0" + b"\0\0" + b"\0\2\1\0" + b"\2\x50\0\1"
    wanted = [[0, 0x50, 0x50], [0x20, 0x30, 0x40], [0x10] * 3]
    assert grey_of(bmp(3, 3, 8, 1, eight, palette)).tolist() == wanted
    sixteen = b"".join(struct.pack("<I", value * 0x111111) for value in range(16))
    four = b"\3\x12\0\0" + b"\0\3\x45\x60" + b"\0\1"
    assert grey_of(bmp(3, 2, 4, 2, four, sixteen)).tolist() == [
        [0x44, 0x55, 0x66],
        [0x11, 0x22, 0x11],
    ]


def test_bit_fields_of_any_layout() -> None:
    colours = np.asarray(scene().crop((0, 0, 60, 40))).astype(np.uint32)
    words = (colours[..., 0] << 2) | (colours[..., 1] << 12) | (colours[..., 2] << 22)
    masks = struct.pack("<3I", 0xFF << 2, 0xFF << 12, 0xFF << 22)
    content = bmp(60, -40, 32, 3, words.astype("<u4").tobytes(), masks)
    assert np.array_equal(grey_of(content), np.asarray(scene().crop((0, 0, 60, 40)).convert("L")))


def test_plain_pictures_with_comments() -> None:
    assert grey_of(b"P1 # bits\n3 2\n1 0 1\n#x\n010").tolist() == [[0, 255, 0], [255, 0, 255]]
    assert grey_of(b"P2\n2 1\n15\n15 # white\n5\n").tolist() == [[255, 85]]
    assert grey_of(b"P3 1 1 255 255 0 0").tolist() == [[76]]
