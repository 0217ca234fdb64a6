"""What is cut off around a picture, and what is not."""

import random
from io import BytesIO

import numpy as np
import pytest
from library import scene
from PIL import Image, ImageDraw, ImageFont, ImageOps

from imgdb.pictures.borders import borders


def without_borders(grey: Image.Image) -> list[Image.Image]:
    return [grey.crop(box) for box in borders(grey)]


def framed(picture: Image.Image) -> Image.Image:
    return ImageOps.expand(picture, 20, "white")


def barred(picture: Image.Image) -> Image.Image:
    return ImageOps.expand(picture, (0, 40), "black")


def twice_framed(picture: Image.Image) -> Image.Image:
    return ImageOps.expand(ImageOps.expand(picture, (4, 9), "black"), (30, 10), "#d0c0b0")


def captioned(picture: Image.Image) -> Image.Image:
    sheet = ImageOps.expand(picture, (0, 90, 0, 0), "white")
    write(sheet, 5, "when nobody looks and everybody")
    write(sheet, 45, "LAUGHS because it was Monday")
    return sheet


def on_a_screen(picture: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (picture.width, 640), "#111111")
    ImageDraw.Draw(sheet).rectangle((0, 40, picture.width, 80), fill="#3355aa")
    write(sheet, 2, "12:30", "white")
    write(sheet, 46, "Pictures", "white")
    sheet.paste(picture, (0, 120))
    write(sheet, 400, "A lake beside a hill", "white")
    return sheet


def write(sheet: Image.Image, top: int, words: str, colour: str = "black") -> None:
    ImageDraw.Draw(sheet).text((8, top), words, fill=colour, font=ImageFont.load_default(20))


def saved(picture: Image.Image) -> Image.Image:
    file = BytesIO()
    picture.save(file, "JPEG", quality=80)
    return Image.open(file).convert("L")


WRITTEN = (captioned, on_a_screen)


@pytest.mark.parametrize("change", [framed, barred, twice_framed, *WRITTEN])
@pytest.mark.parametrize("seed", range(3))
def test_the_picture_is_what_is_left(change, seed):
    picture = scene(seed)
    found = without_borders(saved(change(picture)))
    # JPEG's noise may take or leave a line or two.
    near = [
        one
        for one in found
        if abs(one.width - picture.width) <= 4 and abs(one.height - picture.height) <= 4
    ]
    assert near, [one.size for one in found]
    small = [np.asarray(one.convert("L").resize((16, 12)), np.int16) for one in (near[0], picture)]
    assert np.abs(small[0] - small[1]).mean() < 4


def test_a_picture_without_a_border_stays_whole():
    for seed in range(20):
        assert without_borders(scene(seed).convert("L")) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (31, 31), (400, 300)])
def test_what_is_plain_all_over_has_no_border(size):
    assert without_borders(Image.new("L", size, 200)) == []


def test_a_stripe_is_no_picture():
    stripe = scene(1).resize((320, 20))
    assert without_borders(ImageOps.expand(stripe, (0, 100), "white").convert("L")) == []


def test_noise_of_any_size_ends_in_a_box_within():
    draw = random.Random(3)
    for _ in range(60):
        width, height = draw.randint(1, 90), draw.randint(1, 90)
        levels = np.random.default_rng(draw.randrange(99)).choice([0, 8, 255], (height, width))
        levels[: draw.randint(0, height)] = draw.choice([0, 255])
        for found in without_borders(Image.fromarray(levels.astype(np.uint8))):
            assert found.width >= 32 and found.height >= 32
            assert found.size != (width, height)
