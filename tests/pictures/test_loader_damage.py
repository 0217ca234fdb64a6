"""Damaged and hostile files are refused for the right reason, and whole ones are not."""

import os
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from pictures import SIZE, bmp, chunk, encode, every_format, load, png, scene, tiff
from PIL import Image, UnidentifiedImageError

from imgdb.errors import PictureError
from imgdb.pictures import loader
from imgdb.pictures.decoding import prepare
from imgdb.pictures.limits import MAX_PIXELS, PIXELS_IN_A_BYTE
from imgdb.pictures.reasons import REASONS, picture_errors, reason_in_words
from imgdb.pictures.structure import webp_size

FILES = every_format()
PIXELS = SIZE[0] * SIZE[1]
NOW = datetime.now(UTC)


def reason(content: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
    try:
        loader.load_stream(BytesIO(content), byte_size=None, modified_at=NOW, max_pixels=max_pixels)
    except PictureError as error:
        assert "\n" not in str(error)
        assert error.reason in REASONS
        return error.reason
    return "accepted"


@pytest.mark.parametrize("name", FILES)
def test_no_part_of_a_file_passes_for_another_picture(name: str) -> None:
    """Cut anywhere, a file is refused, or (its tail was no picture) shows what the whole shows."""
    content = FILES[name]
    whole = load(content).grey.tobytes()
    for percent in (99, 97, 90, 75, 50, 25, 10, 3):
        part = content[: len(content) * percent // 100]
        try:
            assert load(part).grey.tobytes() == whole, percent
        except PictureError as error:
            assert error.reason in ("truncated", "broken"), (percent, error)


@pytest.mark.parametrize("name", ["baseline.jpg", "rgb.png", "lossy.webp", "rgb.jp2", "still.avif"])
def test_one_missing_byte_is_noticed(name: str) -> None:
    assert reason(FILES[name][:-1]) == "truncated"


@pytest.mark.parametrize("name", ["animated.png", "animated.gif", "animated.webp"])
def test_an_animation_of_which_the_second_half_is_missing(name: str) -> None:
    content = FILES[name]
    assert reason(content[: len(content) * 6 // 10]) == "truncated"


def test_a_tiny_jpeg_without_its_end() -> None:
    """So small that the decoder never asks for the end marker."""
    content = encode(Image.linear_gradient("L").resize((96, 64)), "JPEG")
    assert reason(content) == "accepted"
    assert reason(content[:-1]) == "truncated"
    assert reason(content + bytes(100_000)) == "accepted"


def test_the_end_of_a_thumbnail_is_not_the_end_of_a_jpeg() -> None:
    exif = Image.Exif()
    exif[0x010E] = "thumbnail \xff\xd9"
    content = encode(scene(), "JPEG")
    marker = b"Exif\0\0" + encode(Image.new("L", (8, 8)), "JPEG")
    with_thumbnail = content[:2] + b"\xff\xe1" + struct.pack(">H", len(marker) + 2) + marker
    assert reason(with_thumbnail + content[2:]) == "accepted"
    assert reason(with_thumbnail + content[2:-2]) == "truncated"


def test_checksums_of_png() -> None:
    content = FILES["rgb.png"]
    at = content.index(b"IDAT")
    length = int.from_bytes(content[at - 4 : at], "big")
    damaged = bytearray(content)
    damaged[at + 4 + length] ^= 1
    assert reason(bytes(damaged)) == "broken"
    ancillary = bytearray(png(1, 1, 8, 0, b"\x7f", (b"tEXt", b"a\0b")))
    ancillary[ancillary.index(b"tEXt") + 6] ^= 1
    assert reason(bytes(ancillary)) == "broken"
    assert reason(content[:-12]) == "truncated"
    assert reason(content + b"more") == "accepted"


def test_png_whose_data_cannot_fill_it() -> None:
    """Damage by fuzzing: the compressed stream ends, and 33 million rows come out black."""
    small = png(2, 2, 8, 6, bytes(16))
    header = struct.pack(">IIBBBBB", 2, 1_000_000, 8, 6, 0, 0, 0)
    assert reason(small[:8] + chunk(b"IHDR", header) + small[33:]) == "truncated"
    header = struct.pack(">IIBBBBB", 2, 33_554_434, 8, 6, 0, 0, 0)
    assert reason(small[:8] + chunk(b"IHDR", header) + small[33:]) == "too-large"


def test_a_grey_gif_frame_under_a_coloured_palette() -> None:
    """Damage by fuzzing: Pillow hung the global palette on a picture that it called grey."""
    ramp = bytes(value for value in range(256) for _ in range(3))
    content = encode(Image.linear_gradient("L"), "GIF", optimize=False, interlace=False)
    colours = bytes(range(255, -1, -1)) * 3
    local = b"\x2c" + struct.pack("<4HB", 0, 0, 256, 256, 0x87) + ramp
    at = content.index(b"\x2c" + bytes(4) + struct.pack("<2H", 256, 256)) + 10
    body = content[:10] + b"\xf7\0\0" + colours + local + content[at:]
    picture = load(body)
    assert picture.grey.mode == "L"
    assert picture.grey.tobytes() == Image.linear_gradient("L").tobytes()


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith(".ico")])
def test_the_pixel_limit_holds_for_every_format(name: str) -> None:
    assert reason(FILES[name], max_pixels=PIXELS) == "accepted"
    assert reason(FILES[name], max_pixels=PIXELS - 1) == "too-large"


def test_the_pixel_limit_holds_for_heif() -> None:
    pytest.importorskip("pillow_heif")
    prepare()
    content = encode(scene(), "HEIF")
    assert reason(content, max_pixels=PIXELS) == "accepted"
    assert reason(content, max_pixels=PIXELS - 1) == "too-large"


def icon_of(content: bytes) -> bytes:
    """An icon that says 16 x 16 and holds something else."""
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


def large_png() -> bytes:
    return png(30_000, 30_000, 1, 0, b"")


def swollen(name: str, layout: str, size: tuple[int, int], side: int = 60_000) -> bytes:
    """Write a large size where the file has its size."""
    return FILES[name].replace(struct.pack(layout, *size), struct.pack(layout, side, side))


BOMBS = {
    "png": large_png(),
    "icon": icon_of(large_png()),
    "icon of a bitmap": icon_of(struct.pack("<IiiHHIIiiII", 40, 30_000, 60_000, 1, 1, *[0] * 6)),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 30_000, 30_000, 0, 0, 0)
    + b"\x2c" + struct.pack("<4HB", 0, 0, 30_000, 30_000, 0) + b"\2\1\0\0;",
    "gif frame": b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    + b"\x2c" + struct.pack("<4HB", 0, 0, 60_000, 60_000, 0) + b"\2\1\0\0;",
    "bmp": bmp(30_000, 30_000, 1, 0, b"", bytes(8)),
    "bmp of runs": bmp(30_000, 30_000, 8, 1, b"\0\1", b""),
    "bmp of fields": bmp(30_000, 30_000, 32, 3, b"", bytes(12)),
    "bmp upside down": bmp(30_000, -30_000, 8, 1, b"\0\1", b""),
    "ppm": b"P6 30000 30000 255\n",
    "deep ppm": b"P6 30000 30000 65535\n",
    "plain ppm": b"P3 30000 30000 255\n",
    "pbm": b"P4 60000 60000\n",
    "pfm": b"Pf 30000 30000 -1.0\n",
    "targa": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 30_000, 30_000, 24, 0),
    "targa of runs": struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, 30_000, 30_000, 24, 0),
    "webp": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\2\0\0\0"
    + b"\x5f\xea\0" * 2 + b"VP8L" + struct.pack("<I", 0),
    "jpeg": swollen("baseline.jpg", ">HH", SIZE[::-1]),
    "jpeg 2000": swollen("rgb.jp2", ">II", SIZE[::-1]),
    "jpeg 2000 codestream": swollen("rgb.jp2", ">II", SIZE),
    "strip of a pixel": png(1, 2_000_000, 1, 0, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_headers(name: str) -> None:
    # A header that contradicts another is enough to refuse them, as long as nothing is decoded.
    contradicts = name == "jpeg 2000 codestream"
    assert reason(BOMBS[name]) == ("broken" if contradicts else "too-large")


def test_a_progressive_jpeg_of_many_scans_is_refused() -> None:
    """Each scan of 12 bytes is a pass over 256 million pixels."""
    small = FILES["progressive.jpg"]
    scan = small[small.rindex(b"\xff\xda") : -2]
    assert reason(small[:-2] + scan + small[-2:]) == "accepted"
    large = swollen("progressive.jpg", ">HH", SIZE[::-1], 16_000)
    assert reason(large[:-2] + scan * 100 + large[-2:]) == "broken"


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0"}])
def test_the_size_of_a_webp_is_known_before_it_is_opened(options: dict) -> None:
    assert webp_size(encode(scene(), "WEBP", **options)) == SIZE


def test_a_huge_tiff_is_refused_by_its_header() -> None:
    size = dict.fromkeys((256, 257), (4, 1, 60000))
    assert reason(with_tags({})) == "accepted"
    assert reason(with_tags(size)) == "too-large"


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    """What is refused by its header is refused in 400 MiB of address space, imports included."""
    for number, content in enumerate([*BOMBS.values(), png(2, 1_000_000, 8, 6, bytes(16))]):
        (tmp_path / str(number)).write_bytes(content)
    program = (
        "import resource, sys\n"
        "from imgdb.pictures import loader\n"
        "from imgdb.pictures.decoding import prepare\n"
        "from imgdb.errors import PictureError\n"
        "prepare()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        loader.load(path)\n"
        "        print('accepted')\n"
        "    except PictureError as error:\n"
        "        print(error.reason)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("the size of a process is read from /proc")
    run = subprocess.run(
        [sys.executable, "-c", program, *map(os.fspath, tmp_path.iterdir())],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(run.stdout.split()) <= {"too-large", "truncated", "broken"}
    assert run.stderr == ""


def test_broken_exif_does_not_lose_the_picture() -> None:
    for exif in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0" + os.urandom(200),
        b"x",
    ):
        assert reason(encode(scene(), "JPEG", exif=exif)) == "accepted"
        assert reason(encode(scene(), "WEBP", exif=exif)) == "accepted"
    tags = {34665: (4, 1, 0xFFFFFF00), 34853: (13, 1, 0xFFFFFF00)}
    assert reason(with_tags(tags)) == "accepted"


def with_tags(tags: dict[int, tuple[int, int, int]]) -> bytes:
    entries = {256: (4, 1, 2), 257: (4, 1, 2), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1)}
    entries |= {273: (4, 1, 8), 278: (4, 1, 2), 279: (4, 1, 4)}
    return tiff(entries | tags, bytes(4))


@pytest.mark.parametrize("name", FILES)
def test_a_file_too_big_for_memory_gives_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    wanted = loader.load(path)
    monkeypatch.setattr(loader, "_IN_MEMORY", 1000)
    streamed, read = load(FILES[name]), loader.load(path)
    assert read.grey.tobytes() == streamed.grey.tobytes() == wanted.grey.tobytes()
    assert read.sha256 == streamed.sha256 == wanted.sha256
    assert read.frames == streamed.frames == wanted.frames


@pytest.mark.parametrize("kept", [loader._IN_MEMORY, 0], ids=["memory", "disk"])
def test_a_file_that_changes_while_it_is_read(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "_IN_MEMORY", kept)
    path = tmp_path / "growing.jpg"
    content = FILES["baseline.jpg"]
    for later in (content + b"more", content[:-2000], content):
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        with loader.open_source(path) as source:
            path.write_bytes(later)
            with pytest.raises(PictureError) as caught:
                source.picture()
        assert caught.value.reason == "changed"


def test_streams_that_are_not_what_the_archive_says() -> None:
    content = FILES["rgb.png"]
    for size, wanted in ((len(content) + 1, "truncated"), (len(content) - 1, "broken")):
        with pytest.raises(PictureError) as caught:
            loader.load_stream(BytesIO(content), byte_size=size, modified_at=NOW)
        assert caught.value.reason == wanted


def test_a_damaged_member_of_an_archive() -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        writer.writestr("a.bmp", FILES["rgb.bmp"])
    damaged = bytearray(archive.getvalue())
    damaged[20_000] ^= 1
    with zipfile.ZipFile(BytesIO(damaged)) as reader, reader.open("a.bmp") as member:
        with pytest.raises(PictureError) as caught:
            loader.load_stream(member, byte_size=len(FILES["rgb.bmp"]), modified_at=NOW)
        assert caught.value.reason == "broken"


@pytest.mark.parametrize(
    ("raised", "wanted"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), "truncated"),
        (OSError("broken data stream"), "broken"),
        (OSError(5, "Input/output error"), "io-error"),
        (OSError(116, "Stale file handle"), "io-error"),
        (PermissionError(13, "Permission denied"), "denied"),
        (FileNotFoundError(2, "No such file or directory"), "missing"),
        (UnidentifiedImageError("cannot identify <_io.BytesIO object at 0x7f>"), "broken"),
        (ValueError("bad\nvalue"), "broken"),
        (SyntaxError("not a TIFF file"), "broken"),
        (NotImplementedError("no such thing"), "broken"),
        (RuntimeError(), "broken"),
        (struct.error("unpack requires a buffer of 4 bytes"), "broken"),
        (zlib.error("Error -3 while decompressing data"), "broken"),
        (IndexError("index out of range"), "broken"),
        (EOFError("no more images"), "truncated"),
        (RecursionError("maximum recursion depth exceeded"), "broken"),
        (MemoryError(), "no-memory"),
        (Image.DecompressionBombError("Image size (7 pixels) exceeds limit"), "too-large"),
        (OSError("decoder jpeg2k not available"), "unsupported-format"),
        (OSError("word " * 200), "broken"),
    ],
)  # fmt: skip
def test_every_exception_has_a_reason(raised: Exception, wanted: str) -> None:
    with pytest.raises(PictureError) as caught, picture_errors("TIFF"):
        raise raised
    assert caught.value.reason == wanted
    assert "\n" not in caught.value.detail
    assert "0x7f" not in caught.value.detail
    assert len(caught.value.detail) <= 200
    assert reason_in_words(caught.value).startswith(REASONS[wanted])


def test_memory_that_runs_out_is_said_so() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    program = (
        "import resource\n"
        "from imgdb.pictures import loader\n"
        "from imgdb.pictures.decoding import prepare\n"
        "from imgdb.errors import PictureError\n"
        "from PIL import Image\n"
        "import sys\n"
        "prepare()\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (100 << 20),) * 2)\n"
        "try:\n"
        "    loader.load(sys.argv[1])\n"
        "except PictureError as error:\n"
        "    print(error.reason)\n"
    )
    if before[0] != resource.RLIM_INFINITY or not Path("/proc/self/statm").exists():
        pytest.skip("needs to set a limit of its own, and /proc")
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"imgdb-large-{os.getpid()}.png"
    Image.new("RGB", (9000, 9000)).save(path)
    try:
        run = subprocess.run(
            [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
        )
    finally:
        path.unlink()
    assert run.stdout == "no-memory\n"


def gif(side: int) -> bytes:
    """Write a GIF of 35 bytes: one pixel on a screen of `side` x `side`."""
    screen = struct.pack("<6sHHBBB", b"GIF89a", side, side, 0x80, 0, 0)
    frame = struct.pack("<cHHHHB", b",", 0, 0, 1, 1, 0)
    return screen + b"\0\0\0\xff\xff\xff" + frame + b"\2\2\x44\1\0;"


def test_pixels_that_a_few_bytes_call_for() -> None:
    assert len(gif(17_000)) == 35
    with pytest.raises(PictureError, match="17000 x 17000 pixels of 35 bytes") as caught:
        load(gif(17_000))
    assert caught.value.reason == "bomb"
    # A reader of our own, and a format whose blank pages are tiny.
    black = bmp(10_000, 10_000, 8, 1, b"\0\1", bytes(1024))
    blank = encode(Image.new("1", (10_000, 10_000)), "TIFF", compression="group4")
    assert (reason(black), reason(blank)) == ("bomb", "bomb")


def test_a_blank_page_of_few_bytes_is_no_bomb() -> None:
    blank = encode(Image.new("1", (4960, 7016), 1), "TIFF", compression="group4")
    assert PIXELS_IN_A_BYTE * len(blank) < 4960 * 7016
    assert load(blank).width == 4960
