"""Index hashes by COPY, in a fraction of the time that triggers take to sort them in the server.

The rows are those of imgdb._append_buckets: for each prefix its distinct hashes in ascending order,
at most 200 in a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from imgdb.database import binary_copy
from imgdb.database.sessions import read_committed

MAY_INDEX = "SELECT imgdb._may_index()"
HOLD_INDEXING = "SELECT * FROM imgdb._hold_indexing(%s::name[])"
BEGIN_MERGE = "SELECT * FROM imgdb._begin_merge(%s)"
TAKE_HASHES = "SELECT imgdb._take_hashes(%s::smallint, %s)"
EMPTY_BUCKETS = "SELECT imgdb._empty_buckets()"
COPY = "COPY imgdb.prefix_bucket (space_id, prefix, hashes) FROM STDIN (FORMAT binary)"

MOST_HASHES = 200

# Hashes of a space that the server puts together and the client sorts in memory, 100 bytes each.
MOST_TAKEN = 16_000_000

# Rows of this many hashes are put together at a time.
_PART = 1 << 18
_INT8_TYPE = 20  # pg_type.oid of bigint

HashArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Feed:
    """Where the hashes of a column of imgdb.image are indexed, and the bands of that space."""

    hash_column: str
    space_id: int
    band_masks: list[int]


def may_index(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether the role may index without the triggers, in the transaction that it is in."""
    return conn.execute(MAY_INDEX).fetchone() == (True,)


def hold(conn: psycopg.Connection[Any], hash_columns: Sequence[str]) -> list[Feed]:
    """Return where to index, held until the transaction ends; empty: leave it to the triggers."""
    with conn.cursor(row_factory=class_row(Feed)) as cursor:
        return cursor.execute(HOLD_INDEXING, (list(hash_columns),)).fetchall()


@dataclass(frozen=True, slots=True)
class Indexed:
    """What indexing did: whether the spaces are compact now, and whether rows were replaced."""

    is_compact: bool
    has_replaced: bool


def index(
    conn: psycopg.Connection[Any], feeds: Sequence[Feed], hashes: Mapping[str, HashArray]
) -> Indexed:
    """Index the hashes of columns, in the transaction that `conn` is in.

    Where a space has no more than twice as many, its rows are replaced by ones that hold all: two
    for a bucket would cost each search a quarter more, and compacting them takes longer.
    """
    to_index: dict[int, tuple[list[int], list[HashArray]]] = {}
    for feed in feeds:
        _, parts = to_index.setdefault(feed.space_id, (feed.band_masks, []))
        parts.append(hashes[feed.hash_column])
    is_compact, has_replaced = True, False
    # In a table that is new nothing needs to be looked for.
    if conn.execute(EMPTY_BUCKETS).fetchone() != (True,):
        for space_id, (_, parts) in to_index.items():
            taken = _take(conn, space_id, min(2 * sum(map(len, parts)), MOST_TAKEN))
            if taken is None:
                is_compact = False
            else:
                has_replaced = has_replaced or len(taken) > 0
                parts.append(taken)
    _copy(conn, to_index)
    return Indexed(is_compact, has_replaced)


def index_again(conn: psycopg.Connection[Any], space_name: str) -> bool:
    """Merge the rows of a space; False, and it stays as it is, if it has too many hashes.

    As imgdb.compact does, in a tenth of the time; but hashes that nothing holds any more stay.
    """
    with read_committed(conn):
        row = conn.execute(BEGIN_MERGE, (space_name,)).fetchone()
        assert row is not None
        space_id, band_masks = row
        taken = _take(conn, space_id, MOST_TAKEN)
        if taken is None:
            return False
        _copy(conn, {space_id: (band_masks, [taken])})
    return True


def _take(conn: psycopg.Connection[Any], space_id: int, most: int) -> HashArray | None:
    row = conn.execute(TAKE_HASHES, (space_id, most), binary=True).fetchone()
    assert row is not None
    return None if row[0] is None else np.frombuffer(row[0], ">i8").astype(np.int64)


def _copy(
    conn: psycopg.Connection[Any], to_index: Mapping[int, tuple[list[int], list[HashArray]]]
) -> None:
    with binary_copy.copying(conn, COPY) as write:
        for space_id, (band_masks, parts) in to_index.items():
            for some in bucket_rows(space_id, np.concatenate(parts), band_masks):
                write(some)


def bucket_rows(space_id: int, hashes: HashArray, band_masks: Sequence[int]) -> Iterator[bytes]:
    """Yield COPY's binary format of (space_id, prefix, hashes), band by band."""
    distinct = _distinct(hashes)
    # A prefix without bits is the same in all bands, and so is its bucket.
    has_empty = np.zeros(len(distinct), bool)
    for mask in band_masks:
        is_empty = distinct & np.int64(mask) == 0
        has_empty |= is_empty
        yield from _rows_of(space_id, *_sorted_by_prefix(distinct[~is_empty], mask))
    of_empty = distinct[has_empty]
    yield from _rows_of(space_id, np.zeros_like(of_empty), of_empty)


def _rows_of(space_id: int, prefixes: HashArray, hashes: HashArray) -> Iterator[bytes]:
    starts = _row_starts(prefixes)
    ends = np.append(starts[1:], len(hashes))
    part = np.searchsorted(starts, np.arange(0, len(hashes), _PART)).tolist()
    for first, last in pairwise([*part, len(starts)]):
        yield _encoded(space_id, prefixes, hashes, starts[first:last], ends[first:last])


def _distinct(hashes: HashArray) -> HashArray:
    """Return them sorted; np.unique builds a hash table, which takes several times as long."""
    ordered = np.sort(hashes)
    distinct: HashArray = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return distinct


def _sorted_by_prefix(distinct: HashArray, mask: int) -> tuple[HashArray, HashArray]:
    """Return the prefixes and the hashes of a band, the hashes of each prefix ascending."""
    bits = distinct.view(np.uint64)
    # The bits of the band side by side, then the place among the hashes: sorting such numbers is
    # many times quicker than sorting by two keys. A band has 22 bits at most.
    keys = np.zeros(len(distinct), np.uint64)
    place = 42
    for first, count in _runs(mask):
        run = bits >> np.uint64(first) & np.uint64((1 << count) - 1)
        keys |= run << np.uint64(place)
        place += count
    keys |= np.arange(len(distinct), dtype=np.uint64)
    keys.sort()
    hashes = distinct[(keys & np.uint64((1 << 42) - 1)).view(np.int64)]
    return hashes & np.int64(mask), hashes


def _runs(mask: int) -> Iterator[tuple[int, int]]:
    """Yield the first bit and the number of each run of adjacent bits."""
    ones = [bit for bit in range(64) if mask >> bit & 1]
    for _, run in groupby(enumerate(ones), lambda placed: placed[1] - placed[0]):
        bits = [bit for _, bit in run]
        yield bits[0], len(bits)


def _row_starts(prefixes: HashArray) -> NDArray[np.int64]:
    """Return where rows begin: at each new prefix, and after each 200 hashes of one."""
    places = np.arange(len(prefixes))
    new = np.append(True, prefixes[1:] != prefixes[:-1])[: len(prefixes)]
    firsts = np.maximum.accumulate(np.where(new, places, 0))
    return np.flatnonzero((places - firsts) % MOST_HASHES == 0)


def _encoded(
    space_id: int,
    prefixes: HashArray,
    hashes: HashArray,
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> bytes:
    counts = ends - starts
    heads = binary_copy.numbers(
        [
            (">i2", 3),  # columns
            (">i4", 2),
            (">i2", space_id),
            (">i4", 8),
            (">i8", prefixes[starts]),
            (">i4", 20 + 12 * counts),
            (">i4", 1),  # dimensions
            (">i4", 0),  # no NULL among them
            (">i4", _INT8_TYPE),
            (">i4", counts),
            (">i4", 1),  # the lower bound
        ],
        len(starts),
    )
    first = starts[0]
    values = hashes[first : ends[-1]]
    content = memoryview(binary_copy.numbers([(">i4", 8), (">i8", values)], len(values)).tobytes())
    arrays = [
        content[start:end]
        for start, end in zip(
            (12 * (starts - first)).tolist(), (12 * (ends - first)).tolist(), strict=True
        )
    ]
    return binary_copy.together(binary_copy.parts(heads), arrays)
