"""Edited copies of a picture, and what a search for them asks with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO

from PIL import Image

from imgdb.hashes.exact import read_grey
from imgdb.hashes.pdq import read_pdq
from imgdb.hashes.regions import ASKED, Region, find_regions
from imgdb.hashes.values import ALGORITHMS, Hashes, Pdq
from imgdb.pictures import loader
from imgdb.pictures.borders import borders
from imgdb.pictures.edits import BY_NAME, Edit, encoded
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.pictures.loader import Source

# Pixels of the longer side. Larger pictures are reduced to this first, as nearly all copies of
# large photographs are.
SIDE = 1600

_ANY_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Copy:
    """What is asked with an edited copy: its hashes, and those of what is within its borders.

    PDQ and `regions` if they are wanted; their boxes are in pixels of the copy.
    """

    width: int
    height: int
    hashes: Hashes
    trimmed: tuple[Hashes, ...] = ()
    pdq: Pdq | None = None
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class CopyHashes:
    """Edited copies, in the order of the edits; `sha256` is that of the original."""

    sha256: bytes
    copies: tuple[Copy, ...]


def hash_copies(
    source: Source,
    edits: Sequence[str],
    algorithms: Collection[str],
    *,
    pdq: bool = False,
    regions: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> CopyHashes:
    """Make copies of a picture by edits, given by name, and hash them; raises PictureError."""
    original = source.small(SIDE, max_pixels=max_pixels).image
    copies = [
        read_copy(BY_NAME[name], original, algorithms, pdq=pdq, regions=regions) for name in edits
    ]
    return CopyHashes(source.sha256, tuple(copies))


def read_copy(
    edit: Edit,
    image: Image.Image,
    algorithms: Collection[str] = ALGORITHMS,
    *,
    pdq: bool = False,
    regions: bool = False,
) -> Copy:
    """Make an edited copy of a picture and read it as a query is read; raises PictureError."""
    content = encoded(edit, image)
    with loader.open_stream(
        BytesIO(content), byte_size=len(content), modified_at=_ANY_TIME
    ) as source:
        picture = source.picture(luma=pdq)
    grey = picture.grey
    within = [read_grey(grey.crop(box), algorithms) for box in borders(grey)]
    return Copy(
        picture.width,
        picture.height,
        read_grey(grey, algorithms).hashes,
        tuple(reading.hashes for reading in within if not reading.flat),
        read_pdq(picture.luma).pdq if picture.luma else None,
        tuple(find_regions(grey, ASKED)) if regions else (),
    )
