"""Tell a file's format from its first bytes, never from its suffix, and only formats on the list.

One plugin of Pillow is then asked, by name: none of its 40 others (one starts Ghostscript) ever
sees the file.
"""

import re
from struct import unpack_from

from imgdb.errors import PictureError
from imgdb.pictures.raws import begins_raw

# Bytes of a file's beginning that `identify` needs.
HEAD_SIZE = 4096

# The allow-list: the names are Pillow's, which imgdb stores.
FORMATS = {
    "JPEG": "JPEG: baseline, progressive, grey, RGB, CMYK, YCCK; of an MPO the first picture",
    "PNG": "PNG: 1 to 16 bits, palette, alpha, interlaced; of an APNG the default picture",
    "GIF": "GIF: the first frame",
    "WEBP": "WebP: lossy, lossless, alpha; the first frame of an animation",
    "TIFF": "TIFF and BigTIFF: the first page; 1 to 16 bits, CMYK, LAB, grey of 32 bits or floats",
    "BMP": "BMP: 1 to 32 bits, run-length coded too",
    "ICO": "ICO: the largest icon",
    "PPM": "PBM, PGM, PPM, PFM: plain and binary, up to 16 bits, grey floats",
    "TGA": "Targa: true colour, grey, palette, run-length coded too",
    "JPEG2000": "JPEG 2000: JP2 files and bare codestreams, up to 16 bits",
    "AVIF": "AVIF: the primary picture, or the first of a sequence",
    "HEIF": "HEIF and HEIC: the primary picture (needs `pip install pillow-heif`)",
    "RAW": "camera raws: DNG, NEF, CR2, CR3, ARW and others (needs `pip install rawpy`)",
}

# Pictures that people have and that imgdb does not read: it says so, and names the format.
_OTHERS = {
    b"8BPS": "Photoshop (PSD)",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"II\xbc\x01": "JPEG XR",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE\n": "Radiance HDR",
    b"DDS ": "DirectDraw surface (DDS)",
    b"icns": "Apple icon (ICNS)",
    b"qoif": "QOI",
    b"P7\n": "PAM",
    b"PF\n": "PFM with colours",
    b"gimp xcf": "GIMP (XCF)",
    b"AT&TFORM": "DjVu",
}

_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_CONTAINER_BRANDS = {b"mif1", b"mif2", b"msf1"}
_PPM = re.compile(rb"P[1-6f](?:\s|#[^\r\n]*[\r\n])+\d")
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}


def identify(head: bytes) -> str:
    """Name the format of a file that begins with `head` (up to HEAD_SIZE bytes).

    A TIFF may turn out to be a raw when more of it is read (`raws`).
    Raises PictureError `unknown-format` or `unsupported-format`.
    """
    if begins_raw(head):
        return "RAW"
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _media_file(head)
    if head.startswith(b"BM") and _is_bmp(head):
        return "BMP"
    if head.startswith(b"\0\0\1\0") and _is_icon(head):
        return "ICO"
    if _PPM.match(head):
        return "PPM"
    if _is_targa(head):
        return "TGA"
    for magic, words in _OTHERS.items():
        if head.startswith(magic):
            raise PictureError("unsupported-format", words)
    raise PictureError("unknown-format")


def _media_file(head: bytes) -> str:
    """Tell the pictures from the films among the files of the ISO base media format."""
    length = max(16, min(int.from_bytes(head[:4], "big"), len(head)))
    # The major brand comes first; at 12 stands a version number, which is no brand.
    brands = [head[8:12]] + [head[at : at + 4] for at in range(16, length - 3, 4)]
    for brand in brands:
        if brand in _AVIF_BRANDS:
            return "AVIF"
        if brand in _HEIF_BRANDS:
            return "HEIF"
    if brands[0] in _CONTAINER_BRANDS:
        return "HEIF"
    raise PictureError("unknown-format")


def _is_bmp(head: bytes) -> bool:
    return len(head) >= 26 and unpack_from("<I", head, 14)[0] in _BMP_HEADER_SIZES


def _is_icon(head: bytes) -> bool:
    """See whether the first entry of the directory lies behind the directory."""
    if len(head) < 22:
        return False
    count, reserved, offset = unpack_from("<H", head, 4)[0], head[9], unpack_from("<I", head, 18)[0]
    return count > 0 and reserved in (0, 255) and offset >= 6 + 16 * int(count)


def _is_targa(head: bytes) -> bool:
    """Tell whether every field makes sense: Targa has no magic number to know it by."""
    if len(head) < 18:
        return False
    map_type, image_type = head[1], head[2]
    map_length, map_depth = unpack_from("<H", head, 5)[0], head[7]
    width, height, depth, descriptor = unpack_from("<HHBB", head, 12)
    if not (width and height) or descriptor & 0xC0:
        return False
    if map_type == 0:
        if any(head[3:8]):
            return False
    elif map_type != 1 or map_depth not in (15, 16, 24, 32) or not map_length:
        return False
    if image_type in (1, 9):
        return bool(map_type == 1 and depth == 8)
    if image_type in (2, 10):
        return depth in (15, 16, 24, 32)
    return image_type in (3, 11) and depth in (1, 8, 16)
