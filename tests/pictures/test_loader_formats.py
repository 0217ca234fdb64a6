"""Every format gives the same scene, with the numbers of the file, whatever the file is called."""

import imagehash
import numpy as np
import pytest
from pictures import SIZE, bmp, encode, every_format, grey_array, grey_tiff, load, scene
from PIL import Image, features
from raw_files import directory_file, rgb

from imgdb.errors import PictureError
from imgdb.pictures.decoding import prepare
from imgdb.pictures.formats import FORMATS

FILES = every_format()
KINDS = {
    "jpg": "JPEG",
    "mpo": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "bmp": "BMP",
    "ico": "ICO",
    "ppm": "PPM",
    "pgm": "PPM",
    "pbm": "PPM",
    "pfm": "PPM",
    "tga": "TGA",
    "jp2": "JPEG2000",
    "j2k": "JPEG2000",
    "avif": "AVIF",
    "tif": "TIFF",
}
LOSSLESS = [
    "rgb.png",
    "animated.png",
    "rgb.bmp",
    "rgb.ppm",
    "grey.pgm",
    "rgb.tga",
    "runs.tga",
    "rgb.tif",
    "pages.tif",
    "big.tif",
    "tiff_lzw.tif",
    "tiff_adobe_deflate.tif",
    "packbits.tif",
]


@pytest.mark.parametrize("name", FILES)
def test_every_format_shows_the_scene(name: str) -> None:
    picture = load(FILES[name])
    suffix = name.rpartition(".")[2]
    assert picture.format == KINDS[suffix]
    assert (picture.width, picture.height) == picture.grey.size
    assert picture.grey.size == ((64, 48) if suffix == "ico" else SIZE)
    assert picture.frames == (2 if name.startswith(("two", "animated", "pages")) else 1)
    if name.startswith("alpha"):
        return
    wanted = imagehash.phash(scene().resize(picture.grey.size))
    # Dithered to two colours the scene is another one.
    assert imagehash.phash(picture.grey) - wanted <= (16 if name in ("bits.pbm", "fax.tif") else 6)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_give_the_very_grey_of_pillow(name: str) -> None:
    assert np.array_equal(np.asarray(load(FILES[name]).grey), grey_array())


def test_every_format_of_the_list_is_tried() -> None:
    assert {load(content).format for content in FILES.values()} | {"HEIF", "RAW"} == set(FORMATS)


def test_heif_or_a_word_on_what_it_needs() -> None:
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        heif = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
        with pytest.raises(PictureError, match="imgdb\\[heif\\]") as caught:
            load(heif)
        assert caught.value.reason == "unsupported-format"
        return
    prepare()
    picture = load(encode(scene(), "HEIF", quality=90))
    assert (picture.format, picture.grey.size, picture.frames) == ("HEIF", SIZE, 1)
    assert imagehash.phash(picture.grey) - imagehash.phash(scene()) <= 2


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow without JPEG 2000")
def test_deep_jpeg_2000() -> None:
    deep = Image.fromarray(grey_array().astype(np.uint16) * 257)
    assert np.array_equal(np.asarray(load(encode(deep, "JPEG2000")).grey), grey_array())


def test_scaled_decodes_big_jpegs_to_no_less_than_512() -> None:
    content = encode(scene((2600, 1100)), "JPEG")
    exact, scaled = load(content), load(content, "scaled")
    assert exact.grey.size == (2600, 1100)
    assert scaled.grey.size == (1300, 550)
    assert (scaled.width, scaled.height) == (2600, 1100)
    assert imagehash.phash(scaled.grey) - imagehash.phash(exact.grey) <= 2
    assert load(encode(scene((2600, 1100)), "PNG"), "scaled").grey.size == (2600, 1100)


def test_scaled_leaves_small_jpegs_alone() -> None:
    content = encode(scene((900, 500)), "JPEG")
    assert load(content, "scaled").grey.tobytes() == load(content).grey.tobytes()


def test_scaled_turns_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scaled = load(encode(scene((2048, 1025)), "JPEG", exif=exif), "scaled")
    assert scaled.grey.size == (513, 1024)
    assert (scaled.width, scaled.height) == (1025, 2048)


def test_what_is_known_but_not_read() -> None:
    for content, words in [
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
    ]:
        with pytest.raises(PictureError, match=words) as caught:
            load(content)
        assert caught.value.reason == "unsupported-format"


def colour_tiff(kind: type[np.generic], sample_format: int, compression: int = 1) -> bytes:
    return directory_file([
        {
            **rgb(scene()),
            258: (np.dtype(kind).itemsize * 8,) * 3,
            259: compression,
            273: np.asarray(scene()).astype(kind).tobytes(),
            339: (sample_format,) * 3,
        }
    ])  # fmt: skip


def jpeg_of_frame(marker: int, depth: int = 8) -> bytes:
    content = bytearray(encode(scene(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 1], content[frame + 4] = marker, depth
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        colour_tiff(np.float16, 3),
        colour_tiff(np.float32, 3),
        colour_tiff(np.float64, 3),
        colour_tiff(np.uint32, 1),
        colour_tiff(np.int16, 2),
        colour_tiff(np.uint8, 1, compression=50002),
        grey_tiff(np.zeros((4, 4)), 64, sample_format=3),
        jpeg_of_frame(0xC3),
        jpeg_of_frame(0xF7),
        jpeg_of_frame(0xC1, depth=12),
        bmp(4, 4, 64, 0, bytes(128), b""),
        bmp(4, 4, 0, 4, bytes(128), b""),
    ],
)
def test_kinds_of_a_format_that_are_not_read_are_not_called_damaged(content: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        load(content)
    assert caught.value.reason == "unsupported-format"


def test_what_belongs_to_the_picture_of_an_mpo_is_no_frame() -> None:
    map_of_gains = b'<x:xmpmeta><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    gains, other = scene((50, 40)), scene().rotate(180)
    gains.info["comment"] = map_of_gains
    for further, frames in [([other], 2), ([gains], 1), ([gains, other], 2)]:
        content = encode(scene(), "MPO", save_all=True, append_images=further)
        assert load(content).frames == frames


@pytest.mark.parametrize(
    "content",
    [
        b"BMW is a maker of cars.\n",
        b"P3 is the third letter of the exam.\n",
        b"GIF is pronounced with a soft g.\n",
        b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100),
        b"\0\0\1\xba" + bytes(100),
        b"\0\1\0\0\0\x0f" + bytes(100),
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(100),
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0" * 4096,
    ],
)
def test_what_is_no_picture_is_quietly_unknown(content: bytes) -> None:
    with pytest.raises(PictureError) as caught:
        load(content)
    assert caught.value.reason == "unknown-format"
