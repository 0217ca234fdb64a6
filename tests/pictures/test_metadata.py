"""Which kinds of metadata a file has, in every format that can hold them."""

from io import BytesIO

import pytest
from PIL import Image

from imgdb.errors import PictureError
from imgdb.pictures.loader import open_source
from imgdb.pictures.metadata import DATE, PLACE, RATING, XMP

PACKET = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d %s/></x:xmpmeta>'
FORMATS = ["JPEG", "WEBP", "AVIF", "HEIF", "PNG", "TIFF"]


def exif(**kinds):
    made = Image.Exif()
    if rating := kinds.get("rating"):
        made[0x4746] = rating
    if date := kinds.get("date"):
        made.get_ifd(0x8769)[36867] = date
    if place := kinds.get("place"):
        made.get_ifd(0x8825).update({1: "N", 2: place, 3: "E", 4: place})
    return made


def kinds(tmp_path, format="JPEG", **options):
    image = Image.new("RGB", (64, 48), "teal")
    encoded = BytesIO()
    image.save(encoded, format, **options)
    path = tmp_path / f"picture.{format.lower()}"
    path.write_bytes(encoded.getvalue())
    with open_source(path) as source:
        return set(source.metadata().kinds)


@pytest.fixture(autouse=True)
def heif():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()


@pytest.mark.parametrize("format", FORMATS)
def test_exif_of_each_format(tmp_path, format):
    given = exif(rating=4, date="2024:02:29 12:30:00", place=(48.0, 8.0, 20.5))
    options = {"exif": given}
    if format == "TIFF":  # Pillow writes the inner directories of a TIFF from their tags only
        ifd = Image.Exif()
        ifd[0x4746] = 4
        assert kinds(tmp_path, format, tiffinfo=ifd, exif=ifd) == {RATING}
        return
    assert kinds(tmp_path, format, **options) == {DATE, PLACE, RATING}
    assert kinds(tmp_path, format) == set()


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("packet", "found"),
    [
        (b"", {XMP}),
        (b"xmp:Rating='3'", {XMP, RATING}),
        (b'xmp:Rating="0"', {XMP}),
        (b'exif:DateTimeOriginal="2024-02-29" exif:GPSLatitude="48,8N"', {XMP, DATE, PLACE}),
    ],
)
def test_xmp(tmp_path, format, packet, found):
    assert kinds(tmp_path, format, xmp=PACKET % packet) == found


@pytest.mark.parametrize(
    "nothing",
    [
        {"date": "0000:00:00 00:00:00"}, {"date": "    :  :     :  :  "},
        {"place": (0.0, 0.0, 0.0)}, {"rating": 0},
    ],
)  # fmt: skip
def test_what_was_never_set_does_not_count(tmp_path, nothing):
    assert kinds(tmp_path, exif=exif(**nothing)) == set()


def test_a_damaged_file_is_a_picture_error(tmp_path):
    kinds(tmp_path, exif=exif(rating=4))
    path = tmp_path / "picture.jpeg"
    path.write_bytes(path.read_bytes()[:40])
    with open_source(path) as source, pytest.raises(PictureError):
        source.metadata()
