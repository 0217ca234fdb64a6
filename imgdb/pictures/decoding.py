"""Decode the bytes of one picture to upright 8-bit grey, to be hashed, or to small upright colours,
to be looked at: the only module that opens with PIL.

The order of the rules: pixel limit from the header, first frame, ranges, paper, grey or colours,
upright.
"""

import contextlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO, Literal, NamedTuple

from PIL import Image, ImageFile, UnidentifiedImageError

from imgdb.errors import PictureError
from imgdb.pictures.bmp import read_bmp
from imgdb.pictures.colour import to_small_colour
from imgdb.pictures.development import Raw, opened_raw, require_reader
from imgdb.pictures.formats import HEAD_SIZE
from imgdb.pictures.grey import Paper, Samples, is_transparent, to_grey, to_luma
from imgdb.pictures.limits import MAX_PIXELS, SizeLimit
from imgdb.pictures.mean_colours import mean_colours, to_seen_colour
from imgdb.pictures.metadata import Metadata, metadata_of
from imgdb.pictures.pnm import read_pnm
from imgdb.pictures.raws import check_whole_raw
from imgdb.pictures.reasons import picture_errors
from imgdb.pictures.structure import check_whole, targa_has_alpha, webp_size
from imgdb.pictures.tiff import COMPRESSION, Tiff

Decode = Literal["exact", "scaled"]

# `scaled` never decodes to less than this on the shorter side.
_SCALED_SIDE = 512

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[number] for number in (5, 6, 7, 8)}
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339

# Of a JPEG of several pictures: where they are listed, how many are looked at, and what a picture
# says of itself that is there to make another one brighter.
_MP_ENTRIES, _MOST_PARTS = 0xB002, 256
_GAIN_MAP = re.compile(rb"hdrgm:|hdrgainmap|iso:ts:21496", re.IGNORECASE)

_READERS = {"BMP": read_bmp, "PPM": read_pnm}

_prepared = False


class Encoded(NamedTuple):
    """The bytes of a picture: `head` is the beginning of `file`, `format` what `identify` says."""

    file: BinaryIO
    head: bytes
    format: str
    byte_size: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright picture of mode "L" or "RGB"; `width` and `height` are those of the full one.

    `colours` are those of `imgdb.pictures.mean_colours`, and `luma` is what `to_luma` makes; None
    if they were not asked for.
    """

    image: Image.Image
    width: int
    height: int
    frames: int = 1
    transparent: bool = False
    colours: bytes | None = None
    luma: Image.Image | None = None


class _Wanted(NamedTuple):
    """What becomes of a loaded picture, and how small a JPEG of a given size may be decoded."""

    render: Callable[[Image.Image, Samples], Image.Image]
    least_size: Callable[[tuple[int, int]], tuple[int, int] | None]
    colours: bool = False
    luma: bool = False
    paper: Paper = "white"


def prepare() -> None:
    """Set Pillow up, once per process; decoding does it when nobody did."""
    global _prepared
    if _prepared:
        return
    # All of Pillow's own plugins first: pillow-heif registered before them breaks some AVIF files.
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    from PIL import AvifImagePlugin

    # Workers are processes, one per core: threads inside of them only get in each other's way.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else stderr has its complaints
    _prepared = True


def decode_grey(
    encoded: Encoded, decode: Decode, max_pixels: int, *, luma: bool = False
) -> Decoded:
    """Decode a picture whose format is known; raises PictureError."""
    return _decode(encoded, _GREY[decode]._replace(luma=luma), max_pixels)


def decode_on_black(encoded: Encoded, max_pixels: int) -> Decoded:
    """Decode a transparent picture as it looks on black; raises PictureError."""
    black = _Wanted(partial(to_grey, paper="black"), _exact_size, colours=True, paper="black")
    return _decode(encoded, black, max_pixels)


def decode_colour(encoded: Encoded, side: int, max_pixels: int) -> Decoded:
    """Decode a picture to colours, at most `side` pixels wide and high; raises PictureError."""
    colours = _Wanted(partial(to_small_colour, side=side), partial(_twice, side))
    decoded = _decode(encoded, colours, max_pixels)
    decoded.image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return decoded


def read_metadata(encoded: Encoded, max_pixels: int) -> Metadata:
    """Tell what a file says of its picture, by its header; raises PictureError."""
    prepare()
    if encoded.format not in Image.OPEN:
        raise PictureError("unsupported-format", "its metadata cannot be read")
    with _limited(max_pixels), picture_errors(encoded.format), _open(encoded) as image:
        return metadata_of(image)


class _Limits:
    """How many decode at the moment, and the limit that the program had given to Pillow before."""

    lock = threading.Lock()
    count = 0
    before: int | None = None


@contextlib.contextmanager
def _limited(max_pixels: int) -> Iterator[None]:
    """Have Pillow refuse each size above max_pixels, in silence: in an icon, in a frame of a GIF.

    The limit is one for the whole program, which gets its own back when nothing is decoded.
    """
    with _Limits.lock:
        if not _Limits.count:
            _Limits.before = Image.MAX_IMAGE_PIXELS
        _Limits.count += 1
        # Pillow raises above twice this.
        Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        with _Limits.lock:
            _Limits.count -= 1
            if not _Limits.count:
                Image.MAX_IMAGE_PIXELS = _Limits.before


def _exact_size(size: tuple[int, int]) -> None:
    return None


def _scaled_size(size: tuple[int, int]) -> tuple[int, int] | None:
    # Smaller pictures are not reduced, so that their hashes are exact.
    return (_SCALED_SIDE, _SCALED_SIDE) if min(size) >= 2 * _SCALED_SIDE else None


def _twice(side: int, size: tuple[int, int]) -> tuple[int, int]:
    longer = max(size)
    return max(1, size[0] * 2 * side // longer), max(1, size[1] * 2 * side // longer)


_GREY: dict[Decode, _Wanted] = {
    "exact": _Wanted(to_grey, _exact_size, colours=True),
    "scaled": _Wanted(to_grey, _scaled_size, colours=True),
}


def _decode(encoded: Encoded, wanted: _Wanted, max_pixels: int) -> Decoded:
    prepare()
    file, format_name = encoded.file, encoded.format
    if format_name == "RAW":
        with picture_errors(format_name), _hushed():
            return _decode_raw(encoded, wanted, max_pixels)
    if format_name not in Image.OPEN:
        raise PictureError("unsupported-format", _missing_opener(format_name))
    limit = SizeLimit(max_pixels, encoded.byte_size)
    with _limited(max_pixels), picture_errors(format_name):
        reader = _READERS.get(format_name)
        image = reader(file, encoded.head, limit) if reader else None
        if image is not None:
            return _rendered(_without_void_alpha(image, encoded), wanted)
        if format_name == "WEBP" and (size := webp_size(encoded.head)):
            limit.check(format_name, *size)
        with _open(encoded) as image_file:
            limit.check(format_name, *image_file.size)
            position = file.tell()
            frames = check_whole(file, format_name, encoded.byte_size)
            file.seek(position)
            decoded = _read(image_file, encoded, wanted)
            return replace(decoded, frames=frames or _count_frames(image_file, file))


def _rendered(image: Image.Image, wanted: _Wanted) -> Decoded:
    """Make what is wanted of an upright picture."""
    rendered = wanted.render(image, Samples())
    colours = (
        mean_colours(to_seen_colour(image, rendered, wanted.paper)) if wanted.colours else None
    )
    luma = to_luma(image, rendered) if wanted.luma else None
    transparent = is_transparent(image)
    return Decoded(rendered, *image.size, transparent=transparent, colours=colours, luma=luma)


def _decode_raw(encoded: Encoded, wanted: _Wanted, max_pixels: int) -> Decoded:
    """Decode the preview of a raw if it is large, else develop the raw."""
    require_reader()
    check_whole_raw(encoded.file, encoded.head, encoded.byte_size)
    with opened_raw(encoded.file) as raw:
        SizeLimit(max_pixels, encoded.byte_size).check("RAW", raw.width, raw.height)
        decoded = _decode_preview(raw, wanted, max_pixels) or _rendered(
            Image.fromarray(raw.developed()), wanted
        )
        return replace(decoded, width=raw.width, height=raw.height)


def _decode_preview(raw: Raw, wanted: _Wanted, max_pixels: int) -> Decoded | None:
    content = raw.preview()
    if content is None:
        return None
    preview = Encoded(BytesIO(content), content[:HEAD_SIZE], "JPEG", len(content))
    with _open(preview) as image:
        if min(image.size) < _SCALED_SIDE:
            return None
        SizeLimit(max_pixels, len(content)).check("RAW", *image.size)
        return _read(image, preview, wanted, raw.orientation(*image.size))


def _read(
    image: ImageFile.ImageFile, encoded: Encoded, wanted: _Wanted, orientation: int | None = None
) -> Decoded:
    """Decode an opened picture; `orientation` is EXIF's number, None if the file says it."""
    width, height = image.size
    covered = _covered(image, encoded)
    least_size = wanted.least_size(image.size) if encoded.format == "JPEG" else None
    if least_size is not None:
        # To grey, YCbCr is the brightness as it is stored; libjpeg turns RGB into no other colours.
        image.draft("YCbCr" if wanted.colours and not _stores_rgb(image) else None, least_size)
    _load(image, encoded)
    if encoded.format == "TIFF":  # has turned itself
        width, height = image.size
    turn = _turn(image, encoded.format) if orientation is None else _TURNS.get(orientation)
    shown = _without_void_alpha(image, encoded)
    pictures = [wanted.render(shown, _samples(image))]
    if wanted.colours:
        pictures.append(to_seen_colour(shown, pictures[0], wanted.paper))
    if wanted.luma:
        pictures.append(to_luma(shown, pictures[0]))
    if covered is not None:
        pictures = [_framed(picture, covered, image.size, wanted.paper) for picture in pictures]
    if turn is not None:
        # Turning what was rendered gives the same pixels as turning the file's, for much less.
        pictures = [picture.transpose(turn) for picture in pictures]
        if turn in _SIDEWAYS:
            width, height = height, width
    colours = mean_colours(pictures[1]) if wanted.colours else None
    luma = pictures[-1] if wanted.luma else None
    transparent = covered is not None or is_transparent(shown)
    return Decoded(pictures[0], width, height, transparent=transparent, colours=colours, luma=luma)


def _stores_rgb(image: ImageFile.ImageFile) -> bool:
    """Tell whether a JPEG stores red, green and blue, as libjpeg decides it."""
    if "jfif" in image.info:
        return False
    if "adobe" in image.info:
        return image.info.get("adobe_transform") == 0
    return [layer[0] for layer in getattr(image, "layer", ())] == [*b"RGB"]


def _count_frames(image: ImageFile.ImageFile, file: BinaryIO) -> int:
    """Count the pictures of a file that somebody may look at."""
    frames = int(getattr(image, "n_frames", 1))
    mpinfo: Any = getattr(image, "mpinfo", None)
    if mpinfo is None or frames == 1:
        return frames
    # Cameras and phones put into a JPEG what belongs to the picture: a preview, a map of gains.
    kinds = [entry["Attribute"]["MPType"] for entry in mpinfo[_MP_ENTRIES]]
    return 1 + sum(
        not kind.startswith("Large Thumbnail") and not _is_gain_map(image, file, number)
        for number, kind in enumerate(kinds[1:_MOST_PARTS], 1)
    )


def _is_gain_map(image: ImageFile.ImageFile, file: BinaryIO, number: int) -> bool:
    try:
        image.seek(number)
    except Exception:  # only the first picture must be whole
        return False
    file.seek(int(image.offset))  # type: ignore[attr-defined]
    return _GAIN_MAP.search(file.read(1 << 16)) is not None


def _framed(
    image: Image.Image, covered: tuple[int, int, int, int], size: tuple[int, int], paper: Paper
) -> Image.Image:
    """Make paper of what a frame does not cover, of a picture rendered from one of `size`."""
    across, down = image.width / size[0], image.height / size[1]
    box = (
        round(covered[0] * across),
        round(covered[1] * down),
        round(covered[2] * across),
        round(covered[3] * down),
    )
    sheet = Image.new(image.mode, image.size, paper)
    sheet.paste(image.crop(box), box)
    return sheet


def _load(image: ImageFile.ImageFile, encoded: Encoded) -> None:
    palette = image.palette
    if palette is not None and image.mode not in ("P", "PA"):
        image.palette = None  # a GIF frame or a Targa that is grey without it
    elif encoded.format == "TGA" and palette is not None and palette.rawmode == "BGRA":
        palette.mode = "RGBA"  # Pillow before 13 forgets, and cannot load it
    if encoded.format == "TIFF":
        with _hushed():
            _load_tiff(image, encoded.byte_size)
    else:
        image.load()
    if encoded.format == "PNG":
        _scale_transparency(image, encoded.head)


def _load_tiff(image: ImageFile.ImageFile, byte_size: int) -> None:
    try:
        image.load()
    except OSError as exc:  # which says nothing but "decoder error -2"
        if _page_end(image) > byte_size:
            raise PictureError("truncated", "TIFF: it ends within the first page") from exc
        raise


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep libtiff from writing its complaints to stderr, past every rule of ours."""
    try:
        kept = os.dup(2)
    except OSError:  # a daemon without stderr
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _page_end(image: Image.Image) -> int:
    tags: Any = getattr(image, "tag_v2", {})
    for offsets, counts in ((273, 279), (324, 325)):  # of strips, of tiles
        pairs = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
        if end := max((offset + count for offset, count in pairs), default=0):
            return int(end)
    return 0


def _open(encoded: Encoded) -> ImageFile.ImageFile:
    """Have Pillow read the header."""
    file = encoded.file
    file.seek(0)
    try:
        return Image.open(file, formats=[encoded.format])
    except Image.DecompressionBombError:
        raise
    except Exception as exc:
        # A file that is cut off can fail in any way: better say what is wrong with it.
        check_whole(file, encoded.format, encoded.byte_size)
        if encoded.format == "TIFF":
            _check_compression(encoded)
        if isinstance(exc, UnidentifiedImageError):  # it hides the words of Pillow's plugin
            file.seek(0)
            Image.OPEN[encoded.format][0](file, "")
        raise


def _check_compression(encoded: Encoded) -> None:
    from PIL.TiffImagePlugin import COMPRESSION_INFO

    number = Tiff(encoded.file, encoded.byte_size).first().number(COMPRESSION)
    if number and number not in COMPRESSION_INFO:
        raise PictureError("unsupported-format", f"TIFF: compression {number}")


def _covered(image: ImageFile.ImageFile, encoded: Encoded) -> tuple[int, int, int, int] | None:
    """Give the part of the screen that a GIF's first frame covers; None is all of it.

    Outside of the frame there is no picture: paper is seen there, as in browsers.
    """
    if encoded.format != "GIF" or not image.tile:
        return None
    left, top, right, bottom = image.tile[0][1] or (0, 0, *image.size)
    SizeLimit(MAX_PIXELS, encoded.byte_size).check("GIF", right - left, bottom - top)
    box = (left, top, right, bottom)
    return None if box == (0, 0, *image.size) else box


def _scale_transparency(image: Image.Image, head: bytes) -> None:
    """Bring the transparent colour of a PNG to 8 bits where Pillow does so with the pixels only."""
    depth, value = head[24], image.info.get("transparency")
    if image.mode == "L" and isinstance(value, int) and depth < 8:
        image.info["transparency"] = value * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(value, tuple) and depth == 16:
        image.info["transparency"] = tuple(part >> 8 for part in value)


def _without_void_alpha(image: Image.Image, encoded: Encoded) -> Image.Image:
    """Drop an alpha channel that is only room for one, in formats where many programs leave it."""
    if encoded.format in ("BMP", "ICO", "TGA") and image.mode == "RGBA":
        nothing_shows = image.getchannel("A").getextrema() == (0, 0)
        if nothing_shows or (encoded.format == "TGA" and not targa_has_alpha(encoded.file)):
            return image.convert("RGB")
    return image


def _turn(image: Image.Image, format_name: str) -> Image.Transpose | None:
    if format_name in ("HEIF", "TIFF"):  # libheif and Pillow's TIFF have turned the pixels
        return None
    try:
        return _TURNS.get(int(image.getexif().get(_ORIENTATION, 1)))
    except Exception:  # the code that parses EXIF raises anything; the picture is whole
        return None


def _samples(image: Image.Image) -> Samples:
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return Samples()
    return Samples(
        bits=int(tags.get(_BITS_PER_SAMPLE, (16,))[0]),
        unsigned=tags.get(_SAMPLE_FORMAT, (1,))[0] == 1,
        white_is_zero=tags.get(_PHOTOMETRIC) == 0,
    )


def _missing_opener(format_name: str) -> str:
    if format_name == "HEIF":
        return "HEIF: needs the package pillow-heif (pip install pillow-heif)"
    return f"{format_name}: this Pillow is built without it"
