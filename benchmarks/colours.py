"""Measure what `same_colours` says of edited copies and of the same picture in other colours.

    python -m benchmarks.colours FOLDER

FOLDER holds photographs, in folders of any depth; each scene counts once. Every photograph is
edited as people do it, its hues are turned, a part of it gets another colour, and things of two
dyes are laid on paper, with the light of a photograph. Only pairs count that the hashes take for
copies: no other pair is ever proposed. The tables are those of docs/colours.md.
"""

import argparse
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from imgdb.errors import PictureError
from imgdb.hashes.colours import colour_difference, may_be_copy
from imgdb.hashes.exact import read_grey
from imgdb.hashes.values import Hashes, bit_distance
from imgdb.pictures.images import open_image

# The default of the rule phash+dhash: what is farther is no copy by its hashes.
MAX_DISTANCE = 17
# A picture that is nearer to another one shows the same scene.
SAME_SCENE = 24
SIDE = 512
# The part of the pixels that a recolouring must change, by so many levels.
CHANGED, LEVELS = 0.03, 24

Change = Callable[[Image.Image], Image.Image]


def enhanced(kind: type[ImageEnhance._Enhance], factor: float) -> Change:
    return lambda image: kind(image).enhance(factor)


def gained(*factors: float) -> Change:
    """Multiply red, green and blue: another white balance."""
    table = [min(255, round(value * factor)) for factor in factors for value in range(256)]
    return lambda image: image.point(table)


def bent(gamma: float) -> Change:
    table = [round((value / 255) ** gamma * 255) for value in range(256)] * 3
    return lambda image: image.point(table)


def scaled(factor: float, image: Image.Image) -> Image.Image:
    size = [max(1, round(side * factor)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """Cut off 5 % of width and height."""
    off = [side // 20 for side in image.size]
    return image.crop((off[0] // 3, off[1] // 3, image.width - off[0], image.height - off[1]))


def faded(image: Image.Image) -> Image.Image:
    """Lift the blacks and pale the colours, as filters do."""
    pale = ImageEnhance.Color(image).enhance(0.75)
    return pale.point(lambda value: round(value * 0.85 + 30))


def aged(image: Image.Image) -> Image.Image:
    """Warm the light and lift the blue of the shadows."""
    red, green, blue = image.split()
    red = red.point(lambda value: round((value / 255) ** 0.9 * 242 + 13))
    return Image.merge("RGB", (red, green, blue.point(lambda value: round(value * 0.8 + 30))))


def sepia(image: Image.Image) -> Image.Image:
    weights = (0.393, 0.769, 0.189, 0, 0.349, 0.686, 0.168, 0, 0.272, 0.534, 0.131, 0)
    return image.convert("RGB", weights)


EDITS: dict[str, tuple[Change, ...]] = {
    "saved as JPEG, quality 30 to 90": (),
    "scaled, blurred": (
        partial(scaled, 0.25),
        partial(scaled, 0.5),
        lambda image: image.filter(ImageFilter.GaussianBlur(min(image.size) / 100)),
    ),
    "cut by 5 %": (cropped,),
    "64 colours (GIF)": (lambda image: image.quantize(64).convert("RGB"),),
    "brightness, 15 %": tuple(enhanced(ImageEnhance.Brightness, k) for k in (0.85, 1.15)),
    "brightness, 30 %": tuple(enhanced(ImageEnhance.Brightness, k) for k in (0.7, 1.3)),
    "contrast, 30 %": tuple(enhanced(ImageEnhance.Contrast, k) for k in (0.7, 1.3)),
    "gamma 0.85 and 1.2": (bent(0.85), bent(1.2)),
    "saturation, 25 %": tuple(enhanced(ImageEnhance.Color, k) for k in (0.75, 1.25)),
    "saturation, 50 %": tuple(enhanced(ImageEnhance.Color, k) for k in (0.5, 1.5)),
    "white balance, 5 %": (gained(1.05, 1, 0.95), gained(0.95, 1, 1.05)),
    "white balance, 10 %": (gained(1.1, 1, 0.9), gained(0.9, 1, 1.1)),
    "filters: faded": (faded,),
    "filters: aged": (aged,),
    "made grey": (lambda image: image.convert("L"),),
    "made sepia": (sepia,),
}


def turned(degrees: float, image: Image.Image) -> Image.Image:
    """Turn all hues at equal brightness, which no hash can see."""
    light, blue, red = (np.asarray(band, float) for band in image.convert("YCbCr").split())
    colours = ((blue - 128) + 1j * (red - 128)) * np.exp(1j * np.radians(degrees))
    bands = np.dstack([light, 128 + colours.real, 128 + colours.imag])
    whole = np.clip(np.rint(bands), 0, 255).astype(np.uint8)
    return Image.frombytes("YCbCr", image.size, whole.tobytes()).convert("RGB")


def in_a_part(change: Change, share: float, image: Image.Image) -> Image.Image:
    """Change an ellipse in the middle, of a share of width and height."""
    mask = Image.new("L", image.size)
    (width, height), rest = image.size, (1 - share) / 2
    box = (width * rest, height * rest, width * (1 - rest), height * (1 - rest))
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    return Image.composite(
        change(image).convert("RGB"), image, mask.filter(ImageFilter.GaussianBlur(3))
    )


def in_its_main_hue(change: Change, image: Image.Image) -> Image.Image:
    """Change what has the hue that most of the picture has."""
    hue, strength, value = (np.asarray(b, int) for b in image.convert("HSV").split())
    strong = (strength > 60) & (value > 40)
    counts = np.bincount(hue[strong], minlength=256)
    around = np.convolve(np.tile(counts, 3), np.ones(31), "same")[256:512]
    chosen = strong & (np.abs((hue - around.argmax() + 128) % 256 - 128) <= 20)
    mask = Image.fromarray((chosen * 255).astype(np.uint8))
    return Image.composite(change(image), image, mask.filter(ImageFilter.GaussianBlur(1)))


def hues(*degrees: int) -> tuple[Change, ...]:
    return tuple(partial(turned, one) for sign in (1, -1) for one in np.multiply(degrees, sign))


def greyed(image: Image.Image) -> Image.Image:
    return image.convert("L").convert("RGB")


RECOLOURINGS: dict[str, tuple[Change, ...]] = {
    "all hues turned by 30 or 45 degrees": hues(30, 45),
    "all hues turned by 60 to 180 degrees": hues(60, 120, 180),
    "the main hue turned by 45 to 180": tuple(
        partial(in_its_main_hue, one) for one in hues(45, 90, 180)
    ),
    "a part (60 %) turned by 60 to 180": tuple(
        partial(in_a_part, one, 0.6) for one in hues(60, 120, 180)
    ),
    "a small part (30 %) turned by 60 to 180": tuple(
        partial(in_a_part, one, 0.3) for one in hues(60, 120, 180)
    ),
    "a part (60 %) made grey": (partial(in_a_part, greyed, 0.6),),
}

DYES = {
    "red": (190, 30, 40), "maroon": (110, 20, 35), "orange": (230, 120, 30),
    "yellow": (235, 205, 50), "green": (40, 130, 60), "olive": (110, 110, 50),
    "teal": (20, 130, 130), "blue": (40, 80, 190), "sky": (130, 180, 230), "navy": (28, 36, 80),
    "purple": (110, 50, 140), "pink": (235, 150, 180), "brown": (110, 70, 45),
    "beige": (215, 195, 160), "cream": (245, 235, 210), "white": (245, 245, 245),
    "light grey": (190, 190, 192), "grey": (128, 128, 130), "charcoal": (65, 66, 70),
    "black": (25, 25, 27),
}  # fmt: skip
PAPERS = ((255, 255, 255), (225, 222, 216))
SHIRT = (
    (120, 60), (60, 100), (30, 190), (80, 200), (95, 160), (95, 320), (265, 320), (265, 160),
    (280, 200), (330, 190), (300, 100), (240, 60), (210, 80), (150, 80),
)  # fmt: skip


def thing(
    light: NDArray[np.float64], dye: tuple[int, int, int], paper: tuple[int, int, int]
) -> Image.Image:
    """Lay a shirt of one dye on paper, with folds."""
    cloth = np.clip(np.array(dye) * light[..., None], 0, 255).astype(np.uint8)
    mask = Image.new("L", (360, 360))
    ImageDraw.Draw(mask).polygon(SHIRT, fill=255)
    sheet = Image.new("RGB", (360, 360), paper)
    sheet.paste(Image.fromarray(cloth), mask=mask.filter(ImageFilter.GaussianBlur(1)))
    return sheet


def folds(photo: Image.Image) -> NDArray[np.float64]:
    soft = photo.resize((360, 360)).convert("L").filter(ImageFilter.GaussianBlur(4))
    return np.asarray(ImageOps.autocontrast(soft, cutoff=2), float) / 255 * 0.55 + 0.6


Looked = tuple[bytes, Hashes]


def look(image: Image.Image, quality: int | None = 88) -> Looked:
    """Save a picture and read it as ingest does."""
    content = BytesIO()
    if quality is None:
        image.save(content, "PNG", compress_level=1)
    else:
        image.save(content, "JPEG", quality=quality)
    with open_image(content.getvalue()) as source:
        picture = source.picture()
    return picture.colours, read_grey(picture.grey, ("phash", "dhash")).hashes


def apart(a: Looked, b: Looked) -> int:
    return bit_distance(a[1].phash, b[1].phash) + bit_distance(a[1].dhash, b[1].dhash)


def photographs(folder: Path) -> Iterator[tuple[Image.Image, Looked]]:
    """Yield what is 200 pixels wide and high at least and of many colours, each scene once."""
    seen: list[Looked] = []
    for path in sorted(folder.rglob("*")):
        try:
            with open_image(path) as source:
                image = source.small(SIDE).image.convert("RGB")
        except (PictureError, OSError):
            continue
        tones = np.unique(np.asarray(image.resize((64, 64))).reshape(-1, 3) // 8, axis=0)
        if min(image.size) < 200 or len(tones) < 200:
            continue
        found = look(image, None)
        if all(apart(found, other) > SAME_SCENE for other in seen):
            seen.append(found)
            yield image, found


class Tally:
    """How many pairs the hashes take for copies, and how many of these the colours do."""

    def __init__(self) -> None:
        self.pairs: dict[str, list[bool]] = defaultdict(list)
        self.differences: dict[str, list[float]] = defaultdict(list)

    def count(self, name: str, a: Looked, b: Looked) -> None:
        if apart(a, b) <= MAX_DISTANCE:
            self.pairs[name].append(may_be_copy(b[0], a[0]))
            self.differences[name].append(colour_difference(a[0], b[0]))

    def table(self, title: str) -> str:
        rows = [
            f"| {title} | pairs | copies by colour | difference: half, 95 % below |",
            "|---" * 4 + "|",
        ]
        for name, told in self.pairs.items():
            half, most = np.percentile(self.differences[name], (50, 95))
            rows.append(
                f"| {name} | {len(told):,} | {100 * np.mean(told):.1f} % | {half:.1f}, {most:.1f} |"
            )
        return "\n".join(rows)


def differs(a: Image.Image, b: Image.Image) -> bool:
    """Tell whether anybody can see that colours are others."""
    levels = np.abs(np.asarray(a, int) - np.asarray(b.convert("RGB"), int)).max(2)
    return bool((levels > LEVELS).mean() > CHANGED)


def measure(folder: Path) -> tuple[int, Tally, Tally, Tally]:
    edits, recolourings, things = Tally(), Tally(), Tally()
    count = 0
    for image, original in photographs(folder):
        count += 1
        print(f"\r{count} photographs", end="", file=sys.stderr)
        for name, changes in EDITS.items():
            for change in changes:
                edits.count(name, original, look(change(image)))
        for quality in (30, 60, 90):
            edits.count(next(iter(EDITS)), original, look(image, quality))
        for name, changes in RECOLOURINGS.items():
            for changed in (change(image) for change in changes):
                if differs(image, changed):
                    recolourings.count(name, original, look(changed))
        if count % 4 == 1:
            for paper in PAPERS:
                laid = [look(thing(folds(image), dye, paper)) for dye in DYES.values()]
                for a, b in combinations(laid, 2):
                    things.count("two of twenty dyes", a, b)
    print(file=sys.stderr)
    return count, edits, recolourings, things


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    warnings.simplefilter("ignore")
    count, edits, recolourings, things = measure(parser.parse_args().folder)
    print(f"{count} photographs\n")
    print(edits.table("edited copies"), end="\n\n")
    print(recolourings.table("other colours"), end="\n\n")
    print(things.table("things on paper"))


if __name__ == "__main__":
    main()
