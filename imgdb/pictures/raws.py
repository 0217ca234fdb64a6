"""Tell camera raws from pictures by their structure; `development` reads them.

Most raws are TIFFs whose first page is a small preview. Who takes that for the picture takes a file
of 30 MB for a worse copy of its own JPEG.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from struct import error as struct_error
from struct import unpack
from typing import BinaryIO

from imgdb.errors import PictureError
from imgdb.pictures.tiff import DNG_VERSION, PHOTOMETRIC, SUB_DIRECTORIES, Tiff

# Raws that are no TIFFs, or that say what they are before any tag does.
_MAGIC = re.compile(
    rb"FUJIFILMCCD-RAW|II\x1a\0\0\0HEAPCCDR|II\*\0.{4}CR|IIR[OS]|MMOR|IIU\0|\0MRM|FOVb"
    rb"|(II\*\0|MM\0\*).{4}(IIII|MMMM)|.{4}ftypcrx |.{25}ARECOYK",
    re.DOTALL,
)

_FUJIFILM = b"FUJIFILMCCD-RAW"
_LIKE_TIFF = re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+|IIR[OS]|MMOR|IIU\0")

# Photometric interpretations of what a sensor measured: one colour a pixel, or all, undeveloped.
_SENSOR = frozenset({32803, 34892})

# Some makers leave no sign in a TIFF but the name of the file.
SUFFIXES = frozenset(
    f".{name}"
    for names in (
        ("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "gpr", "iiq", "k25", "kdc"),
        ("mef", "mos", "mrw", "nef", "nrw", "orf", "ori", "pef", "raf", "rw2", "rwl", "sr2", "srf"),
        ("srw", "x3f"),
    )
    for name in names
)

# Pages among which a raw has the picture of its sensor.
_PAGES = 8


def begins_raw(head: bytes) -> bool:
    """Tell whether a file that begins with `head` is a raw by its first bytes."""
    return _MAGIC.match(head) is not None


def is_raw_tiff(file: BinaryIO, byte_size: int, name: str) -> bool:
    """Tell whether a TIFF is a raw; `name` is that of the file, "" if it has none.

    Raises PictureError if it is a picture whose first page is a small copy of another one.
    """
    if Path(name).suffix.lower() in SUFFIXES:
        return True
    try:
        tiff = Tiff(file, byte_size)
        first = tiff.first()
        if first.number(DNG_VERSION) or (first.is_reduced and SUB_DIRECTORIES in first.numbers):
            return True
        below = list(tiff.below(first))
        pages = list(islice(tiff.pages(), _PAGES))
    except (struct_error, PictureError):  # it is cut off, which is found out later
        return False
    if any(one.number(PHOTOMETRIC) in _SENSOR for one in (*pages, *below)):
        return True
    if any(one.pixels > first.pixels for one in below):
        return True
    if first.is_reduced and any(one.pixels > first.pixels for one in pages):
        raise PictureError("unsupported-format", "TIFF: its first page is a preview of another one")
    return False


def check_whole_raw(file: BinaryIO, head: bytes, byte_size: int) -> None:
    """Raise PictureError if a raw is cut off, as far as it says where its data are.

    LibRaw makes a picture of what there is, or has the preview, which often comes first.
    """
    try:
        end = _data_end(file, head, byte_size)
    except struct_error:
        end = byte_size + 1
    if end > byte_size:
        raise PictureError("truncated", f"a camera raw: {byte_size} of {end} bytes or more")


def _data_end(file: BinaryIO, head: bytes, byte_size: int) -> int:
    if head.startswith(_FUJIFILM):
        a, a_size, b, b_size, c, c_size = unpack(">6I", head[84:108])
        return int(max(a + a_size, b + b_size, c + c_size))
    if _LIKE_TIFF.match(head):
        return max((one.end for one in Tiff(file, byte_size).described()), default=0)
    return 0
