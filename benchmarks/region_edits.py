"""What people do to photographs before somebody looks for them: crops and collages, by seed."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from benchmarks.large_jpegs import sources
from imgdb.hashes import exact, values
from imgdb.pictures import loader

# Photographs nearer than that are taken for the same scene, and only the first is kept.
SAME_SCENE = 12
LONGER_SIDE = 1600
SHARES = (10, 20, 30, 40, 50, 60)  # per cent of the area that is cut away
BORDER = 12


@dataclass(frozen=True, slots=True)
class Edit:
    """An edited picture, and the numbers of the photographs in it."""

    kind: str
    shows: tuple[int, ...]
    image: Image.Image


def photographs(folder: Path) -> list[Image.Image]:
    """Read the fetched photographs, each scene once."""
    return _unlike(sources(folder)["photo"])


def graphics(folder: Path) -> list[Image.Image]:
    """Read flags and screenshots: hard pictures, with much in common."""
    return _unlike(sources(folder)["graphic"])


def _unlike(files: Sequence[Path]) -> list[Image.Image]:
    images, hashes = [], []
    for file in files:
        with loader.open_source(file) as source:
            image = source.small(LONGER_SIDE).image
        number = exact.hash_grey(image.convert("L")).phash
        assert number is not None
        if all(values.bit_distance(number, other) > SAME_SCENE for other in hashes):
            hashes.append(number)
            images.append(image)
    return images


def crops(
    photos: Sequence[Image.Image], numbers: Sequence[int], rng: random.Random
) -> Iterator[Edit]:
    """Cut each of some photographs once for each share, anywhere, and scale what is left."""
    for share in SHARES:
        for number in numbers:
            photo = photos[number]
            kept = 1 - share / 100
            # The crop may be wider or narrower than the photograph, by up to a quarter.
            across = min(1, math.sqrt(kept) * math.exp(rng.uniform(-0.125, 0.125)))
            down = min(1, kept / across)
            width, height = round(photo.width * across), round(photo.height * down)
            left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
            crop = photo.crop((left, top, left + width, top + height))
            scale = rng.uniform(0.5, 1)
            size = round(width * scale), round(height * scale)
            yield Edit(f"crop {share} %", (number,), crop.resize(size, Image.Resampling.BICUBIC))


def collages(photos: Sequence[Image.Image], rng: random.Random, side: int) -> Iterator[Edit]:
    """Lay out the photographs `side` by `side` on black or white sheets, with borders."""
    order = list(range(len(photos)))
    rng.shuffle(order)
    for first in range(0, len(order) - side * side + 1, side * side):
        members = order[first : first + side * side]
        cell = rng.choice([320, 400, 480])
        pitch = cell + BORDER
        sheet = Image.new("RGB", (side * pitch + BORDER,) * 2, rng.choice(["white", "black"]))
        for place, number in enumerate(members):
            member = photos[number].copy()
            member.thumbnail((cell, cell), Image.Resampling.BICUBIC)
            row, column = divmod(place, side)
            left = BORDER + column * pitch + (cell - member.width) // 2
            top = BORDER + row * pitch + (cell - member.height) // 2
            sheet.paste(member, (left, top))
        yield Edit(f"collage {side} x {side}", tuple(members), sheet)
