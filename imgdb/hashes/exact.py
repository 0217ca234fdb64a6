"""One grey picture -> four 64-bit hashes, by the recipe, bit for bit as imagehash 4.3.2.

The recipe: `average_hash`, `dhash`, `phash` and `whash` of size 8, with Pillow's 8-bit Lanczos
resize, horizontal pass first. The values never change: another rule here is a new recipe.

A grid is what a hash looks at: a small grey picture of 8 x 8 (ahash), 8 x 9 (dhash) or 32 x 32
(phash) pixels, rows x columns; for whash a square whose side is a power of two. A stack of grids
has the shape (pictures, rows, columns). Bits have the shape (pictures, 8, 8).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imgdb.hashes import phash, resample, whash
from imgdb.hashes.resample import Pixels, Size, Values
from imgdb.hashes.values import ALGORITHMS, Hashes, check_algorithms

Bits = NDArray[np.bool_]


# A picture whose 32 x 32 grid spans no more grey levels than this is flat (docs/hashes.md).
_FLAT_SPAN = 8

# Above this many rows there is enough to do in one picture.
_TINY_HEIGHT = 96

_GRIDS: dict[str, Size] = {"ahash": (8, 8), "dhash": (9, 8), "phash": (32, 32)}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the pixels of a picture say: its hashes, and whether it is flat."""

    hashes: Hashes
    flat: bool


def hash_grey(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> Hashes:
    """Hash a picture of mode "L".

    Raises UsageError when `algorithms` is empty or holds a name that is none of ALGORITHMS.
    """
    return read_grey(grey, algorithms).hashes


def read_grey(grey: Image.Image, algorithms: Collection[str] = ALGORITHMS) -> Reading:
    """Hash a picture of mode "L" and tell whether it is flat; UsageError as `hash_grey`."""
    return read_together([grey], algorithms)[0]


def read_together(
    greys: Sequence[Image.Image], algorithms: Collection[str] = ALGORITHMS
) -> list[Reading]:
    """Do as `read_grey` for pictures of one size at once.

    For tiny ones the calls cost more than the work. No hash depends on how many there are.
    """
    return read_grids(make_grids(greys, algorithms), algorithms)


def make_grids(greys: Sequence[Image.Image], algorithms: Collection[str]) -> dict[str, Pixels]:
    """Shrink pictures of one size to a stack of grids for each hash, and for phash in any case."""
    grids = {
        name: resample.rounded(grid) for name, grid in unrounded_grids(greys, algorithms).items()
    }
    if "whash" in algorithms and "whash" not in grids:
        size = _whash_size(greys[0])
        grids["whash"] = resample.stacked([resample.resize(grey, size) for grey in greys])
    return grids


def read_grids(grids: dict[str, Pixels], algorithms: Collection[str]) -> list[Reading]:
    """Hash the stacks of grids that `make_grids` made, and tell which pictures are flat."""
    return pack_readings({name: _BITS[name](grids[name]) for name in algorithms}, grids["phash"])


def is_quicker_together(grey: Image.Image) -> bool:
    """Tell whether `read_together` is quicker for many pictures of this size: they are tiny."""
    return grey.height <= _TINY_HEIGHT and resample.is_tiny(grey)


def unrounded_grids(
    greys: Sequence[Image.Image], algorithms: Collection[str], *, areas: bool = False
) -> dict[str, Values]:
    """Shrink pictures of one size to a stack of grids for each hash, before the last rounding.

    The grids of phash are always there, since they also tell what is flat. Those of whash are there
    only if the pictures are tiny, or with `areas`: then they are the mean greys of 8 x 8 parts,
    which need no resize to a power of two and have the same order as the block sums of
    `whash.whash_bits`.
    """
    check_algorithms(algorithms)
    sizes = {n: size for n, size in _GRIDS.items() if n in algorithms or n == "phash"}
    areas = areas and "whash" in algorithms
    if "whash" in algorithms and not areas and resample.is_tiny(greys[0]):
        sizes["whash"] = _whash_size(greys[0])
    stacks = resample.shrink(greys, list(sizes.values()), areas=areas)
    return dict(zip([*sizes, "whash"] if areas else sizes, stacks, strict=True))


def pack_readings(bits: dict[str, Bits], grids: Pixels) -> list[Reading]:
    """Pack the bits of each picture's hashes; `grids`, those of phash, tell what is flat."""
    # All at once: for tiny pictures the calls cost more than the work.
    count = len(grids)
    rows = np.concatenate([part.reshape(count, 64) for part in bits.values()], axis=1)
    numbers = np.packbits(rows, axis=1).view(">i8").tolist()
    pixels = grids.reshape(count, -1)
    flat = (pixels.max(axis=1) - pixels.min(axis=1) <= _FLAT_SPAN).tolist()
    return [
        Reading(Hashes(**dict(zip(bits, four, strict=True))), is_flat)
        for four, is_flat in zip(numbers, flat, strict=True)
    ]


def _whash_size(grey: Image.Image) -> Size:
    """Return the largest power of two that fits into the picture, at least 8, as a square."""
    side = max(8, 1 << (min(grey.size).bit_length() - 1))
    return side, side


def _ahash_bits(grids: Pixels) -> Bits:
    # pixel > mean of the 64, without leaving integers
    bits: Bits = grids * np.uint16(64) > grids.sum(axis=(1, 2), keepdims=True)
    return bits


def _dhash_bits(grids: Pixels) -> Bits:
    return grids[:, :, 1:] > grids[:, :, :-1]


# Each takes a stack of grids and returns a stack of 8 x 8 bits.
_BITS: dict[str, Callable[[Pixels], Bits]] = {
    "ahash": _ahash_bits,
    "dhash": _dhash_bits,
    "phash": phash.phash_bits,
    "whash": whash.whash_bits,
}
