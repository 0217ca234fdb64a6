"""What a file says of its picture besides the pixels: only which kinds of it, to compare files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

# The kinds, in a person's words.
DATE, PLACE, RATING, XMP = "date taken", "place", "rating", "XMP"

_EXIF, _GPS, _RATING, _XMP = 0x8769, 0x8825, 0x4746, 700
_DATES = (36867, 36868)
_LATITUDE, _LONGITUDE = 2, 4

# XMP can say the same as EXIF. Nobody needs it parsed to see whether it does.
_IN_XMP = {
    DATE: re.compile(rb"exif:DateTimeOriginal|photoshop:DateCreated|xmp:CreateDate"),
    PLACE: re.compile(rb"exif:GPSLatitude"),
    RATING: re.compile(rb"xmp:Rating(?:\s*=\s*[\"']|\s*>)\s*[1-5]"),
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The kinds of metadata that a file has, in a fixed order."""

    kinds: tuple[str, ...]


def metadata_of(image: Image.Image) -> Metadata:
    """Tell which kinds of metadata an opened picture has; it is not decoded."""
    packet = _xmp(image)
    found = {kind for kind, pattern in _IN_XMP.items() if pattern.search(packet)}
    if packet:
        found.add(XMP)
    # Pillow would decode a whole PNG to look for them behind its pixels.
    if image.format != "PNG" or "exif" in image.info:
        found |= _in_exif(image.getexif())
    return Metadata(tuple(kind for kind in (DATE, PLACE, RATING, XMP) if kind in found))


def _in_exif(exif: Image.Exif) -> set[str]:
    taken, gps = exif.get_ifd(_EXIF), exif.get_ifd(_GPS)
    found = set()
    # Cameras whose clock was never set write zeros or blanks.
    if any(re.search("[1-9]", str(taken.get(tag, ""))) for tag in _DATES):
        found.add(DATE)
    if _is_somewhere(gps):
        found.add(PLACE)
    if re.search("[1-9]", str(exif.get(_RATING, ""))):
        found.add(RATING)
    return found


def _is_somewhere(gps: Mapping[int, Any]) -> bool:
    """Tell whether a place is given: phones without one write zeros."""
    values = [gps.get(_LATITUDE), gps.get(_LONGITUDE)]
    return all(isinstance(value, Iterable) for value in values) and any(
        re.search("[1-9]", str(part)) for value in values for part in value or ()
    )


def _xmp(image: Image.Image) -> bytes:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if not packet and image.format == "TIFF":
        packet = image.getexif().get(_XMP, b"")
    return packet.encode() if isinstance(packet, str) else bytes(packet)
