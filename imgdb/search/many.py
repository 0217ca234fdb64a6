"""Search for many hashes at once: in SQL, or in this process's memory where that costs less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from imgdb.database.columns import copied_columns
from imgdb.errors import UsageError
from imgdb.hashes.near import NearHashes

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

COST = "SELECT * FROM imgdb._search_cost(%s, %s)"
WITHIN_ANY = "SELECT * FROM imgdb.within_any(%s, %s, %s)"
EXPORT = "SELECT hash FROM imgdb._all_hashes(%(space)s)"

# Microseconds for each stored hash, to export and to sort it by all bands; and the part of a
# search's cost in SQL that one costs here. Measured on one core (docs/benchmarks.md).
EXPORT_COST = 2.0
PART = 0.15
# Queries that one call of within_any is given.
BATCH = 5_000


@dataclass(frozen=True, slots=True)
class Near:
    """A stored hash that is near one that was asked for, both signed."""

    query_hash: int
    hash: int
    distance: int


def within_many(
    conn: psycopg.Connection[Any], space: str, hashes: Iterable[int], max_distance: int
) -> Iterator[Near]:
    """Yield every stored hash within `max_distance` of any of many, as `imgdb.within_any` finds.

    Thousands of hashes are searched in an export of the space: 40 bytes of memory for each stored
    one. Each is asked for once, in no order.
    """
    try:
        queries = np.unique(np.fromiter(map(index, hashes), dtype=np.int64))
    except OverflowError:
        raise UsageError("a hash is a signed 64-bit number; imgdb.from_hex gives it") from None
    found = conn.execute(COST, (space, max_distance)).fetchone()
    assert found is not None
    count, cost = found
    if len(queries) * cost * (1 - PART) <= count * EXPORT_COST:
        for first in range(0, len(queries), BATCH):
            asked = queries[first : first + BATCH].tolist()
            for row in conn.execute(WITHIN_ANY, (space, asked, max_distance)):
                yield Near(*row)
        return
    stored = np.unique(copied_hashes(conn, space))
    near = NearHashes([queries.view(np.uint64)], [stored])
    for _, a, b in near.pairs(max_distance):
        distances = np.bitwise_count(queries.view(np.uint64)[a] ^ stored[b])
        columns = (queries[a].tolist(), stored[b].view(np.int64).tolist(), distances.tolist())
        yield from map(Near, *columns)


def copied_hashes(conn: psycopg.Connection[Any], space: str) -> Hashes:
    """Fetch all hashes of a space, some of them several times."""
    columns = copied_columns(conn, EXPORT, {"hash": np.int64}, {"space": space})
    return columns["hash"].view(np.uint64)
