"""Measure how well a photograph is found that has bars, a frame, text or a screen around it.

    python -m benchmarks.borders PICTURES        (the folder that get_images.sh filled)

Each photograph is put into each border, saved as JPEG of quality 80, and compared with itself by
the usual rule: as it is, and without the borders that a query cuts off. Prints a table.
"""

import argparse
import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.region_edits import photographs
from imgdb.hashes.values import rule_distance
from imgdb.search.images import Asked, query_by_file

RADIUS = 17
WORDS = ("when", "nobody", "is", "looking", "the", "quick", "fox", "LAUGHS", "at", "12:30", "again")
COLOURS = ("white", "black", "#dddddd", "#77aa22", "#112233")


def bars_above(photo: Image.Image, rng: random.Random) -> Image.Image:
    border = (0, photo.height * rng.randint(5, 25) // 100)
    return ImageOps.expand(photo, border, rng.choice(COLOURS[:2]))


def bars_beside(photo: Image.Image, rng: random.Random) -> Image.Image:
    border = (photo.width * rng.randint(5, 30) // 100, 0)
    return ImageOps.expand(photo, border, rng.choice(COLOURS[:2]))


def frame(photo: Image.Image, rng: random.Random) -> Image.Image:
    return ImageOps.expand(photo, min(photo.size) * rng.randint(3, 15) // 100, rng.choice(COLOURS))


def two_frames(photo: Image.Image, rng: random.Random) -> Image.Image:
    inner = ImageOps.expand(photo, min(photo.size) * 3 // 100, "black")
    return ImageOps.expand(inner, min(photo.size) * 8 // 100, "white")


def instant_picture(photo: Image.Image, rng: random.Random) -> Image.Image:
    wide = min(photo.size) * 6 // 100
    return ImageOps.expand(photo, (wide, wide, wide, 4 * wide), "#f4f1ea")


def made_square(photo: Image.Image, rng: random.Random) -> Image.Image:
    return ImageOps.pad(photo, (max(photo.size),) * 2, color=rng.choice(COLOURS[:2]))


def meme(photo: Image.Image, rng: random.Random) -> Image.Image:
    high = photo.height * rng.randint(15, 35) // 100
    sheet = ImageOps.expand(photo, (0, high, 0, 0), "white")
    _write(sheet, (10, 5, sheet.width - 10, high - 5), "black", rng)
    return sheet


def screen(photo: Image.Image, rng: random.Random) -> Image.Image:
    paper, ink = rng.choice([("#111111", "#eeeeee"), ("#ffffff", "#222222")])
    photo = photo.resize((1080, round(photo.height * 1080 / photo.width)))
    photo = photo.crop((0, 0, 1080, min(photo.height, 1500)))
    sheet, top = Image.new("RGB", (1080, 2220), paper), rng.randint(280, 450)
    draw = ImageDraw.Draw(sheet)
    _write(sheet, (20, 10, 1060, 60), ink, rng)
    draw.rectangle((0, 70, 1080, 170), fill=rng.choice([paper, "#3355aa", "#222222", "#eeeeee"]))
    draw.ellipse((30, 190, 110, 270), fill=ink)
    sheet.paste(photo, (0, top))
    _write(sheet, (20, top + photo.height + 20, 880, 2090), ink, rng)
    draw.rectangle((0, 2100, 1080, 2220), fill="#f4f4f4")
    for left in range(80, 1080, 200):
        draw.rectangle((left, 2130, left + 60, 2190), outline="black", width=6)
    return sheet


def _write(sheet: Image.Image, box: tuple[int, ...], ink: str, rng: random.Random) -> None:
    left, top, right, bottom = box
    size = max(10, min(60, (bottom - top) // 3))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    for line in range(top, min(bottom - size, top + 5 * size), size * 13 // 10):
        words = ""
        while draw.textlength(words, font) < (right - left) * 0.75:
            words += rng.choice(WORDS) + " "
        draw.text((left, line), words, fill=ink, font=font)


BORDERS: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "bars above and below": bars_above,
    "bars beside": bars_beside,
    "frame": frame,
    "two frames": two_frames,
    "like an instant picture's": instant_picture,
    "made square": made_square,
    "text above (meme)": meme,
    "screen of a telephone": screen,
}


def is_found(look: Asked, photo: Asked) -> bool:
    sides = [(one.hashes.phash, one.hashes.dhash) for one in (look, photo)]
    return (rule_distance(*sides) or 0) <= RADIUS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    told = parser.parse_args()
    photos, rng = photographs(told.pictures), random.Random(5)
    stored = [query_by_file(photo).looks for photo in photos]
    guesses = sum(len(looks) > 1 for looks in stored)
    print(f"{len(photos)} photographs; {guesses} have an edge that could be a border\n")
    for name, change in BORDERS.items():
        found, within = 0, 0
        for photo, (original, *_) in zip(photos, stored, strict=True):
            file = BytesIO()
            change(photo.convert("RGB"), rng).save(file, "JPEG", quality=80)
            looks = query_by_file(file.getvalue()).looks
            found += is_found(looks[0], original)
            within += any(is_found(look, original) for look in looks)
        print(f"| {name} | {found / len(photos):.0%} | {within / len(photos):.0%} |")


if __name__ == "__main__":
    main()
