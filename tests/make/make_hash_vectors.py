"""Write the conformance vectors: tiny pictures and their four hashes, by imagehash itself.

    PYTHONPATH=tests/support python tests/make/make_hash_vectors.py

Only for adding pictures: the values of those that are there may never change.
"""

import json
from pathlib import Path

import numpy as np
from hash_pictures import (
    black_and_white,
    doubly_symmetric,
    gradient,
    noise,
    on_white,
    shuffled_tiles,
    smooth,
    stripes,
    symmetric,
    tiles,
)
from imagehash_oracle import hash_by_imagehash
from PIL import Image

from imgdb.hashes.values import ALGORITHMS, to_hex
from imgdb.pictures.loader import load

FOLDER = Path(__file__).parents[2] / "vectors"

# file name, maker, width, height
GREY = [
    ("one-pixel", noise, 1, 1),
    ("row", noise, 40, 1),
    ("column", noise, 1, 40),
    ("noise", noise, 33, 47),
    ("black-and-white", black_and_white, 50, 38),
    ("smooth", smooth, 96, 64),
    ("smooth-tall", smooth, 30, 120),  # Pillow 13 alone resizes it the other way round
    ("smooth-wide", smooth, 120, 30),
    ("gradient", gradient, 64, 48),
    ("symmetric", symmetric, 48, 40),
    ("doubly-symmetric", doubly_symmetric, 32, 32),
    ("box-on-white", on_white, 100, 70),
    ("tiles", tiles, 64, 64),
    ("turned-tiles", shuffled_tiles, 64, 64),
    ("stripes", stripes, 40, 40),
    ("already-8x8", noise, 8, 8),
    ("already-9x8", noise, 9, 8),
    ("already-32x32", smooth, 32, 32),
]


def colour(rng: np.random.Generator) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(smooth(rng, 90, 60)) for _ in range(3)])


def write_pictures() -> None:
    rng = np.random.default_rng(2024)
    for name, make, width, height in GREY:
        Image.fromarray(make(rng, width, height)).save(FOLDER / f"{name}.png")
    for name, level in (("white", 255), ("black", 0), ("grey", 119)):
        Image.new("L", (16, 12), level).save(FOLDER / f"{name}.png")
    colour(rng).save(FOLDER / "colour.png")
    upright = colour(rng)
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    upright.save(FOLDER / "turned.jpg", exif=turned, quality=90)
    glass = colour(rng)
    glass.putalpha(Image.fromarray(smooth(rng, 90, 60)))
    glass.save(FOLDER / "transparent.png")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_pictures()
    vectors = []
    for path in sorted(FOLDER.glob("*.*g")):
        hashes = hash_by_imagehash(load(path).grey)
        vectors.append({"file": path.name} | {n: to_hex(getattr(hashes, n)) for n in ALGORITHMS})
    lines = ",\n".join("  " + json.dumps(vector) for vector in vectors)
    (FOLDER / "vectors.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
