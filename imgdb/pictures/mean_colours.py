"""The colours of a picture as a person sees it, in 27 bytes: means of nine cells.

A cell has three bytes: its grey, 0 to 255, and green to red (a) and blue to yellow (b) of the OKLab
space, in steps of 1/400 from 128, which is no colour. Cells go row by row.
"""

from __future__ import annotations

import contextlib
import functools
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, features

from imgdb.pictures.grey import Paper, is_grey, is_transparent, on_paper

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

GRID = 3
SIZE = 3 * GRID * GRID

_NO_COLOUR = 128

_STEPS = 400

# Pixels of each side that are looked at: means of cells do not change with more of them.
_SIDE = 512

# Means are taken in two steps, so that rounding to 8 bits does not add up.
_FINE = 4 * GRID

# What `convert("L")` takes.
_LUMA = np.array((0.299, 0.587, 0.114))

# Which of the fine pixels are in which cell.
_CELLS = np.kron(np.eye(GRID), np.full(_FINE // GRID, GRID / _FINE))
_CELLS = np.kron(_CELLS, _CELLS)

# Linear light -> cones, and cubic roots of these -> lightness, a, b (Ottosson 2020).
_TO_CONES = np.array(
    (
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    )
)
_TO_AB = np.array(
    (
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    )
)


def to_seen_colour(image: Image.Image, grey: Image.Image, paper: Paper = "white") -> Image.Image:
    """Give the loaded `image` as a small one of mode "RGB" (sRGB), or "L" if it has no colours.

    `grey` is what `to_grey` made of it. Its colour profile is applied, transparency is laid on
    paper. The result has at most 512 pixels on each side.
    """
    if is_grey(image) and image.mode != "LAB":
        return _thin(grey)
    profile = image.info.get("icc_profile")
    image = _thin(image)
    if image.mode in ("LAB", "CMYK"):
        image = _by_profile(image, profile)
        return _thin(grey) if image.mode == "LAB" else image.convert("RGB")
    if is_transparent(image):
        image = on_paper(image, paper)
    return _by_profile(image.convert("RGB"), profile)


def mean_colours(seen: Image.Image) -> bytes:
    """Return the colours of what `to_seen_colour` made."""
    fine = seen.resize((_FINE, _FINE), Image.Resampling.BOX)
    means = _CELLS @ np.frombuffer(fine.tobytes(), dtype=np.uint8).reshape(_FINE * _FINE, -1)
    cells = np.full((GRID * GRID, 3), _NO_COLOUR, dtype=np.uint8)
    if seen.mode == "L":
        cells[:, 0] = np.rint(means[:, 0])
        return cells.tobytes()
    cells[:, 0] = np.rint(means @ _LUMA)
    encoded = means / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    steps = np.cbrt(linear @ _TO_CONES.T) @ _TO_AB.T * _STEPS
    cells[:, 1:] = np.rint(steps) + _NO_COLOUR
    return cells.tobytes()


def _thin(image: Image.Image) -> Image.Image:
    """Take every n-th pixel of each axis.

    n is odd, so that of a pattern of dots, which repeats after 2, 4 or 8 pixels, all are met.
    """
    if max(image.size) <= _SIDE:
        return image
    factors = [-(-side // _SIDE) | 1 for side in image.size]
    width, height = (max(1, side // n) for side, n in zip(image.size, factors, strict=True))
    box = (0, 0, min(image.width, width * factors[0]), min(image.height, height * factors[1]))
    return image.resize((width, height), Image.Resampling.NEAREST, box=box)


def _by_profile(image: Image.Image, profile: object) -> Image.Image:
    """Turn the colours of a profile into sRGB; what cannot be turned is left as it is."""
    if image.mode != "LAB" and not isinstance(profile, bytes):
        return image
    transform = _transform(profile if isinstance(profile, bytes) else b"", image.mode)
    if transform is None:
        return image
    from PIL import ImageCms

    turned = ImageCms.applyTransform(image, transform)
    return image if turned is None else turned


@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    if not features.check("littlecms2"):
        return None
    from PIL import ImageCms

    # A profile is a part of the file that nobody trusts: it may be cut off, or of other colours.
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        if mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        return ImageCms.buildTransform(source, target, mode, "RGB")
    return None
