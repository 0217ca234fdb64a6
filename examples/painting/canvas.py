"""Small tools for painting pictures with numpy: colours are arrays of 0 to 1, shape (h, w, 3)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Array = NDArray[np.floating[Any]]
Draw = ImageDraw.ImageDraw
Rng = np.random.Generator

WIDTH, HEIGHT = 720, 480
FINE = 2  # scenes are painted this many times larger and reduced, which smooths their edges
W, H = WIDTH * FINE, HEIGHT * FINE


def colour(text: str) -> Array:
    """Turn "#rrggbb" into an array."""
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def grid() -> tuple[Array, Array]:
    """Return x from 0 to 1.5 and y from 0 (top) to 1 (bottom) of every pixel."""
    y, x = np.mgrid[0:H, 0:W]
    return x / H, y / H


def ramp(position: Array, *stops: str) -> Array:
    """Blend evenly spaced colours along a position from 0 to 1."""
    places = np.linspace(0, 1, len(stops))
    table = np.array([colour(stop) for stop in stops])
    channels = [np.interp(position, places, table[:, i]) for i in range(3)]
    return np.stack(channels, axis=-1)


def paint(picture: Array, mask: Array, hue: Array | str, strength: float = 1.0) -> None:
    """Lay a colour, or a picture, over the picture where the mask (0 to 1) says so."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return
    # Most masks cover a small part of the picture: leaving out the rest saves a third of all time.
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top = colour(hue) if isinstance(hue, str) else hue
    share = np.clip(mask[part], 0, 1)[..., None] * strength
    picture[part] += ((top[part] if top.ndim == 3 else top) - picture[part]) * share


def smooth(low: float, high: float, value: Array) -> Array:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t: Array = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def disc(x: Array, y: Array, cx: float, cy: float, radius: float, soft: float = 0.003) -> Array:
    return smooth(radius + soft, radius - soft, np.hypot(x - cx, y - cy))


def clouds(rng: Rng, cells: int, octaves: int = 5, stretch: float = 1.0) -> Array:
    """Make fractal noise from 0 to 1; `cells` across its coarsest layer."""
    total, weight = np.zeros((H, W)), 1.0
    for octave in range(octaves):
        n = cells << octave
        seed = rng.random((max(2, round(n * stretch)), n)).astype(np.float32)
        layer = Image.fromarray(seed).resize((W, H), Image.Resampling.BICUBIC)
        total += weight * np.asarray(layer)
        weight /= 2
    return _stretched(total)


def ridge(rng: Rng, base: float, height: float, cells: int) -> Array:
    """Make the height of a mountain line for every column, as y from the top."""
    x, total, weight = np.linspace(0, 1, W), np.zeros(W), 1.0
    for octave in range(7):
        n = (cells << octave) + 2
        total += weight * np.interp(x, np.linspace(0, 1, n), rng.random(n))
        weight *= 0.48
    return base - height * _stretched(total)


def _stretched(total: Array) -> Array:
    span: Array = (total - total.min()) / np.ptp(total)
    return span


def drawing(draw_on: Callable[[Draw], None]) -> Array:
    """Return the mask of what a function draws in white with ImageDraw."""
    mask = Image.new("L", (W, H))
    draw_on(ImageDraw.Draw(mask))
    return np.asarray(mask) / 255.0


def points(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(x * H, y * H) for x, y in points]


def polygon(corners: list[tuple[float, float]]) -> Array:
    return drawing(lambda draw: draw.polygon(points(corners), fill=255))


def rectangle(box: tuple[float, float, float, float]) -> Array:
    """Return the mask of a rectangle in pixels: left, top, right, low."""
    return drawing(lambda draw: draw.rectangle(box, fill=255))


def box(left: float, top: float, right: float, low: float) -> tuple[float, float, float, float]:
    return left * H, top * H, right * H, low * H


def blur(mask: Array, radius: float) -> Array:
    image = Image.fromarray((np.clip(mask, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius))) / 255.0


def finish(picture: Array) -> Image.Image:
    """Reduce a painted picture to its final size."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
