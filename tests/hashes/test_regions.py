"""Regions of a picture: the values are pinned, crops keep them, what has no structure has none."""

import json

import numpy as np
import pytest
import region_twin
from make_region_vectors import PICTURES, PLANS, ROOT, VECTORS, regions_of
from PIL import Image

from imgdb.hashes import resample, values
from imgdb.hashes.regions import ASKED, STORED, Region, RegionPlan, find_regions
from imgdb.pictures import loader


def patches(seed: int, size: tuple[int, int], each: int = 7) -> Image.Image:
    """Paint soft patches and some noise, without any resampling code."""
    random = np.random.default_rng(seed)
    width, height = size
    coarse = random.integers(0, 232, (height // each + 1, width // each + 1))
    pixels = np.kron(coarse, np.ones((each, each), int))[:height, :width]
    noise = random.integers(0, 24, pixels.shape)
    return Image.fromarray((pixels + noise).astype(np.uint8))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("picture", PICTURES)
def test_values_are_for_ever(picture, plan):
    assert regions_of(picture, plan) == json.loads(VECTORS.read_text())[picture][plan]


@pytest.mark.parametrize("seed", range(2))
def test_equal_to_the_twin(seed):
    grey = patches(seed, (92, 88))
    plan = RegionPlan(side=320, limit=8)
    found = find_regions(grey, plan)
    assert found == region_twin.find(grey, plan)
    assert len(found) == 8


def test_the_resize_is_the_pinned_one(monkeypatch):
    """Tall pictures are those that Pillow 13 would resize in another order."""
    grey = patches(1, (160, 960))
    shrunk = Image.fromarray(resample._resize_in_passes(grey, (52, 320)))
    twin = region_twin.find(shrunk, RegionPlan(side=320, limit=64))
    assert [found.hash for found in find_regions(grey)] == [found.hash for found in twin]
    assert len(twin) > 8


def test_boxes_lie_in_the_picture():
    for size in ((1201, 333), (333, 1201), (99, 64), (641, 642), (160, 900)):
        grey = patches(5, size)
        for plan in (STORED, ASKED):
            found = find_regions(grey, plan)
            assert found, size
            for one in found:
                assert one.left >= 0 and one.top >= 0, (size, one)
                assert one.left + one.width <= size[0], (size, one)
                assert one.top + one.height <= size[1], (size, one)
                assert abs(one.width - one.height) <= 2 + one.width // 20, (size, one)


@pytest.mark.parametrize("size", [(1, 1), (41, 41), (41, 3000), (3000, 1), (8, 8)])
def test_tiny_pictures_have_none(size):
    assert find_regions(patches(1, size)) == find_regions(patches(1, size), ASKED) == []


def test_flat_pictures_have_none():
    ramp = np.tile(np.linspace(100, 130, 400).astype(np.uint8), (300, 1))
    faint = 128 + np.indices((300, 400)).sum(axis=0) % 3
    for pixels in (np.full((300, 400), 255), np.zeros((300, 400)), ramp, faint):
        grey = Image.fromarray(pixels.astype(np.uint8))
        assert find_regions(grey) == find_regions(grey, ASKED) == []


def test_no_more_than_the_limit_in_the_same_order():
    grey = patches(2, (320, 240))
    few, many = find_regions(grey, RegionPlan(320, 5)), find_regions(grey, RegionPlan(320, 64))
    assert len(few) == 5 and len(many) == 64
    assert many[:5] == few


def test_a_crop_of_a_picture_that_is_not_shrunk_keeps_its_small_regions():
    grey = patches(3, (320, 240))
    left, top, right, bottom = 64, 32, 256, 192
    crop = find_regions(grey.crop((left, top, right, bottom)), RegionPlan(320, 1000))
    whole = {found.hash for found in find_regions(grey, RegionPlan(320, 1000))}
    # An extreme that is hidden by a stronger one outside may come to light.
    kept = [found for found in crop if found.hash in whole]
    assert len(kept) > 0.8 * len(crop) > 40
    by_hash = {found.hash: found for found in find_regions(grey, RegionPlan(320, 1000))}
    for found in kept:
        box = (found.left + left, found.top + top, found.width, found.height)
        assert by_hash[found.hash].box == box


@pytest.mark.parametrize("name", ["bauhaus", "cat-in-the-window", "sunflower", "stained-glass"])
def test_edited_photos_share_regions(name):
    """Of each example some regions stand near those of its edits, and none near another's."""

    def hashes(file: str, plan: RegionPlan) -> list[int]:
        grey = loader.load(ROOT / "examples" / "images" / file).grey
        return [found.hash for found in find_regions(grey, plan)]

    def alike(asked: list[int], stored: list[int]) -> int:
        return sum(any(values.bit_distance(a, b) <= 8 for b in stored) for a in asked)

    stored = hashes(f"{name}.jpg", STORED)
    assert alike(hashes(f"{name}--cropped.jpg", ASKED), stored) >= 8
    assert alike(hashes("misty-forest.jpg", ASKED), stored) <= 2


def test_a_region_is_one_row():
    found = Region(1, 2, 3, 4, -5)
    assert (found.box, found.hash) == ((1, 2, 3, 4), -5)
