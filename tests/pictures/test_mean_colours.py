"""The colours of a picture in nine cells: what they are, and the same from every kind of file."""

from io import BytesIO

import numpy as np
import pytest
from pictures import encode, every_format, grey_scene, load, scene, see_through, swapped_profile
from PIL import Image, ImageCms

from imgdb.hashes.colours import colour_difference, turned
from imgdb.hashes.orientations import Orientation
from imgdb.pictures.mean_colours import SIZE, mean_colours

FILES = every_format()
GREY = {"grey.jpg", "grey.pgm", "bits.pbm", "float.pfm", "fax.tif", "float.tif"}


def cells(colours):
    return np.frombuffer(colours, dtype=np.uint8).reshape(3, 3, 3).astype(int)


def oklab(red, green, blue):
    """Ottosson's own code, for one colour of sRGB: a and b."""
    light = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (red / 255, green / 255, blue / 255)
    ]
    r, g, b = light
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


@pytest.mark.parametrize(
    "colour",
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (9, 7, 3)],
)
def test_a_colour_is_where_oklab_has_it(colour):
    found = cells(load(encode(Image.new("RGB", (40, 30), colour), "PNG")).colours)
    a, b = oklab(*colour)
    grey = round(0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2])
    assert (found == (grey, 128 + round(400 * a), 128 + round(400 * b))).all()


def test_cells_go_row_by_row():
    picture = Image.new("RGB", (90, 60), "white")
    picture.paste((255, 0, 0), (60, 0, 90, 20))
    picture.paste((0, 0, 255), (0, 40, 30, 60))
    coloured = cells(load(encode(picture, "PNG")).colours)[..., 1:] != 128
    assert coloured.any(axis=2).tolist() == [
        [False, False, True],
        [False] * 3,
        [True, False, False],
    ]


@pytest.mark.parametrize("name", FILES)
def test_every_format_has_the_colours_of_the_scene(name):
    found = load(FILES[name]).colours
    assert len(found) == SIZE
    assert (cells(found)[..., 1:] == 128).all() == (name in GREY)
    if name not in GREY and not name.startswith("alpha"):  # paper is seen
        assert colour_difference(found, mean_colours(scene())) < 1.5


@pytest.mark.parametrize("mode", ["L", "1", "I;16", "F", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_grey_has_no_colour_in_any_mode(mode):
    picture = grey_scene() if mode != "1" else grey_scene().convert("1")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    elif mode != "1":
        picture = (
            picture.convert("RGB").convert(mode) if mode in ("CMYK",) else picture.convert(mode)
        )
    found = cells(load(encode(picture, "PNG" if mode not in ("F", "CMYK") else "TIFF")).colours)
    assert (found[..., 1:] == 128).all()
    assert np.abs(found[..., 0] - cells(mean_colours(grey_scene()))[..., 0]).max() <= 2


def test_the_greys_are_those_of_the_grey_copy():
    coloured = cells(load(encode(scene(), "PNG")).colours)[..., 0]
    grey = cells(load(encode(grey_scene(), "PNG")).colours)[..., 0]
    assert np.abs(coloured - grey).max() <= 1


def test_paper_shows_through():
    paper = Image.new("RGBA", scene().size, "white")
    paper.alpha_composite(see_through(scene()))
    found = load(encode(see_through(scene()), "PNG")).colours
    assert colour_difference(found, mean_colours(paper.convert("RGB"))) < 0.5
    hidden = Image.new("RGBA", (40, 30), (255, 0, 0, 0))
    assert (cells(load(encode(hidden, "PNG")).colours) == (255, 128, 128)).all()


def test_a_large_picture_is_thinned_and_means_the_same():
    # Dots of a period of 8 pixels: every eighth pixel alone would be red, or white.
    pattern = np.full((1600, 2400, 3), 255, dtype=np.uint8)
    pattern[::8, ::8] = pattern[4::8, 4::8] = (255, 0, 0)
    large = Image.fromarray(pattern)
    found = load(encode(large, "PNG")).colours
    assert colour_difference(found, mean_colours(large.reduce(8))) < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_colours_are_those_of_the_upright_picture(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    plain = load(encode(scene(), "PNG")).colours
    found = load(encode(scene(), "PNG", exif=exif)).colours
    turns = {
        1: (0, False), 2: (0, True), 3: (180, False), 4: (180, True), 5: (270, True),
        6: (90, False), 7: (90, True), 8: (270, False),
    }  # fmt: skip
    degrees, mirrored = turns[orientation]
    wanted = turned(plain, Orientation("", degrees, mirrored))
    assert colour_difference(found, wanted) < 0.5
    assert orientation == 1 or colour_difference(found, plain) > 3


def test_a_part_of_a_gif_lies_on_paper():
    screen = bytearray(encode(Image.new("P", (30, 30)), "GIF"))
    part = Image.new("RGB", (30, 30), (255, 0, 0)).quantize(2)
    content = bytearray(encode(part, "GIF"))
    at = content.index(b"\x2c")
    content[6:10] = (90).to_bytes(2, "little") * 2
    content[at + 1 : at + 5] = (30).to_bytes(2, "little") * 2
    found = cells(load(bytes(content)).colours)
    assert screen[:3] == content[:3] and found[1, 1, 1] > 200
    assert (found[0] == (255, 128, 128)).all() and (found[:, 2] == (255, 128, 128)).all()


def test_the_colour_profile_is_applied():
    plain = load(encode(scene(), "PNG")).colours
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert colour_difference(load(encode(scene(), "PNG", icc_profile=srgb)).colours, plain) < 0.5
    swapped = load(encode(scene(), "PNG", icc_profile=swapped_profile())).colours
    red, green, blue = scene().split()
    turned_over = mean_colours(Image.merge("RGB", (blue, green, red)))
    assert colour_difference(swapped, turned_over) < 2 < 10 < colour_difference(swapped, plain)


@pytest.mark.parametrize("profile", [b"", b"nothing", swapped_profile()[:200]])
def test_a_broken_profile_costs_nothing(profile):
    found = load(encode(scene(), "JPEG", icc_profile=profile, quality=95))
    assert colour_difference(found.colours, mean_colours(scene())) < 0.5


def test_a_profile_of_another_kind_of_colours_is_left_out():
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    found = load(encode(scene(), "PNG", icc_profile=grey)).colours
    assert found == mean_colours(scene())


def test_lab_has_colours():
    transform = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    lab = ImageCms.applyTransform(scene(), transform)
    found = load(encode(lab, "TIFF")).colours
    assert colour_difference(found, mean_colours(scene())) < 1.5


@pytest.mark.parametrize("options", [{}, {"keep_rgb": True}, {"subsampling": 0}])
def test_scaled_decoding_keeps_the_colours_and_the_grey(options):
    large = scene((2400, 1800))
    content = encode(large, "JPEG", quality=90, **options)
    exact, scaled = load(content), load(content, decode="scaled")
    assert scaled.grey.size == (1200, 900) and exact.grey.size == (2400, 1800)
    assert colour_difference(exact.colours, scaled.colours) < 0.5
    draft = Image.open(BytesIO(content))
    draft.draft("L", (512, 512))
    assert scaled.grey.tobytes() == draft.convert("L").tobytes()


def test_a_jpeg_of_four_channels_has_colours():
    found = load(encode(scene().convert("CMYK"), "JPEG", quality=95)).colours
    assert colour_difference(found, mean_colours(scene())) < 1
