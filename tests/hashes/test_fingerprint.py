"""From a file to a row: what is recorded, and how far `scaled` may move the hashes."""

import hashlib
import pickle
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from imgdb.errors import PictureError, UsageError
from imgdb.hashes import resample
from imgdb.hashes.exact import hash_grey
from imgdb.hashes.fingerprint import (
    RECIPES,
    Unhashed,
    fingerprint,
    fingerprint_source,
    hash_together,
    read_source,
)
from imgdb.hashes.scaled import read_scaled, read_with_loose_bits
from imgdb.hashes.values import ALGORITHMS, bit_distance
from imgdb.hashes.whash import block_sums
from imgdb.pictures import loader

IMAGES = Path(__file__).parents[2] / "examples" / "images"
SCENES = sorted(path for path in IMAGES.iterdir() if "--" not in path.name)
FEW_BITS = 4


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photograph-sized JPEGs of every scene, with a sensor's noise."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(5)
    paths = []
    for scene in SCENES:
        with Image.open(scene) as image:
            pixels = np.asarray(image.resize((2400, 1600), Image.Resampling.BICUBIC))
        noisy = pixels + 3 * rng.standard_normal((1600, 2400, 1), np.float32)
        paths.append(folder / scene.name)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(paths[-1], quality=85)
    return paths


def moved(path: Path) -> dict[str, int]:
    one, two = fingerprint(path), fingerprint(path, decode="scaled")
    return {name: bit_distance(getattr(one, name), getattr(two, name)) for name in ALGORITHMS}


def test_what_is_recorded(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(SCENES[0]) as image:
        image.save(path, exif=exif)
    found = fingerprint(path)
    assert (found.format, found.width, found.height, found.frames) == ("JPEG", 480, 720, 1)
    assert found.byte_size == path.stat().st_size
    assert found.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert found.modified_at.tzinfo is UTC
    assert found.recipe == RECIPES["exact"] == "exact-1"
    assert not found.flat
    hashes = hash_grey(loader.load(path).grey)
    assert all(getattr(found, name) == getattr(hashes, name) for name in ALGORITHMS)


def test_it_travels_between_processes(tmp_path):
    found = fingerprint(SCENES[0])
    packed = pickle.dumps(found)
    assert pickle.loads(packed) == found
    assert len(packed) < 500


def test_only_the_hashes_asked_for():
    found = fingerprint(SCENES[0], algorithms=["dhash"])
    assert found.dhash == fingerprint(SCENES[0]).dhash
    assert found.ahash is found.phash is found.whash is None
    with pytest.raises(UsageError):
        fingerprint(SCENES[0], algorithms=["md5"])


def test_what_cannot_be_hashed_has_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # the loader changes it
    with pytest.raises(PictureError) as caught:
        fingerprint(tmp_path / "none.jpg")
    assert caught.value.reason == "missing"
    with pytest.raises(PictureError) as caught:
        fingerprint(SCENES[0], max_pixels=1000)
    assert caught.value.reason == "too-large"


def test_a_stream_has_the_hashes_of_its_file(large):
    for decode in ("exact", "scaled"):
        with (
            large[0].open("rb") as file,
            loader.open_stream(file, byte_size=None, modified_at=datetime.now(UTC)) as source,
        ):
            one = fingerprint_source(source, decode=decode)
        two = fingerprint(large[0], decode=decode)
        assert (one.sha256, one.phash, one.whash) == (two.sha256, two.phash, two.whash)


def test_scaled_moves_few_bits_and_reads_most_pictures_reduced(large):
    reduced = 0
    for path in large:
        picture = loader.load(path, decode="scaled")
        assert picture.grey.size == (1200, 800)
        reduced += read_scaled(picture.grey) is not None
        assert max(moved(path).values()) <= FEW_BITS, path.name
        assert fingerprint(path, decode="scaled").recipe == RECIPES["scaled"]
    assert reduced > len(large) / 2


def hard(kind: str) -> Image.Image:
    """Make pictures whose hashes depend on ties: a reduced decode decides those at random."""
    with Image.open(IMAGES / "sunflower.jpg") as image:
        half = image.convert("RGB").resize((1200, 1600), Image.Resampling.BICUBIC)
    page = Image.new("RGB", (2400, 1600), "white")
    if kind == "mirrored":
        page.paste(half, (0, 0))
        page.paste(ImageOps.mirror(half), (1200, 0))
    elif kind == "mostly-white":
        page.paste(half.resize((500, 400)), (1300, 300))
    elif kind == "faint":
        page = half.resize((2400, 1600)).point(lambda value: 200 + value // 40)
    return page


@pytest.mark.parametrize("kind", ["mirrored", "mostly-white", "faint", "blank"])
def test_near_ties_are_decoded_in_full(kind, tmp_path):
    path = tmp_path / "hard.jpg"
    hard(kind).save(path, quality=80)
    small = loader.load(path, decode="scaled").grey
    assert small.size == (1200, 800)
    assert read_scaled(small) is None
    assert max(read_with_loose_bits(small)[1].values()) > FEW_BITS
    assert set(moved(path).values()) == {0}


def test_scaled_is_exact_where_nothing_is_reduced(tmp_path):
    with Image.open(SCENES[2]) as image:
        for name, size in (("small.jpg", (1400, 1023)), ("large.png", (1500, 1100))):
            image.resize(size).save(tmp_path / name)
            assert set(moved(tmp_path / name).values()) == {0}


def test_tiny_pictures_are_hashed_together_as_alone(tmp_path):
    paths = []
    rng = np.random.default_rng(8)
    for number in range(60):
        # Three sizes in turns, few grey levels: the medians of most tie.
        width, height = ((28, 28), (16, 90), (96, 33))[number % 3]
        pixels = rng.integers(0, 3, (height, width), dtype=np.uint8) * np.uint8(100)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    found = []
    for path in paths:
        with loader.open_source(path) as source:
            found.append(read_source(source))
    assert all(isinstance(one, Unhashed) for one in found)
    assert hash_together(found) == [fingerprint(path) for path in paths]
    for path, made in zip(paths, hash_together(found), strict=True):
        with Image.open(path) as image:
            alone = hash_grey(image)
        assert (made.ahash, made.dhash, made.phash, made.whash) == (
            alone.ahash,
            alone.dhash,
            alone.phash,
            alone.whash,
        )


def test_area_means_weigh_every_pixel_once():
    pixels = np.random.default_rng(1).integers(0, 256, (64, 128), dtype=np.uint8)
    square = np.asarray(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX))
    assert np.allclose(area_means(pixels), block_sums(square[None])[0] / 64, atol=1)
    for height, width in ((1, 1), (7, 5), (13, 200), (1001, 8), (300, 777)):
        pixels = np.random.default_rng(2).integers(0, 256, (height, width), dtype=np.uint8)
        # Each pixel as 8 x 8: then the edges of all parts lie between pixels.
        fine = np.kron(pixels, np.ones((8, 8), np.int64)).reshape(8, height, 8, width)
        assert np.array_equal(area_means(pixels), fine.sum(axis=(1, 3)) / (height * width))
    ramp = np.repeat(np.arange(12, dtype=np.uint8)[None] * 3, 3, axis=0)
    assert area_means(ramp)[0] == pytest.approx([1, 5, 10, 14, 19, 23, 28, 32])


def area_means(pixels):
    (values,) = resample.shrink([Image.fromarray(pixels)], [], areas=True)
    return values[0]
