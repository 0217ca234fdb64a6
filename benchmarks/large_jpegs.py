"""Large JPEGs made from the small pictures that get_images.sh fetches, the same for a seed."""

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from imgdb.errors import PictureError
from imgdb.pictures import loader

# Photographs among the fetched files, by their paths; whatever else loads is called graphics.
_PHOTO = re.compile(
    r"Media/Backgrounds/.*\.jpg$"
    r"|skimage/data/(astronaut|camera|chelsea|coffee|brick|grass|gravel|coins|hubble|moon|retina"
    r"|rocket|motorcycle_left)"
    r"|sklearn/datasets/images|yellow_rose\.lossless|blue-purple|testdata/(branches|flowers)"
    r"|flower/flower\.pgm|500px/(keong|tmshre.*srgb8|bliznaca.*srgb8)|hdr_room"
    r"|Tests/images/(fujifilm|frozenpond|sugarshack|xmp_test|flower|junk_jpeg|ultrahdr)"
)
_GRAPHIC = re.compile(r"png1000px|scratch/Help|Tests/images/test_.*\.png$|P3-sRGB|logo|bw_text")


def sources(folder: Path) -> dict[str, list[Path]]:
    """List the fetched photographs and graphics of at least 240 pixels."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kinds = {"photo": _PHOTO, "graphic": _GRAPHIC}
    found: dict[str, list[Path]] = {}
    for kind, pattern in kinds.items():
        found[kind] = [p for p in files if pattern.search(str(p)) and _is_usable(p)]
        if not found[kind]:
            raise SystemExit(f"no {kind} in {folder}: fill it by get_images.sh")
    return found


def _is_usable(path: Path) -> bool:
    try:
        return min(loader.load(path, max_pixels=20_000_000).grey.size) >= 240
    except PictureError:
        return False


def _open(path: Path) -> Image.Image:
    with Image.open(path) as image:
        colours = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")


class Maker:
    """Makes pictures of 4 to 12 megapixels of one group."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sources = sources(folder)

    def make(self, group: str, count: int) -> Iterator[bytes]:
        """Make JPEG files of "photos", "mosaics", "graphics" or "hard" pictures."""
        one = {
            "photos": self._photo,
            "mosaics": self._mosaic,
            "graphics": self._graphic,
            "hard": self._hard,
        }[group]
        for _ in range(count):
            yield self._jpeg(one())

    def one_size(self, size: tuple[int, int], count: int) -> Iterator[bytes]:
        """Make photographs of exactly `size`."""
        for _ in range(count):
            yield self._jpeg(self._pick("photo").resize(size, Image.Resampling.BICUBIC))

    def _pick(self, kind: str) -> Image.Image:
        paths = self.sources[kind]
        return _open(paths[self.rng.integers(len(paths))])

    def _size(self, ratio: float) -> tuple[int, int]:
        height = (self.rng.uniform(4e6, 12.5e6) / ratio) ** 0.5
        return int(height * ratio), int(height)

    def _enlarged(self, image: Image.Image) -> Image.Image:
        ratio = min(max(image.width / image.height, 0.4), 2.5)
        return image.resize(self._size(ratio), Image.Resampling.BICUBIC)

    def _photo(self) -> Image.Image:
        image = self._pick("photo")
        kept = self.rng.uniform(0.6, 1)
        width, height = int(image.width * kept), int(image.height * kept)
        x = int(self.rng.integers(image.width - width + 1))
        y = int(self.rng.integers(image.height - height + 1))
        return self._enlarged(image.crop((x, y, x + width, y + height)))

    def _mosaic(self) -> Image.Image:
        side = int(self.rng.integers(2, 5))
        width, height = self._size(float(self.rng.choice([4 / 3, 3 / 2, 1, 3 / 4])))
        image = Image.new("RGB", (width, height))
        for number in range(side * side):
            row, column = divmod(number, side)
            left, top = width * column // side, height * row // side
            tile = width * (column + 1) // side - left, height * (row + 1) // side - top
            part = self._pick("photo").resize(tile, Image.Resampling.BICUBIC)
            image.paste(part, (left, top))
        return image

    def _graphic(self) -> Image.Image:
        return self._enlarged(self._pick("graphic"))

    def _hard(self) -> Image.Image:
        """Make what brings near ties: faint, blurred, dark, symmetric, mostly white, gradients."""
        kind = self.rng.integers(6)
        if kind == 0:
            return self._gradient()
        image = self._enlarged(self._pick("photo"))
        if kind == 1:
            contrast, level = self.rng.uniform(0.03, 0.2), self.rng.uniform(20, 200)
            return image.point(lambda v: min(255, max(0, int(level + (v - 128) * contrast))))
        if kind == 2:
            return image.filter(ImageFilter.BoxBlur(self.rng.uniform(20, 150)))
        if kind == 3:
            return image.point(lambda v: int(v * 0.15))
        if kind == 4:
            half = image.crop((0, 0, image.width // 2, image.height))
            image.paste(ImageOps.mirror(half), (image.width - half.width, 0))
            return image
        page = Image.new("RGB", image.size, "white")
        x, y = self.rng.integers(image.width // 2), self.rng.integers(image.height // 2)
        page.paste(image.resize((image.width // 2, image.height // 2)), (int(x), int(y)))
        return page

    def _gradient(self) -> Image.Image:
        width, height = self._size(4 / 3)
        down, across = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None]
        slopes = self.rng.uniform(-60, 60, 2) * self.rng.integers(0, 2, 2)
        grey = self.rng.uniform(50, 250) + slopes[0] * down + slopes[1] * across
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")

    def _jpeg(self, image: Image.Image) -> bytes:
        """Save with a sensor's noise, at a camera's usual quality and sampling."""
        strength = self.rng.choice([0, 2, 4])
        if strength:
            noise = self.rng.normal(0, strength, (image.height, image.width, 1)).astype(np.float32)
            noisy = np.clip(np.asarray(image) + noise + 0.5, 0, 255)
            image = Image.fromarray(noisy.astype(np.uint8))
        file = BytesIO()
        quality = int(self.rng.integers(70, 96))
        image.save(file, "JPEG", quality=quality, subsampling=int(self.rng.choice([0, 2, 2, 2])))
        return file.getvalue()
