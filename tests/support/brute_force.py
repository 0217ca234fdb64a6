"""What a search must answer, by comparing every hash with every other in numpy."""

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.int64]


def signed(hashes: object) -> Hashes:
    """Return distinct hashes, sorted, as PostgreSQL holds them."""
    return np.unique(np.asarray(hashes).astype(np.uint64, copy=False).view(np.int64))


def distances(hashes: Hashes, query: int) -> npt.NDArray[np.uint8]:
    """Return the number of differing bits of each hash and the query."""
    turned = np.ascontiguousarray(hashes ^ np.int64(query)).view(np.uint8)
    return np.unpackbits(turned.reshape(-1, 8), axis=1).sum(axis=1, dtype=np.uint8)


def within(hashes: Hashes, query: int, radius: int) -> dict[int, int]:
    """Return hash to distance of all that are within the radius."""
    found = distances(hashes, query)
    near = found <= radius
    return dict(zip(hashes[near].tolist(), found[near].tolist(), strict=True))


def nearest(hashes: Hashes, query: int, limit: int, radius: int) -> list[tuple[int, int]]:
    """Return (hash, distance) of the nearest, ties by hash."""
    found = within(hashes, query, radius)
    return sorted(found.items(), key=lambda match: (match[1], match[0]))[:limit]


def pairs(hashes: Hashes, radius: int) -> dict[tuple[int, int], int]:
    """Return (smaller hash, larger hash) to distance of all that are within the radius."""
    return {
        (a, b): distance
        for place, a in enumerate(hashes.tolist())
        for b, distance in within(hashes[place + 1 :], a, radius).items()
    }
