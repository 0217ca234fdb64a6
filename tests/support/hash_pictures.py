"""Grey pictures that are hard to hash: odd sizes, flat, symmetric, gradients, ties."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

SIZES = [
    *[(1, 1), (1, 2), (2, 1), (3, 1), (1, 40), (40, 1), (7, 7), (8, 8), (9, 8), (8, 9), (9, 9)],
    *[(16, 16), (31, 33), (32, 32), (33, 31), (32, 8), (64, 64), (128, 128), (256, 256)],
    *[(28, 28), (20, 90), (90, 20), (16, 300), (300, 16), (100, 150), (160, 320), (161, 97)],
]


def noise(rng: np.random.Generator, width: int, height: int) -> Pixels:
    return rng.integers(0, 256, (height, width), dtype=np.uint8)


def black_and_white(rng: np.random.Generator, width: int, height: int) -> Pixels:
    return (noise(rng, width, height) > rng.integers(20, 236)).astype(np.uint8) * np.uint8(255)


def flat(rng: np.random.Generator, width: int, height: int) -> Pixels:
    return np.full((height, width), rng.integers(0, 256), np.uint8)


def nearly_flat(rng: np.random.Generator, width: int, height: int) -> Pixels:
    base = rng.integers(0, 255)
    return (base + (noise(rng, width, height) > 250)).astype(np.uint8)


def symmetric(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = noise(rng, width, height)
    return np.minimum(pixels, pixels[:, ::-1])


def doubly_symmetric(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = symmetric(rng, width, height)
    return np.minimum(pixels, pixels[::-1])


def gradient(rng: np.random.Generator, width: int, height: int) -> Pixels:
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, height)
    a, b, c = rng.uniform(-200, 200, 3)
    ramp = a * across[None, :] + b * down[:, None] + c * across[None, :] * down[:, None]
    return np.clip(ramp + 128, 0, 255).astype(np.uint8)


def on_white(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A box on a white page: most blocks tie."""
    pixels = np.full((height, width), 255, np.uint8)
    x, y = rng.integers(0, width), rng.integers(0, height)
    pixels[y : y + height // 3 + 1, x : x + width // 3 + 1] = rng.integers(0, 255)
    return pixels


def tiles(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """8 x 8 tiles of three greys: equal block sums."""
    grid = rng.integers(0, 3, (8, 8)) * rng.integers(1, 100)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return grid[np.ix_(rows, columns)].astype(np.uint8)


def shuffled_tiles(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """The same noise in every tile, turned: equal block sums with different details."""
    side = max(1, min(width, height) // 8)
    tile = noise(rng, side, side)
    rows = [np.hstack([np.rot90(tile, rng.integers(0, 4)) for _ in range(8)]) for _ in range(8)]
    return np.ascontiguousarray(np.vstack(rows))


def smooth(rng: np.random.Generator, width: int, height: int) -> Pixels:
    seed = Image.fromarray(noise(rng, rng.integers(2, 12), rng.integers(2, 12)))
    return np.asarray(seed.resize((width, height), Image.Resampling.BICUBIC))


def stripes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = np.zeros((height, width), np.uint8)
    pixels[:, :: rng.integers(1, 9)] = 255
    return pixels if rng.integers(0, 2) else 255 - pixels


KINDS = (
    noise,
    black_and_white,
    flat,
    nearly_flat,
    symmetric,
    doubly_symmetric,
    gradient,
    on_white,
    tiles,
    shuffled_tiles,
    smooth,
    stripes,
)


def random_pictures(count: int, *, seed: int, largest: int = 700) -> Iterator[Image.Image]:
    """Make pictures of every kind, of the sizes above and of random ones."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        if number % 3 == 0:
            width, height = SIZES[rng.integers(len(SIZES))]
        elif number % 3 == 1:
            width = height = 1 << rng.integers(0, 9)
        else:
            width, height = np.exp(rng.uniform(0, np.log(largest), 2)).astype(int)
        yield Image.fromarray(KINDS[number // 3 % len(KINDS)](rng, int(width), int(height)))
