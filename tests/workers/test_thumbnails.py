"""Thumbnails: in colour, upright, on white; a hostile one costs only itself."""

import io
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from archive_files import pack
from folders import paint, picture
from pictures import STORED, encode, every_format, exif_of, scene, see_through
from PIL import Image

from imgdb.errors import PictureError
from imgdb.paths import path_text
from imgdb.pictures.loader import load_stream, open_stream
from imgdb.pictures.thumbnail import Thumbnail, make_thumbnail
from imgdb.workers.thumbnails import thumbnails

FILES = every_format()
NOW = datetime.now(UTC)


def opened(content):
    return open_stream(io.BytesIO(content), byte_size=len(content), modified_at=NOW)


def small(content, side=100, **options):
    with opened(content) as source:
        return source.small(side, **options)


def shown(thumbnail):
    """Decode what a page would show."""
    assert isinstance(thumbnail, Thumbnail), thumbnail
    image = Image.open(io.BytesIO(thumbnail.content))
    assert image.size == (thumbnail.small_width, thumbnail.small_height)
    assert f"image/{image.format.lower()}" == thumbnail.media_type
    return image.convert("RGB")


def difference(a, b):
    assert a.size == b.size
    return np.abs(np.asarray(a).astype(int) - np.asarray(b)).mean()


@pytest.mark.parametrize("name", FILES)
def test_every_format_looks_as_what_is_hashed(name):
    """The grey of the small colours is the small picture of the grey that is hashed."""
    grey = load_stream(io.BytesIO(FILES[name]), byte_size=None, modified_at=NOW).grey
    decoded = small(FILES[name])
    assert (decoded.width, decoded.height) == grey.size
    assert decoded.image.mode == "RGB"
    grey.thumbnail((100, 100), Image.Resampling.LANCZOS)
    assert difference(decoded.image.convert("L"), grey) < 2.5


@pytest.mark.parametrize(
    "name", ["baseline.jpg", "rgb.png", "palette.png", "lossy.webp", "rgb.tga"]
)
def test_colours(name):
    wanted = scene()
    wanted.thumbnail((100, 100), Image.Resampling.LANCZOS)
    assert difference(small(FILES[name]).image, wanted) < (12 if "palette" in name else 3)


@pytest.mark.parametrize("orientation", STORED)
def test_upright(orientation):
    content = encode(STORED[orientation](scene()), "PNG", exif=exif_of(orientation))
    decoded = small(content)
    wanted = scene()
    wanted.thumbnail((100, 100), Image.Resampling.LANCZOS)
    assert (decoded.width, decoded.height, decoded.image.size) == (200, 150, (100, 75))
    assert difference(decoded.image, wanted) < 2


def test_transparency_lies_on_white():
    image = small(encode(see_through(scene()), "PNG")).image
    assert min(image.getpixel((50, 0))) > 240
    for content in (
        encode(Image.new("RGB", (40, 40), "red"), "PNG", transparency=(255, 0, 0)),
        encode(Image.new("L", (40, 40), 7), "PNG", transparency=7),
    ):
        assert small(content).image.getextrema() == ((255, 255),) * 3


def test_a_small_first_frame_lies_on_white():
    frame = Image.new("P", (1000, 1000))
    frame.putpalette([200, 0, 0] * 256)
    content = bytearray(encode(frame.crop((0, 0, 500, 250)), "GIF"))
    content[6:10] = (1000).to_bytes(2, "little") * 2  # the screen
    image = small(bytes(content)).image
    assert image.size == (100, 100)
    red, white = (200, 0, 0), (255, 255, 255)
    for at, colour in {(46, 21): red, (53, 10): white, (10, 28): white}.items():
        assert np.abs(np.subtract(image.getpixel(at), colour)).max() < 8, at


def test_deep_grey_is_scaled_and_not_clipped():
    ramp = Image.linear_gradient("L").resize((64, 64))
    deep = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    image = small(encode(deep, "PNG"), 64).image
    assert difference(image, Image.merge("RGB", [ramp] * 3)) < 1


@pytest.mark.parametrize("size", [(30_000, 2), (2, 30_000), (1, 1), (1921, 1080)])
def test_no_shape_is_too_odd(size):
    decoded = small(encode(picture(3, size), "PNG"), 320)
    assert (decoded.width, decoded.height) == size
    assert max(decoded.image.size) == min(320, max(size))
    assert min(decoded.image.size) >= 1


def test_a_large_jpeg_is_decoded_at_reduced_size():
    """At an eighth the time and memory, and yet it looks the same."""
    content = encode(picture(4, (6000, 4000)), "JPEG")
    with opened(content) as source:
        made = make_thumbnail(source, side=320)
    wanted = picture(4, (6000, 4000))
    wanted.thumbnail((320, 320), Image.Resampling.LANCZOS)
    assert (made.width, made.height, made.byte_size) == (6000, 4000, len(content))
    assert difference(shown(made), wanted) < 3
    assert len(made.content) < 20_000


def test_the_pixel_limit_holds():
    with pytest.raises(PictureError) as caught:
        small(FILES["rgb.png"], max_pixels=29_999)
    assert caught.value.reason == "too-large"


def test_many_at_once(tmp_path):
    files = paint(tmp_path, 7)
    strange = tmp_path / "a\\b\n<i>\udcff.png"
    strange.write_bytes(files[3].read_bytes())
    (tmp_path / "words.txt").write_text("no picture")
    texts = [path_text(path) for path in (*files, strange, tmp_path / "words.txt")]
    told = []
    made = thumbnails(
        [*texts, texts[0], str(tmp_path / "gone.png"), "bad\\spelling"],
        side=32,
        jobs=2,
        watching=told.append,
    )
    assert list(made) == [*texts, str(tmp_path / "gone.png"), "bad\\spelling"]
    for number, text in enumerate(texts[:7]):
        wanted = picture(number)
        wanted.thumbnail((32, 32), Image.Resampling.LANCZOS)
        assert difference(shown(made[text]), wanted) < 12
        assert (made[text].width, made[text].height, made[text].format) == (64, 48, "PNG")
    assert made[texts[7]].content == made[texts[3]].content
    reasons = [made[text].reason for text in list(made)[8:]]
    assert reasons == ["unknown-format", "missing", "missing"]
    assert told[-1] == len(made)


def test_nothing_to_do_starts_nothing():
    assert thumbnails([]) == {}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_members_of_archives(tmp_path, suffix):
    files = paint(tmp_path, 3)
    members = {f"in/{path.name}": path.read_bytes() for path in files}
    archive = pack(tmp_path / f"some{suffix}", {**members, "in/bad.png": b"\x89PNG", "x.txt": b"x"})
    inside = f"{archive}!/in/"
    made = thumbnails([inside + name for name in ("0002.png", "0000.png", "bad.png", "gone.png")])
    plain = thumbnails([str(files[2]), str(files[0])])
    contents = [made[inside + path.name].content for path in (files[2], files[0])]
    assert contents == [thumbnail.content for thumbnail in plain.values()]
    assert made[inside + "bad.png"].reason in ("truncated", "unknown-format")
    assert (made[inside + "gone.png"].reason, made[inside + "gone.png"].detail) == (
        "missing",
        "the archive holds no such file",
    )


def test_a_broken_archive_fails_as_a_whole(tmp_path):
    archive = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.png", FILES["rgb.png"])
    archive.write_bytes(archive.read_bytes()[:-10])
    made = thumbnails([f"{archive}!/a.png", f"{archive}!/b.png"])
    assert [error.reason for error in made.values()] == ["broken", "broken"]


def test_a_hostile_picture_costs_only_its_own(tmp_path):
    """One that takes too long is ended with its worker; the others are there."""
    slow = tmp_path / "slow.png"
    Image.new("L", (16_000, 16_000), 3).save(slow, compress_level=1)
    good = paint(tmp_path / "good", 6)
    made = thumbnails([str(slow), *map(str, good)], jobs=1, timeout=0.2)
    assert made[str(slow)].reason == "timeout"
    assert all(isinstance(made[str(path)], Thumbnail) for path in good)
