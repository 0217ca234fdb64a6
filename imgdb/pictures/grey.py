"""Turn any picture that Pillow decoded into 8-bit grey, as it looks on paper.

`imgdb.pictures.colour` takes from here what holds for colours too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

# Conversions go strip by strip, so that a big picture never stands in memory three times.
_STRIP_PIXELS = 1 << 18

# What is seen through a picture: white, but for who looks for a picture that was laid on black.
Paper = Literal["white", "black"]
_LEVEL: dict[Paper, int] = {"white": 255, "black": 0}

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


@dataclass(frozen=True, slots=True)
class Samples:
    """What a file says about its samples, and the mode of a Pillow image does not."""

    bits: int = 16
    unsigned: bool = False
    white_is_zero: bool = False


_USUAL = Samples()


def to_grey(image: Image.Image, samples: Samples = _USUAL, paper: Paper = "white") -> Image.Image:
    """Give the loaded `image` as mode "L": ranges scaled, transparency on paper, then convert("L").

    The result is a new picture that needs no open file.
    """
    mode = image.mode
    transparent = image.info.get("transparency")
    if mode in ("I", "F") or mode.startswith("I;16"):
        if mode in ("I", "F"):
            grey = _by_own_range(image, unsigned=samples.unsigned and mode == "I")
        else:
            grey = _by_depth(image, samples.bits, transparent, paper)
        return ImageChops.invert(grey) if samples.white_is_zero else grey
    if mode == "LAB":
        return image.getchannel(0)
    if mode in ("L", "1") and isinstance(transparent, int):
        return _grey_with_transparent_value(image, transparent, paper)
    if is_transparent(image):
        return _by_strips(image, lambda strip: on_paper(strip, paper).convert("L"))
    return image.copy() if mode == "L" else image.convert("L")


def to_luma(image: Image.Image, grey: Image.Image) -> Image.Image:
    """Give the loaded `image` as it looks on white paper: mode "RGB", or "L" if it has no colours.

    `grey` is what `to_grey` made of it. Brightness that is not rounded can be had of the result.
    """
    if is_grey(image):
        return grey
    if not is_transparent(image):
        return image.convert("RGB")
    colours = Image.new("RGB", image.size)
    for top, strip in strips(image):
        colours.paste(on_paper(strip).convert("RGB"), (0, top))
    return colours


def is_grey(image: Image.Image) -> bool:
    """Tell whether a picture has no colours, or none that Pillow can convert (LAB)."""
    mode = image.mode
    return mode in ("1", "L", "I", "F", "LAB") or mode.startswith("I;16")


def is_transparent(image: Image.Image) -> bool:
    """Tell whether paper may be seen through a picture."""
    palette = image.palette if image.mode == "P" else None
    return (
        image.mode in _WITH_ALPHA
        or image.info.get("transparency") is not None
        or (palette is not None and palette.mode.endswith("A"))
    )


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut the picture into strips of full width, each with its top row."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    grey = Image.new("L", image.size)
    for top, strip in strips(image):
        grey.paste(convert(strip), (0, top))
    return grey


def on_paper(strip: Image.Image, paper: Paper = "white") -> Image.Image:
    """Lay a picture on paper; the answer is of mode "RGBA", without transparency."""
    # RGBa and La (colours multiplied by alpha) convert to grey or colour through RGBA and LA only.
    if strip.mode == "La":
        strip = strip.convert("LA")
    colours = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", strip.size, paper), colours)


def _grey_with_transparent_value(image: Image.Image, value: int, paper: Paper) -> Image.Image:
    """Make one value of a grey picture paper: tRNS of PNG, the transparent index of a grey GIF."""
    table = list(range(256))
    if 0 <= value <= 255:
        table[value] = _LEVEL[paper]
    return (image if image.mode == "L" else image.convert("L")).point(table)


def _by_depth(image: Image.Image, bits: int, transparent: object, paper: Paper) -> Image.Image:
    """Scale unsigned samples by the depth of the file, as Pillow does for 16-bit colours.

    Where no sample reaches a sixteenth of that range, the file holds data of fewer bits (12 of a
    camera, 10 of a scanner) and the bits in use count; else all such pictures would be black.
    """

    def opaque(strip: Image.Image) -> NDArray[Any]:
        samples = np.asarray(strip)
        return samples[samples != transparent] if isinstance(transparent, int) else samples

    top = max(int(opaque(strip).max(initial=0)) for _, strip in strips(image))
    used = top.bit_length()
    shift = max(bits if used > bits - 4 else used, 8) - 8

    def convert(strip: Image.Image) -> Image.Image:
        samples = np.asarray(strip)
        grey = np.minimum(samples >> shift, 255).astype(np.uint8)
        if isinstance(transparent, int):
            grey[samples == transparent] = _LEVEL[paper]
        return Image.fromarray(grey)

    return _by_strips(image, convert)


def _by_own_range(image: Image.Image, *, unsigned: bool) -> Image.Image:
    """Scale floats and 32-bit integers from their lowest (black) to their highest value (white).

    Such files say nowhere what is white: 1.0, 255, 65535 and metres above the sea are all in use.
    Infinite values count as the lowest or highest, NaN as the lowest.
    """

    def values(strip: Image.Image) -> NDArray[np.float64]:
        samples = np.asarray(strip)
        return (samples.view(np.uint32) if unsigned else samples).astype(np.float64)

    low, high = np.inf, -np.inf
    for _, strip in strips(image):
        finite = values(strip)
        finite = finite[np.isfinite(finite)]
        low = min(low, finite.min(initial=np.inf))
        high = max(high, finite.max(initial=-np.inf))
    if not low < high:
        return Image.new("L", image.size)

    def convert(strip: Image.Image) -> Image.Image:
        finite = np.nan_to_num(values(strip), nan=low, posinf=high, neginf=low)
        return Image.fromarray(np.rint((finite - low) * (255.0 / (high - low))).astype(np.uint8))

    return _by_strips(image, convert)
