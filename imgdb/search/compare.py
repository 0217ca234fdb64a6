"""Compare two picture files by their bytes, their pixels and their hashes; no database needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from imgdb.hashes.colours import colour_difference, equal_colours, may_be_copy, same_colours
from imgdb.hashes.exact import Reading, read_grey
from imgdb.hashes.pdq import read_pdq
from imgdb.hashes.values import ALGORITHMS, PDQ_RULES, USUAL_RULE, Pdq, bit_distance, pdq_distance
from imgdb.pictures.images import AnyImage, open_image

# The defaults at first; a database may have others.
DEFAULTS = {
    USUAL_RULE: 17,
    "phash": 8,
    "dhash": 4,
    "whash": 2,
    "ahash": 2,
    "pdq": PDQ_RULES["pdq"],
}


@dataclass(frozen=True, slots=True)
class Look:
    """What a comparison needs to know about a file, without the decoded picture."""

    path: str
    sha256: bytes
    # Width, height and digest of the picture as it is hashed (upright, on white, in 8-bit grey),
    # and digest of its colours before any profile is applied.
    pixels: tuple[int, int, bytes, bytes]
    colours: bytes
    frames: int
    reading: Reading
    pdq: Pdq


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far two pictures are apart; `..._within` says which distances are near enough.

    `alike` is the answer by `hash`: by the sum of phash and dhash, or by one hash. But flat
    pictures, which look alike to every hash, are alike only if their pixels are the same. Only the
    first frame or page of each is compared, so that files of several are alike only if their bytes
    are the same. What has other colours is not alike, but a picture and its grey copy are.
    `colour_difference` is in hundredths of OKLab.
    """

    a: str
    b: str
    alike: bool
    hash: str
    max_distance: int
    same_bytes: bool
    same_pixels: bool
    a_frames: int
    b_frames: int
    flat: bool
    sum_distance: int
    ahash_distance: int
    dhash_distance: int
    phash_distance: int
    whash_distance: int
    pdq_distance: int
    sum_within: bool
    ahash_within: bool
    dhash_within: bool
    phash_within: bool
    whash_within: bool
    pdq_within: bool
    colour_difference: float
    same_colours: bool


def read_look(image: AnyImage, name: str) -> Look:
    """Read a picture to compare; raises PictureError."""
    with open_image(image) as source:
        picture = source.picture(luma=True)
    assert picture.luma is not None
    grey = hashlib.sha256(picture.grey.tobytes()).digest()
    coloured = hashlib.sha256(picture.luma.convert("RGB").tobytes()).digest()
    return Look(
        name,
        picture.sha256,
        (picture.width, picture.height, grey, coloured),
        picture.colours,
        picture.frames,
        read_grey(picture.grey),
        read_pdq(picture.luma).pdq,
    )


def compare(
    a: Look, b: Look, *, hash: str = USUAL_RULE, max_distance: int | None = None
) -> Comparison:
    """Compare two pictures; `hash` decides, one of DEFAULTS, within `max_distance` (bits).

    The others have their defaults, and so has it if `max_distance` is None.
    """
    most = DEFAULTS if max_distance is None else {**DEFAULTS, hash: max_distance}
    apart = {
        name: bit_distance(getattr(a.reading.hashes, name), getattr(b.reading.hashes, name))
        for name in ALGORITHMS
    }
    apart["pdq"] = pdq_distance(a.pdq, b.pdq)
    apart[USUAL_RULE] = apart["phash"] + apart["dhash"]
    within = {name: distance <= most[name] for name, distance in apart.items()}
    same_bytes = a.sha256 == b.sha256
    # Of several frames or pages only the first was looked at.
    seen = a.frames == b.frames == 1
    # The same pixels under another profile are another picture.
    same_pixels = same_bytes or (
        seen and a.pixels == b.pixels and equal_colours(a.colours, b.colours)
    )
    copy = may_be_copy(a.colours, b.colours) or may_be_copy(b.colours, a.colours)
    flat = a.reading.flat or b.reading.flat
    return Comparison(
        a=a.path,
        b=b.path,
        alike=same_pixels or (seen and within[hash] and not flat and copy),
        hash=hash,
        max_distance=most[hash],
        same_bytes=same_bytes,
        same_pixels=same_pixels,
        a_frames=a.frames,
        b_frames=b.frames,
        flat=flat,
        sum_distance=apart[USUAL_RULE],
        ahash_distance=apart["ahash"],
        dhash_distance=apart["dhash"],
        phash_distance=apart["phash"],
        whash_distance=apart["whash"],
        pdq_distance=apart["pdq"],
        sum_within=within[USUAL_RULE],
        ahash_within=within["ahash"],
        dhash_within=within["dhash"],
        phash_within=within["phash"],
        whash_within=within["whash"],
        pdq_within=within["pdq"],
        colour_difference=colour_difference(a.colours, b.colours),
        same_colours=same_colours(a.colours, b.colours),
    )
