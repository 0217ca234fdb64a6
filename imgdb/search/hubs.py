"""The hashes that flood searches, because very many images have them or are near them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imgdb.database.columns import copied_columns
from imgdb.database.connect import read_only
from imgdb.hashes.near import NearHashes, lone_searches
from imgdb.hashes.values import USUAL_RULE, rule_hashes, to_hex

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

HELD = (
    "SELECT * FROM imgdb._held_hashes(space_name => %(space)s, max_distance => %(max_distance)s,"
    " collection_name => %(collection)s)"
)
COLUMNS = {"hash": np.int64, "second": np.int64, "known": np.int32, "images": np.int64}
PATHS = (
    "SELECT * FROM imgdb._first_paths(space_name => %(space)s, collection_name => %(collection)s,"
    " of_hashes => %(hashes)s, of_seconds => %(seconds)s)"
)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hash that `images` images have; each of these matches `matches` other images.

    By a rule it is two hashes, `second` is the other one; one of them may be lacking.
    """

    hash: int | None
    second: int | None
    images: int
    matches: int
    path: str

    @property
    def hex(self) -> str:
        """The hash in hex digits, two joined by + as in the name of the rule."""
        first = "" if self.hash is None else to_hex(self.hash)
        return first if self.second is None else f"{first}+{to_hex(self.second)}"


def hub_distance(rule: str) -> int:
    """Return the distance that counts if nobody says one: less than in searches, to be quick."""
    return 4 * len(rule_hashes(rule))


def hubs(
    conn: psycopg.Connection[Any],
    *,
    space: str = USUAL_RULE,
    max_distance: int | None = None,
    flood: int = 20,
    collection: str | None = None,
    limit: int | None = None,
) -> list[Hub]:
    """List the hashes whose images match more than `flood` others, most matches first.

    `max_distance` is 4 for a hash, 8 for both together. Compares all hashes with each other. The
    connection must be outside of a transaction: the search runs in one that is read-only.
    """
    if max_distance is None:
        max_distance = hub_distance(space)
    arguments = {"space": space, "max_distance": max_distance, "collection": collection}
    with read_only(conn):
        held = copied_columns(conn, HELD, COLUMNS, arguments)
        matches = _matches(held, len(rule_hashes(space)), max_distance)
        known = held["known"]
        places = np.flatnonzero(matches > flood)
        # As SQL sorts: what is lacking comes last.
        keys = (
            held["second"], known & 2 == 0, held["hash"], known & 1 == 0, -held["images"], -matches
        )  # fmt: skip
        places = places[np.lexsort([key[places] for key in keys])][:limit]
        bits = known[places].tolist()
        hashes = _known(held["hash"][places].tolist(), bits, 1)
        seconds = _known(held["second"][places].tolist(), bits, 2)
        paths = conn.execute(PATHS, arguments | {"hashes": hashes, "seconds": seconds}).fetchall()
    counts = (held["images"][places].tolist(), matches[places].tolist())
    return list(map(Hub, hashes, seconds, *counts, (path for (path,) in paths)))


def _known(values: list[int], bits: list[int], bit: int) -> list[int | None]:
    return [value if of & bit else None for value, of in zip(values, bits, strict=True)]


def _matches(held: dict[str, NDArray[Any]], count: int, max_distance: int) -> NDArray[np.int64]:
    """Count how many other images are near one with these hashes, for each of them."""
    images, known = held["images"], held["known"]
    words = [held[name].view(np.uint64) for name in ("hash", "second")[:count]]
    found = images - 1
    both = np.flatnonzero(known == (1 << count) - 1)
    for _, a, b in NearHashes([word[both] for word in words]).pairs(max_distance):
        np.add.at(found, both[a], images[both[b]])
        np.add.at(found, both[b], images[both[a]])
    for near, of_a, of_b, radius in lone_searches(words, known, max_distance) if count > 1 else ():
        for _, a, b in near.pairs(radius):
            a, b = of_a[a], of_b[b]
            a, b = a[a != b], b[a != b]
            np.add.at(found, a, images[b])
            other = known[b] != known[a]  # else the pair comes once more, the other way round
            np.add.at(found, b[other], images[a[other]])
    return found
