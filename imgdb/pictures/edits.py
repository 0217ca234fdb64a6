"""Edits that people and programs make: they give copies of a picture, which are then looked for.

An edited copy is written as a file is, only in memory, and read again by the loader: what is
hashed is what `imgdb query` would hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from imgdb.errors import UsageError

# How programs save what they have changed.
USUAL_QUALITY = 90


Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that is done to a picture, then saved as JPEG; without `quality` as PNG.

    `counts` is false for what no hash can find: it is shown, and no default is chosen by it.
    """

    name: str
    family: str
    words: str
    change: Change
    quality: int | None = USUAL_QUALITY
    counts: bool = True


def _same(image: Image.Image) -> Image.Image:
    return image


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    size = [max(1, round(side * factor)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, percent: int) -> Image.Image:
    """Cut off `percent` of width and height, a third of it at the left and at the top."""
    width, height = image.size
    off_x, off_y = width * percent // 100, height * percent // 100
    # Nobody cuts evenly, and uneven cuts are the harder ones to find.
    left, top = off_x // 3, off_y // 3
    return image.crop((left, top, width - off_x + left, height - off_y + top))


def _brightened(image: Image.Image, percent: int) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(percent / 100)


def _contrasted(image: Image.Image, percent: int) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(percent / 100)


def _blurred(image: Image.Image, percent: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(min(image.size) * percent / 100))


def _watermarked(image: Image.Image, share: float, place: float, opacity: int) -> Image.Image:
    """Lay a pale sign (a ring and three lines beside it) over `share` of the width.

    `place` is where its middle is, as a part of width and height.
    """
    wide = max(24, round(image.width * share))
    high = wide // 3
    sign = Image.new("L", (wide, high))
    draw = ImageDraw.Draw(sign)
    line = max(1, high // 8)
    draw.ellipse((line, line, high - line, high - line), outline=opacity, width=line)
    for row in (1, 3, 5):
        top = high * row // 7
        draw.rectangle((high + line, top, wide - line - row * line, top + line), fill=opacity)
    marked = image.copy()
    left = min(round(image.width * place) - wide // 2, image.width - wide)
    top = min(round(image.height * place) - high // 2, image.height - high)
    marked.paste((255, 255, 255), (max(left, 0), max(top, 0)), sign)
    return marked


def _bordered(image: Image.Image, percent: int) -> Image.Image:
    """Add a white border all around, `percent` of the shorter side wide."""
    return ImageOps.expand(image, max(1, min(image.size) * percent // 100), "white")


def _flipped(image: Image.Image) -> Image.Image:
    return ImageOps.mirror(image)


EDITS: tuple[Edit, ...] = (
    Edit("png", "format", "saved as PNG, nothing lost", _same, None),
    *(
        Edit(f"jpeg-{quality}", "jpeg", f"saved as JPEG of quality {quality}", _same, quality)
        for quality in (90, 70, 50, 30)
    ),
    *(
        Edit(f"scale-{factor:g}", "scale", words, partial(_scaled, factor=factor))
        for factor, words in (
            (0.25, "scaled to a quarter of its size"),
            (0.5, "scaled to half its size"),
            (2, "scaled to twice its size"),
        )
    ),
    *(
        Edit(
            f"crop-{off}",
            "crop",
            f"{off} % of width and height cut off",
            partial(_cropped, percent=off),
        )
        for off in (2, 5, 10, 20)
    ),
    Edit("brightness-70", "brightness", "made darker", partial(_brightened, percent=70)),
    Edit("brightness-130", "brightness", "made brighter", partial(_brightened, percent=130)),
    Edit("contrast-70", "contrast", "less contrast", partial(_contrasted, percent=70)),
    Edit("contrast-130", "contrast", "more contrast", partial(_contrasted, percent=130)),
    Edit("blur-0.5", "blur", "blurred a little", partial(_blurred, percent=0.5)),
    Edit("blur-1", "blur", "blurred", partial(_blurred, percent=1)),
    Edit(
        "watermark-corner",
        "watermark",
        "a pale sign in the corner",
        partial(_watermarked, share=0.25, place=0.86, opacity=180),
    ),
    Edit(
        "watermark-across",
        "watermark",
        "a pale sign across the middle",
        partial(_watermarked, share=0.7, place=0.5, opacity=110),
    ),
    *(
        Edit(
            f"border-{wide}",
            "border",
            f"a white border of {wide} %",
            partial(_bordered, percent=wide),
        )
        for wide in (2, 5, 10)
    ),
    Edit("flip", "flip", "mirrored", _flipped, counts=False),
)

BY_NAME = {edit.name: edit for edit in EDITS}


def chosen(names: str | None) -> tuple[Edit, ...]:
    """Return the edits of a list of names or families, separated by commas; None is all."""
    if names is None:
        return EDITS
    wanted = set(names.replace(",", " ").split())
    known = BY_NAME.keys() | {edit.family for edit in EDITS}
    if unknown := sorted(wanted - known):
        families = ", ".join(dict.fromkeys(edit.family for edit in EDITS))
        raise UsageError(
            f"no such edit: {', '.join(unknown)}; choose from {families}, or one such as crop-5"
        )
    if not wanted:
        raise UsageError("no edit is chosen")
    return tuple(edit for edit in EDITS if {edit.name, edit.family} & wanted)


def encoded(edit: Edit, image: Image.Image) -> bytes:
    """Return the file of an edited copy of a picture in colours (RGB)."""
    changed = edit.change(image)
    content = BytesIO()
    if edit.quality is None:
        changed.save(content, "PNG", compress_level=1)
    else:
        changed.save(content, "JPEG", quality=edit.quality)
    return content.getvalue()
