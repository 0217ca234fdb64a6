"""Edited copies: each edit does what it says, and what is hashed is what a file would give."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pictures import scene
from PIL import Image

from imgdb.errors import UsageError
from imgdb.hashes.copies import SIDE, hash_copies, read_copy
from imgdb.hashes.fingerprint import fingerprint
from imgdb.hashes.values import ALGORITHMS, bit_distance
from imgdb.pictures import loader
from imgdb.pictures.edits import BY_NAME, EDITS, chosen, encoded
from imgdb.search.images import query_by_file
from imgdb.search.parts import region_query


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    """Forget the limit that a test of the loader has left behind in Pillow."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)


def edited(name, picture=None):
    return Image.open(BytesIO(encoded(BY_NAME[name], picture or scene())))


def mean(picture):
    return np.asarray(picture.convert("L"), dtype=float).mean()


def spread(picture):
    return np.asarray(picture.convert("L"), dtype=float).std()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("png", (200, 150)),
        ("jpeg-30", (200, 150)),
        ("scale-0.25", (50, 38)),
        ("scale-0.5", (100, 75)),
        ("scale-2", (400, 300)),
        ("crop-2", (196, 147)),
        ("crop-5", (190, 143)),
        ("crop-10", (180, 135)),
        ("crop-20", (160, 120)),
        ("border-2", (206, 156)),
        ("border-5", (214, 164)),
        ("border-10", (230, 180)),
        ("watermark-corner", (200, 150)),
        ("flip", (200, 150)),
    ],
)
def test_size(name, size):
    assert edited(name).size == size


def test_formats_and_qualities():
    assert edited("png").format == "PNG"
    assert np.array_equal(np.asarray(edited("png")), np.asarray(scene()))
    sizes = [len(encoded(BY_NAME[f"jpeg-{quality}"], scene())) for quality in (90, 70, 50, 30)]
    assert sizes == sorted(sizes, reverse=True)
    assert {edited(edit.name).format for edit in EDITS if edit.name != "png"} == {"JPEG"}


def test_crop_is_uneven():
    """A third is cut off at the left and at the top, the rest at the right and at the bottom."""
    kept = np.asarray(edited("crop-20"), dtype=float)
    assert np.abs(kept - np.asarray(scene(), dtype=float)[10:130, 13:173]).mean() < 3


def test_light_and_contrast():
    before = scene()
    assert mean(edited("brightness-70")) == pytest.approx(0.7 * mean(before), rel=0.02)
    assert mean(edited("brightness-130")) > 1.1 * mean(before)
    assert spread(edited("contrast-70")) == pytest.approx(0.7 * spread(before), rel=0.02)
    assert spread(edited("contrast-130")) > spread(before)


def test_blur_takes_edges_away():
    def edges(picture):
        return np.abs(np.diff(np.asarray(picture.convert("L"), dtype=float), axis=1)).mean()

    assert edges(edited("jpeg-90")) > edges(edited("blur-0.5")) > edges(edited("blur-1"))


@pytest.mark.parametrize(
    ("name", "untouched", "touched"),
    [
        ("watermark-corner", (0, 0, 140, 100), (148, 112, 200, 146)),
        ("watermark-across", (0, 0, 200, 40), (40, 52, 160, 98)),
    ],
)
def test_watermark_is_pale_and_where_it_should_be(name, untouched, touched):
    dark = Image.new("RGB", (200, 150), (40, 60, 80))
    marked = edited(name, dark)
    assert np.ptp(np.asarray(marked.crop(untouched).convert("L"))) < 12
    sign = np.asarray(marked.crop(touched).convert("L"), dtype=int)
    assert sign.max() > 100, "it shows"
    assert sign.max() < 250, "what is below shines through"


def test_border_is_white():
    bordered = np.asarray(edited("border-10").convert("L"))
    assert bordered[:13].min() > 240 and bordered[:, -13:].min() > 240
    assert bordered[17:-17, 17:-17].min() < 10


def test_flip_mirrors():
    mirrored = np.asarray(edited("flip"), dtype=float)
    assert np.abs(mirrored - np.asarray(scene(), dtype=float)[:, ::-1]).mean() < 3


def test_what_no_hash_finds_does_not_count(tmp_path):
    scene().save(tmp_path / "a.png")
    original = fingerprint(tmp_path / "a.png")
    copy = read_copy(BY_NAME["flip"], scene())
    apart = [bit_distance(getattr(original, n), getattr(copy.hashes, n)) for n in ALGORITHMS]
    assert min(apart) > 10
    assert [edit.name for edit in EDITS if not edit.counts] == ["flip"]


def test_the_hashes_are_those_of_the_file(tmp_path):
    """What is measured is what would be stored and what would be asked for."""
    for edit in EDITS:
        file = tmp_path / "copy"
        file.write_bytes(encoded(edit, scene()))
        stored = fingerprint(file, pdq=True)
        measured = read_copy(edit, scene(), pdq=True, regions=True)
        assert (stored.width, stored.height) == (measured.width, measured.height)
        for name in ALGORITHMS:
            assert getattr(stored, name) == getattr(measured.hashes, name), (edit.name, name)
        assert stored.pdq.pdq == measured.pdq
        assert list(measured.regions) == region_query(file).regions
        asked = query_by_file(file)
        within = [look.hashes for look in asked.looks if look.relation == "part"]
        assert list(measured.trimmed) == within, edit.name


def test_saved_without_loss_is_at_distance_0(tmp_path):
    for mode in ("RGB", "L", "P", "CMYK"):
        file = tmp_path / f"{mode}.tif"
        scene().convert(mode).save(file)
        with loader.open_source(file) as source:
            copies = hash_copies(source, ("png",), ALGORITHMS)
            assert copies.sha256 == source.sha256
        original = fingerprint(file)
        for name in ALGORITHMS:
            assert (
                bit_distance(getattr(copies.copies[0].hashes, name), getattr(original, name)) <= 1
            )


def test_large_pictures_are_reduced_first(tmp_path):
    large = scene((2 * SIDE, 60))
    large.save(tmp_path / "large.png")
    with loader.open_source(tmp_path / "large.png") as source:
        copies = hash_copies(source, ("png", "flip"), ("phash",))
    assert [copy.hashes.phash is None for copy in copies.copies] == [False, False]
    assert copies.copies[0].hashes.dhash is None
    reduced = read_copy(BY_NAME["png"], large.resize((SIDE, 30), Image.Resampling.LANCZOS))
    assert bit_distance(copies.copies[0].hashes.phash, reduced.hashes.phash) <= 4


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_every_edit_takes_the_smallest_pictures(size):
    for edit in EDITS:
        assert read_copy(edit, scene((20, 20)).resize(size)).width >= 1


def test_the_page_lists_the_edits():
    page = (Path(__file__).parents[2] / "docs" / "calibrate.md").read_text("utf-8")
    told = re.findall(r"^\| `([a-z0-9.-]+)` \| (.*) \|$", page, re.MULTILINE)
    assert told == [(edit.name, edit.words) for edit in EDITS]


def test_names():
    assert len(BY_NAME) == len(EDITS)
    assert chosen(None) == EDITS
    assert [edit.name for edit in chosen("crop-5, jpeg")] == [
        "jpeg-90", "jpeg-70", "jpeg-50", "jpeg-30", "crop-5",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="no such edit: crop-6; choose from format, jpeg"):
        chosen("crop-6")
    with pytest.raises(UsageError, match="no edit is chosen"):
        chosen(" ,")
