"""Whether a picture is flat, from its hashes alone: what imgdb._is_flat must answer."""

from imgdb.hashes.values import Hashes, bit_distance

# What a solid colour gives: phash keeps the sum of the pixels as its first bit, unless black.
SOLID = {"ahash": (0,), "dhash": (0,), "phash": (-(1 << 63), 0), "whash": (0,)}


def is_flat(hashes: Hashes) -> bool:
    """With phash: all hashes are within 4 bits of a solid colour's; without it, equal to them."""
    slack = 4 if hashes.phash is not None else 0
    made = [
        min(bit_distance(value, solid) for solid in solids) <= slack
        for name, solids in SOLID.items()
        if (value := getattr(hashes, name)) is not None
    ]
    return bool(made) and all(made)
