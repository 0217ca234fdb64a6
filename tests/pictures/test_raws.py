"""A camera raw is told from a picture by its structure; its preview is never taken for it."""

from datetime import UTC, datetime
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import imagehash
import pytest
from pictures import encode, load, scene
from PIL import Image
from raw_files import LINEAR_RAW, SENSOR_COLOURS, Directory, directory_file, dng, rgb, sensor

from imgdb.errors import PictureError
from imgdb.hashes.fingerprint import fingerprint, recipes
from imgdb.ingest.walk import looks_like_picture
from imgdb.pictures import development, loader
from imgdb.pictures.raws import SUFFIXES
from imgdb.pictures.thumbnail import make_thumbnail

needs_rawpy = pytest.mark.skipif(find_spec("rawpy") is None, reason="needs rawpy")

PICTURE = scene((600, 400))
SMALL = scene((160, 107))
ANY = bytes(400)

PREVIEW: Directory = {**rgb(SMALL), 254: 1}
RAWS = {
    "DNG": dng(PICTURE),
    "DNG by its version": directory_file([{**rgb(PICTURE), 50706: b"\1\4\0\0"}]),
    "NEF, its sensor unread": directory_file([{**PREVIEW, 330: [{**rgb(PICTURE), 259: 34713}]}]),
    "NEF, cut off": directory_file([{**PREVIEW, 330: (60_000,)}]),
    "DCR": directory_file([{**rgb(SMALL), 330: [{256: 600, 257: 400, 262: SENSOR_COLOURS}]}]),
    "ARW, its preview unmarked": directory_file([{**rgb(SMALL), 330: [rgb(PICTURE)]}]),
    "PEF": directory_file([sensor(PICTURE), PREVIEW]),
    "linear": directory_file([PREVIEW, {256: 600, 257: 400, 262: LINEAR_RAW}]),
    "CR2": directory_file([rgb(SMALL)], b"II*\0\x10\0\0\0CR\2\0" + bytes(4)),
    "IIQ": directory_file([rgb(SMALL)], b"II*\0\x10\0\0\0IIIICwaR"),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + ANY,
    "CRW": b"II\x1a\0\0\0HEAPCCDR" + ANY,
    "MRW": b"\0MRM\0\0\x0a\x0c\0PRD" + ANY,
    "ORF": b"IIRO\x08\0\0\0" + ANY,
    "older ORF": b"MMOR\0\0\0\x08" + ANY,
    "RAF": b"FUJIFILMCCD-RAW 0201" + ANY,
    "RW2": b"IIU\0\x18\0\0\0" + ANY,
    "X3F": b"FOVb\0\0\2\0" + ANY,
}


@pytest.fixture
def without_rawpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development, "find_spec", lambda name: None)


@pytest.mark.parametrize("name", RAWS)
@pytest.mark.usefixtures("without_rawpy")
def test_raws_are_not_read_as_their_previews(name: str) -> None:
    with pytest.raises(PictureError, match="a camera raw: needs the package rawpy") as caught:
        load(RAWS[name])
    assert caught.value.reason == "unsupported-format"


@needs_rawpy
@pytest.mark.parametrize("name", RAWS)
def test_raws_that_are_none_are_refused(name: str) -> None:
    if name in ("DNG", "PEF"):
        assert load(RAWS[name]).format == "RAW"
        return
    with pytest.raises(PictureError, match=r"(?i)raw") as caught:
        load(RAWS[name])
    assert caught.value.reason in ("unsupported-format", "broken", "truncated")


@needs_rawpy
def test_a_raw_looks_like_its_picture() -> None:
    for jpeg in (b"", encode(PICTURE, "JPEG"), encode(PICTURE.resize((1200, 800)), "JPEG")):
        picture = load(dng(PICTURE, jpeg=jpeg))
        assert (picture.format, picture.width, picture.height) == ("RAW", 600, 400)
        distance = imagehash.phash(picture.grey) - imagehash.phash(PICTURE.convert("L"))
        assert distance <= 4
        assert picture.frames == 1


@needs_rawpy
@pytest.mark.parametrize("number", [3, 6, 8])
def test_a_raw_stands_upright(number: int) -> None:
    upright = {
        3: PICTURE.rotate(180),
        6: PICTURE.transpose(Image.Transpose.ROTATE_270),
        8: PICTURE.transpose(Image.Transpose.ROTATE_90),
    }[number]
    wanted = imagehash.phash(upright.convert("L"))
    turned_already = encode(upright.resize((upright.width * 2, upright.height * 2)), "JPEG")
    as_measured = encode(PICTURE.resize((1200, 800)), "JPEG")
    for jpeg in (b"", as_measured, *([turned_already] if number != 3 else [])):
        picture = load(dng(PICTURE, orientation=number, jpeg=jpeg))
        assert (picture.width, picture.height) == upright.size
        # Half of what was measured, or the preview.
        assert picture.grey.width == (upright.width * 2 if jpeg else upright.width // 2)
        assert imagehash.phash(picture.grey) - wanted <= 4


@needs_rawpy
def test_a_raw_that_is_cut_off_is_refused_even_if_its_preview_is_whole() -> None:
    content = dng(PICTURE, jpeg=encode(PICTURE.resize((1200, 800)), "JPEG"))
    assert load(content).grey.size == (1200, 800)
    with pytest.raises(PictureError) as caught:
        load(content[:-1000])
    assert caught.value.reason == "truncated"


@needs_rawpy
def test_a_raw_has_a_recipe_of_its_own_and_regions_in_its_own_pixels(tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.DNG"
    path.write_bytes(dng(PICTURE, jpeg=encode(PICTURE.resize((1200, 800)), "JPEG")))
    for decode in ("exact", "scaled"):
        assert fingerprint(path, decode=decode).recipe == "raw-1"
        assert "raw-1" in recipes(decode)
    found = fingerprint(path, regions=True).regions
    assert found
    assert max(region.left + region.width for region in found) <= 600
    assert max(region.top + region.height for region in found) <= 400


@needs_rawpy
def test_a_raw_has_a_thumbnail() -> None:
    content = dng(PICTURE)
    with loader.open_stream(
        BytesIO(content), byte_size=len(content), modified_at=datetime.now(UTC)
    ) as source:
        made = make_thumbnail(source, side=100)
    assert (made.format, made.width, made.small_width) == ("RAW", 600, 100)


def test_a_tiff_that_only_its_name_calls_a_raw(tmp_path: Path) -> None:
    # Sony's SRF and others: nothing inside tells them from a TIFF of a small picture.
    for name in ("DSC1.SRF", "DSC1.tif"):
        (tmp_path / name).write_bytes(directory_file([rgb(SMALL)]))
    assert loader.load(tmp_path / "DSC1.tif").format == "TIFF"
    with pytest.raises(PictureError, match=r"(?i)raw"):
        loader.load(tmp_path / "DSC1.SRF")


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_a_raw_that_cannot_be_read_is_told(suffix: str) -> None:
    assert looks_like_picture(f"/photos/IMG_1{suffix.upper()}")


def test_a_first_page_that_is_a_preview_of_another_one() -> None:
    with pytest.raises(PictureError, match="preview") as caught:
        load(directory_file([PREVIEW, rgb(PICTURE)]))
    assert caught.value.reason == "unsupported-format"


@pytest.mark.parametrize(
    "pages, frames",
    [
        ([rgb(PICTURE)], 1),
        ([PREVIEW], 1),  # a small copy of nothing
        ([rgb(PICTURE), PREVIEW], 1),
        ([rgb(PICTURE), {**rgb(SMALL), 254: 4}], 1),  # a mask
        ([rgb(PICTURE), {**rgb(SMALL), 255: 2}], 1),
        ([{**rgb(PICTURE), 330: [PREVIEW]}], 1),  # smaller and smaller copies
        ([rgb(SMALL), rgb(PICTURE)], 2),
        ([{**rgb(SMALL), 254: 2}, {**rgb(PICTURE), 254: 2}], 2),
    ],
)
def test_pages_are_counted_without_copies_and_masks(pages: list[Directory], frames: int) -> None:
    picture = load(directory_file(pages))
    assert (picture.format, picture.frames) == ("TIFF", frames)


def test_pictures_that_came_from_a_raw_are_pictures() -> None:
    exif = Image.Exif()
    exif[271], exif[272] = "NIKON CORPORATION", "NIKON D70"
    for kind in ("TIFF", "JPEG"):
        assert load(encode(PICTURE, kind, exif=exif)).format == kind
