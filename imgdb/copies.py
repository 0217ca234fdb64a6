"""Edited copies of one picture, or of many by worker processes, and their hashes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from imgdb.hashing import Hashes
from imgdb.limits import MAX_PIXELS
from imgdb.loader import Source

# What is larger is reduced to this first: nearly all copies of large photographs are.
SIDE = 1600


@dataclass(frozen=True, slots=True)
class CopyHashes:
    """The hashes of edited copies, in the order of the edits, and of which file they are copies."""

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
    # Most workers have nothing to edit.
    from imgdb.edits import BY_NAME, fingerprint_copy

    original = source.small(SIDE, max_pixels=max_pixels).image
    found = [fingerprint_copy(BY_NAME[name], original, algorithms) for name in edits]
    return CopyHashes(
        source.sha256, tuple(Hashes(one.ahash, one.dhash, one.phash, one.whash) for one in found)
    )
