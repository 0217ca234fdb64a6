"""One file -> everything that a row of imgdb.image needs: the one path for every command."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from imgdb import hashing, loader
from imgdb.hashing import ALGORITHMS, Reading
from imgdb.loader import MAX_PIXELS, Decode
from imgdb.reduced import read_reduced

# The rules that made the hashes of a row; a change of any rule is a new name.
RECIPES: dict[Decode, str] = {"exact": "exact-1", "scaled": "scaled-1"}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A picture as imgdb.image stores it; hashes are signed, None where not asked for."""

    format: str
    width: int
    height: int
    frames: int
    byte_size: int
    modified_at: datetime
    sha256: bytes
    ahash: int | None
    dhash: int | None
    phash: int | None
    whash: int | None
    flat: bool
    recipe: str


def fingerprint(
    path: str | bytes | os.PathLike[str],
    *,
    decode: Decode = "exact",
    algorithms: Collection[str] = ALGORITHMS,
    max_pixels: int = MAX_PIXELS,
) -> Fingerprint:
    """Load and hash one file.

    Raises PictureError with a reason of `imgdb.loader.REASONS` when it cannot be hashed.
    """
    with loader.open_source(path) as source:
        return fingerprint_source(
            source, decode=decode, algorithms=algorithms, max_pixels=max_pixels
        )


def fingerprint_source(
    source: loader.Source,
    *,
    decode: Decode = "exact",
    algorithms: Collection[str] = ALGORITHMS,
    max_pixels: int = MAX_PIXELS,
) -> Fingerprint:
    """Do as `fingerprint` for bytes that are already open: a member of an archive, stdin."""
    picture = source.picture(decode, max_pixels=max_pixels)
    reading: Reading | None
    if picture.grey.size == (picture.width, picture.height):
        reading = hashing.read_grey(picture.grey, algorithms)
    else:
        reading = read_reduced(picture.grey, algorithms)
        if reading is None:
            picture = source.picture("exact", max_pixels=max_pixels)
            reading = hashing.read_grey(picture.grey, algorithms)
    hashes = reading.hashes
    return Fingerprint(
        format=picture.format,
        width=picture.width,
        height=picture.height,
        frames=picture.frames,
        byte_size=picture.byte_size,
        modified_at=picture.modified_at,
        sha256=picture.sha256,
        ahash=hashes.ahash,
        dhash=hashes.dhash,
        phash=hashes.phash,
        whash=hashes.whash,
        flat=reading.flat,
        recipe=RECIPES[decode],
    )
