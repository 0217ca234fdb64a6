"""Edited copies of a picture, and their hashes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from PIL import Image

from imgdb.hashes.fingerprint import Fingerprint, fingerprint_source
from imgdb.hashes.values import ALGORITHMS, Hashes
from imgdb.pictures import loader
from imgdb.pictures.edits import BY_NAME, Edit, encoded
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source

# Pixels of the longer side. Larger pictures are reduced to this first, as nearly all copies of
# large photographs are.
SIDE = 1600

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CopyHashes:
    """The hashes of edited copies, in the order of the edits; `sha256` is that of the original."""

    sha256: bytes
    hashes: tuple[Hashes, ...]


def hash_copies(
    source: Source,
    edits: Sequence[str],
    algorithms: Collection[str],
    *,
    max_pixels: int = MAX_PIXELS,
) -> CopyHashes:
    """Make copies of a picture by edits, given by name, and hash them; raises PictureError."""
    original = source.small(SIDE, max_pixels=max_pixels).image
    found = [fingerprint_copy(BY_NAME[name], original, algorithms) for name in edits]
    return CopyHashes(
        source.sha256, tuple(Hashes(one.ahash, one.dhash, one.phash, one.whash) for one in found)
    )


def fingerprint_copy(
    edit: Edit, image: Image.Image, algorithms: Collection[str] = ALGORITHMS
) -> Fingerprint:
    """Make an edited copy of a picture and read it as a file; raises PictureError."""
    content = encoded(edit, image)
    with loader.open_stream(
        BytesIO(content), byte_size=len(content), modified_at=_ANY_TIME
    ) as source:
        return fingerprint_source(source, algorithms=algorithms)
