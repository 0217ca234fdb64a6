"""PDQ is Meta's, bit for bit: by vectors of pdqhash, and by the slow way to the same samples."""

import json
from pathlib import Path

import numpy as np
import pytest
from hash_pictures import KINDS, SIZES, noise, random_pictures, smooth
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgdb.errors import UsageError
from imgdb.hashes import jarosz, pdq
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.pdq import PdqReading, read_pdq
from imgdb.hashes.values import Pdq, pdq_distance, pdq_from_hex, pdq_to_hex

ROOT = Path(__file__).parents[2]
# Written by tests/make/prove_pdq.py, which asks pdqhash 0.2.8.
VECTORS = json.loads((ROOT / "tests/data/pdq.json").read_text("utf-8"))
words = st.tuples(*[st.integers(-(1 << 63), (1 << 63) - 1)] * 4)


def slow(luma: Image.Image) -> PdqReading:
    """Read a picture without the quick way."""
    if min(luma.size) < 5:
        return PdqReading((0, 0, 0, 0), 0)
    same = luma.size == (64, 64)
    return pdq._reading(jarosz.luminance(luma) if same else jarosz.samples(luma))


def sliding(lines: np.ndarray, window: int) -> np.ndarray:
    """Filter along columns, a number at a time, as Meta's code does."""
    length, ahead = len(lines), (window + 2) // 2 - 1
    means = np.empty_like(lines)
    for column, into in zip(lines.T, means.T, strict=True):
        total, size = np.float32(0), 0
        for at in range(length + ahead):
            if at < length:
                total, size = total + column[at], size + 1
            if at >= window:
                total, size = total - column[at - window], size - 1
            if at >= ahead:
                into[at - ahead] = total / np.float32(size)
    return means


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_vectors(vector):
    found = fingerprint(ROOT / vector["file"], pdq=True).pdq
    assert (pdq_to_hex(found.pdq), found.quality) == (vector["pdq"], vector["quality"])


def test_vectors_are_of_every_kind():
    assert len(VECTORS) > 80
    qualities = {vector["quality"] for vector in VECTORS}
    assert {0, 100} < qualities
    assert "0" * 64 in {vector["pdq"] for vector in VECTORS}


@pytest.mark.parametrize(("width", "height"), [(5, 9), (63, 65), (40, 130), (150, 129), (260, 31)])
def test_samples_slide_a_window_as_meta_does(width, height):
    rows = noise(np.random.default_rng(width), width, height).astype(np.float32)
    across, down = -(-width // 128), -(-height // 128)
    filtered = rows
    for _ in range(2):
        filtered = sliding(sliding(filtered.T, across).T, down)
    middles = [((np.arange(64) + 0.5) * side / 64).astype(int) for side in (height, width)]
    luma = Image.fromarray(rows.astype(np.uint8))
    assert np.array_equal(jarosz.samples(luma), filtered[np.ix_(*middles)])


@pytest.mark.parametrize("size", [(700, 400), (300, 900), (1500, 40)])
def test_blocks_change_no_sample(size, monkeypatch):
    luma = Image.fromarray(smooth(np.random.default_rng(1), *size))
    whole, near = jarosz.samples(luma), jarosz.near_samples(luma)
    for pixels in (1, 5 * size[0], 33 * size[0]):
        monkeypatch.setattr(jarosz, "_MANY", pixels)
        monkeypatch.setattr(jarosz, "_FEW", pixels)
        assert np.array_equal(jarosz.samples(luma), whole)
        assert np.abs(jarosz.near_samples(luma) - near).max() < 1e-3


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_in_every_fixed_size(kind):
    rng = np.random.default_rng(3)
    for width, height in [*SIZES, (1100, 60), (60, 1300), (640, 480)]:
        luma = Image.fromarray(kind(rng, width, height))
        assert read_pdq(luma) == slow(luma), luma.size


@pytest.mark.parametrize("seed", range(3))
def test_random_pictures(seed):
    for luma in random_pictures(200, seed=seed, largest=400):
        assert read_pdq(luma) == slow(luma), luma.size


def test_the_quick_way_is_near_enough_and_is_taken():
    taken = 0
    for luma in random_pictures(200, seed=5, largest=700):
        if min(luma.size) >= 5 and luma.size != (64, 64):
            margin = pdq._margin(luma)
            near, exact = jarosz.near_samples(luma), jarosz.samples(luma)
            assert np.abs(near - exact).max() < margin / 5
            off = pdq._BASIS @ near @ pdq._BASIS.T - pdq._coefficients(exact)
            assert np.abs(off).max() < margin / 5
            taken += pdq._certain_reading(near, margin) is not None
    assert taken > 20


def test_colours_are_not_rounded_to_grey_first():
    rng = np.random.default_rng(7)
    luma = Image.merge("RGB", [Image.fromarray(noise(rng, 90, 70)) for _ in range(3)])
    pixels = np.asarray(luma).astype(float) @ (0.299, 0.587, 0.114)
    assert np.array_equal(jarosz.luminance(luma), pixels.astype(np.float32))
    assert read_pdq(luma) == slow(luma)


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (300, 4), (3, 3)])
def test_too_few_pixels(size):
    luma = Image.fromarray(noise(np.random.default_rng(1), *size))
    assert read_pdq(luma) == PdqReading((0, 0, 0, 0), 0)


def test_pdq_is_made_only_when_asked_for():
    assert fingerprint(ROOT / "examples/query.jpg").pdq is None


def test_a_scaled_picture_has_nearly_the_same_pdq(tmp_path):
    rng = np.random.default_rng(9)
    large = Image.merge(
        "RGB", [Image.fromarray(smooth(rng, 60, 50)).resize((2400, 2000)) for _ in range(3)]
    )
    large.save(tmp_path / "large.jpg", quality=95)
    exact, scaled = (
        fingerprint(tmp_path / "large.jpg", decode=decode, pdq=True).pdq
        for decode in ("exact", "scaled")
    )
    assert pdq_distance(exact.pdq, scaled.pdq) <= 8


@given(words)
def test_hex_there_and_back(value: Pdq):
    text = pdq_to_hex(value)
    assert len(text) == 64
    assert pdq_from_hex(text) == pdq_from_hex(text.upper()) == value


@given(words, words)
def test_distance(a: Pdq, b: Pdq):
    bits = int(pdq_to_hex(a), 16) ^ int(pdq_to_hex(b), 16)
    assert pdq_distance(a, b) == bits.bit_count()


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "g" * 64, "0" * 62 + "0x", "\u0660" * 64])
def test_bad_hex(text):
    with pytest.raises(UsageError, match="not a PDQ hash of 64 hex digits"):
        pdq_from_hex(text)
