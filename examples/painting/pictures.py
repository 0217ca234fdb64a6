"""The example pictures: scenes painted by program, each with edited copies.

The same pictures come out every time: examples/ holds them, and the wheel carries them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from painting import landscapes, still_lifes
from painting.canvas import finish

SCENES = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        landscapes.mountain_sunset,
        landscapes.moonlit_sea,
        landscapes.desert_dunes,
        landscapes.misty_forest,
        landscapes.city_night,
        landscapes.summer_sky,
        still_lifes.planet_rings,
        still_lifes.spheres,
        still_lifes.stained_glass,
        still_lifes.sunflower,
        still_lifes.bauhaus,
        still_lifes.page_of_text,
        still_lifes.cat_in_the_window,
    )
}
QUERY = "cat-in-the-window"
SEED = 2024


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 5 // 9, image.height * 5 // 9), Image.Resampling.LANCZOS)


def recompressed(image: Image.Image) -> Image.Image:
    return image  # the file is saved at a low quality


def brightened(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.15)


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((width // 100, height // 120, width - width // 120, height - height // 100))


def watermarked(image: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(22)
    place = (image.width - 14, image.height - 12)
    ImageDraw.Draw(layer).text(place, "© example.org", (255, 255, 255, 170), font, anchor="rd")
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def edited_for_query(image: Image.Image) -> Image.Image:
    """Do several things at once: crop by 3 to 5 %, pale colours, a watermark, a smaller size."""
    width, height = image.size
    box = (width // 28, height // 48, width - width // 56, height - height // 28)
    pale = ImageEnhance.Contrast(image.crop(box)).enhance(0.8)
    return watermarked(pale).resize((540, 360), Image.Resampling.BICUBIC)


# edit -> what it does, suffix, quality
EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], str, int]] = {
    "resized": (resized, ".png", 0),
    "recompressed": (recompressed, ".jpg", 25),
    "brightened": (brightened, ".webp", 75),
    "cropped": (cropped, ".jpg", 80),
    "watermarked": (watermarked, ".jpg", 80),
}


def _save(image: Image.Image, path: Path, quality: int) -> None:
    if path.suffix == ".png":
        # A palette keeps the painted scenes small; the hashes hardly see it.
        image.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    else:
        image.save(path, quality=quality)


def make(folder: Path) -> None:
    """Write images/SCENE.* and images/SCENE--EDIT.* below `folder`, and query.jpg.

    The query is an edited copy of the scene QUERY that is none of the others.
    """
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, (name, scene) in enumerate(SCENES.items()):
        picture = finish(scene(np.random.default_rng(SEED + number)))
        picture.save(images / f"{name}.jpg", quality=85)
        for edit, (change, suffix, quality) in EDITS.items():
            _save(change(picture), images / f"{name}--{edit}{suffix}", quality)
        if name == QUERY:
            edited_for_query(picture).save(folder / "query.jpg", quality=60)
