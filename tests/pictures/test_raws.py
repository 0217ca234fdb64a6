"""A camera raw is told from a picture by its structure; its preview is never taken for it."""

from pathlib import Path

import pytest
from pictures import encode, load, scene
from PIL import Image
from raw_files import LINEAR_RAW, SENSOR_COLOURS, Directory, directory_file, dng, rgb, sensor

from imgdb.errors import PictureError
from imgdb.ingest.walk import looks_like_picture
from imgdb.pictures import loader
from imgdb.pictures.raws import SUFFIXES

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


@pytest.mark.parametrize("name", RAWS)
def test_raws_are_not_read_as_their_previews(name: str) -> None:
    with pytest.raises(PictureError, match="raw") as caught:
        load(RAWS[name])
    assert caught.value.reason == "unsupported-format"


def test_a_tiff_that_only_its_name_calls_a_raw(tmp_path: Path) -> None:
    # Sony's SRF and others: nothing inside tells them from a TIFF of a small picture.
    for name in ("DSC1.SRF", "DSC1.tif"):
        (tmp_path / name).write_bytes(directory_file([rgb(SMALL)]))
    assert loader.load(tmp_path / "DSC1.tif").format == "TIFF"
    with pytest.raises(PictureError, match="raw"):
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
