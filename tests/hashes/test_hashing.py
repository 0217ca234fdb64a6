"""The hashes are imagehash's, bit for bit, with the resize passes of the recipe."""

import json
from collections import defaultdict
from pathlib import Path

import imagehash
import numpy as np
import pytest
from flatness import is_flat
from hash_pictures import KINDS, SIZES, random_pictures
from hypothesis import given
from hypothesis import strategies as st
from imagehash_oracle import FUNCTIONS, hash_by_imagehash
from PIL import Image

from imgdb.errors import UsageError
from imgdb.hashes import resample, whash
from imgdb.hashes.exact import hash_grey, read_grey, read_together
from imgdb.hashes.values import (
    ALGORITHMS,
    Hashes,
    bit_distance,
    from_bigint,
    from_hex,
    to_bigint,
    to_hex,
)
from imgdb.pictures.loader import load

DATA = Path(__file__).parents[2] / "vectors"
VECTORS = json.loads((DATA / "vectors.json").read_text())
bigints = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def pictures(draw: st.DrawFn) -> Image.Image:
    """Any small picture; few grey levels, so that ties are common."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    levels = draw(st.lists(st.integers(0, 255), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    return Image.fromarray(rng.choice(np.array(levels, np.uint8), (height, width)))


@pytest.mark.parametrize("seed", range(6))
def test_random_pictures_of_every_kind_and_size(seed):
    for grey in random_pictures(500, seed=seed, largest=300):
        assert hash_grey(grey) == hash_by_imagehash(grey), grey.size


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_in_every_fixed_size(kind):
    rng = np.random.default_rng(3)
    for width, height in SIZES:
        grey = Image.fromarray(kind(rng, width, height))
        assert hash_grey(grey) == hash_by_imagehash(grey), grey.size


@given(pictures())
def test_pictures_of_few_grey_levels(grey):
    assert hash_grey(grey) == hash_by_imagehash(grey)


def test_how_many_stand_in_one_array_changes_no_hash():
    by_size = defaultdict(list)
    for grey in random_pictures(600, seed=11, largest=120):
        by_size[grey.size].append(grey)
    for size, greys in by_size.items():
        together = [reading.hashes for reading in read_together(greys)]
        assert together == [hash_by_imagehash(grey) for grey in greys], size


@pytest.mark.parametrize("level", range(256))
def test_solid_colours(level):
    grey = Image.new("L", (50, 40), level)
    assert hash_grey(grey) == Hashes(0, 0, to_bigint(1 << 63) if level else 0, 0)
    assert hash_grey(grey) == hash_by_imagehash(grey)
    assert is_flat(hash_grey(grey))
    assert read_grey(grey).flat


@pytest.mark.parametrize("size", [(1500, 1100), (700, 2300), (2049, 515)])
def test_pictures_large_enough_for_every_short_cut(size):
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 256, (size[1] // 3, size[0] // 3), dtype=np.uint8)
    for grey in (
        Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC),
        Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).point(lambda v: v & 0xE0),
    ):
        assert hash_grey(grey) == hash_by_imagehash(grey)


def test_a_large_picture_with_tied_blocks():
    """White but for a box: the whash bits of 63 tied blocks come from the wavelet's rounding."""
    pixels = np.full((1024, 1024), 255, np.uint8)
    pixels[300:420, 500:700] = np.random.default_rng(1).integers(0, 200, (120, 200))
    grey = Image.fromarray(pixels)
    assert hash_grey(grey, ["whash"]).whash == hash_by_imagehash(grey).whash


def test_plain_imagehash_agrees_but_for_tall_pictures():
    for grey in random_pictures(300, seed=11, largest=200):
        if grey.height <= grey.width and min(grey.size) >= 32:
            expected = {n: to_bigint(int(str(f(grey)), 16)) for n, f in FUNCTIONS.items()}
            assert hash_grey(grey) == Hashes(**expected)


SMALL = [(8, 8), (9, 8), (32, 32)]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_one_hash_alone(name):
    grey = next(random_pictures(1, seed=5))
    alone = hash_grey(grey, [name])
    assert getattr(alone, name) == getattr(hash_grey(grey), name)
    assert [n for n in ALGORITHMS if getattr(alone, n) is not None] == [name]


def test_an_unknown_hash_is_named():
    with pytest.raises(UsageError, match="no such hash: xhash"):
        hash_grey(Image.new("L", (9, 9)), ["phash", "xhash"])
    with pytest.raises(UsageError, match="no hash is chosen"):
        hash_grey(Image.new("L", (9, 9)), [])


def test_without_the_short_cuts_the_hashes_are_the_same(monkeypatch):
    """What a Pillow that rounds otherwise would bring about: its own resize, still pinned."""
    greys = [
        *random_pictures(200, seed=23, largest=300),
        Image.radial_gradient("L").resize((900,) * 2),
    ]
    expected = [hash_grey(grey) for grey in greys]
    monkeypatch.setattr(resample, "_rounds_like_pillow", lambda: False)
    monkeypatch.setattr(resample, "_shrink", None)
    assert [hash_grey(grey) for grey in greys] == expected


@pytest.fixture
def forget_plans():
    """Plans are made for one width of products."""
    resample._plan.cache_clear()
    yield
    resample._plan.cache_clear()


@pytest.mark.parametrize(("rows", "columns"), [(32, 160), (128, 250)])
def test_the_size_of_products_changes_no_hash(monkeypatch, forget_plans, rows, columns):
    """Workers and commands have one thread and take larger ones than a service may."""
    monkeypatch.setattr(resample, "_ROWS", rows)
    monkeypatch.setattr(resample, "_COLUMNS", columns)
    for grey in [
        *random_pictures(60, seed=31, largest=900),
        Image.radial_gradient("L").resize((1300, 700)),
        next(random_pictures(1, seed=2)).resize((251, 129)),
    ]:
        for size, values in zip(SMALL, resample.shrink([grey], SMALL), strict=True):
            expected = resample._resize_in_passes(grey, size)
            assert np.array_equal(resample.rounded(values[0]), expected)


def test_the_short_cuts_are_in_use():
    assert resample._rounds_like_pillow()


def test_short_cuts_that_round_otherwise_are_noticed(monkeypatch):
    """As a Pillow would whose weights have fewer bits, or whose channels are not alike."""
    compare = resample._rounds_like_pillow.__wrapped__
    assert compare()
    with monkeypatch.context() as patch:
        patch.setattr(resample, "_round", lambda values: np.clip(np.floor(values + 0.499), 0, 255))
        assert not compare()
    by_channels = resample._resize_by_channels
    monkeypatch.setattr(resample, "_resize_by_channels", lambda *args: by_channels(*args) ^ 1)
    assert not compare()


def test_block_sums_add_up():
    pixels = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)
    sums = whash.block_sums(pixels[None])
    assert sums[0, 2, 5] == pixels[16:24, 40:48].sum()


@given(bigints)
def test_signed_and_unsigned(signed):
    assert to_bigint(from_bigint(signed)) == signed
    assert 0 <= from_bigint(signed) < 1 << 64
    assert from_hex(to_hex(signed)) == signed
    assert to_hex(signed) == str(imagehash.hex_to_hash(to_hex(signed)))


@given(bigints, bigints)
def test_distance_is_imagehash_s(a, b):
    theirs = imagehash.hex_to_hash(to_hex(a)) - imagehash.hex_to_hash(to_hex(b))
    assert bit_distance(a, b) == bit_distance(b, a) == theirs


def test_bits_are_row_by_row_first_bit_first():
    assert to_bigint(1 << 63) == -(1 << 63)
    assert to_hex(-(1 << 63)) == "8000000000000000"
    assert from_hex("FFFFFFFFFFFFFFFF") == -1


@pytest.mark.parametrize("number", [1 << 64, -1])
def test_too_large_unsigned(number):
    with pytest.raises(UsageError):
        to_bigint(number)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_too_large_signed(number):
    with pytest.raises(UsageError):
        from_bigint(number)


@pytest.mark.parametrize(
    "text", ["", "12", "g" * 16, "0" * 17, "0x00000000000000", "\uff11" * 16, " " * 16]
)
def test_bad_hex(text):
    with pytest.raises(UsageError, match="16 hex digits"):
        from_hex(text)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_golden_hashes(vector):
    """Stored hashes stay: these values may never change."""
    hashes = hash_grey(load(DATA / vector["file"]).grey)
    assert {name: to_hex(getattr(hashes, name)) for name in ALGORITHMS} == {
        name: vector[name] for name in ALGORITHMS
    }


class TestFlat:
    def test_noise_on_a_blank_page_is_flat_though_its_hashes_are_not(self):
        rng = np.random.default_rng(4)
        page = np.clip(rng.normal(246, 3, (850, 600)), 0, 255).astype(np.uint8)
        reading = read_grey(Image.fromarray(page))
        assert reading.flat
        assert not is_flat(reading.hashes)

    def test_one_line_of_text_is_structure(self):
        page = np.full((850, 600), 250, np.uint8)
        page[400:410, 100:500:3] = 0
        assert not read_grey(Image.fromarray(page)).flat

    @pytest.mark.parametrize("names", [["ahash"], ["dhash"], ["whash"], ["ahash", "dhash"]])
    def test_does_not_hang_on_which_hashes_are_made(self, names):
        stripes = Image.fromarray(np.repeat(np.array([[220], [40]], np.uint8), 100, axis=1))
        assert not read_grey(stripes.resize((100, 60), Image.Resampling.NEAREST), names).flat
        assert read_grey(Image.new("L", (30, 30), 200), names).flat

    def test_from_hashes_alone(self):
        solid = to_bigint(1 << 63)
        assert is_flat(Hashes(1, 2, solid + 7, 0))
        assert is_flat(Hashes(phash=solid + 7))
        assert is_flat(Hashes(ahash=0, dhash=0))
        assert not is_flat(Hashes(ahash=1))
        assert not is_flat(Hashes(1, 2, solid + 31, 0))
        assert not is_flat(Hashes())
