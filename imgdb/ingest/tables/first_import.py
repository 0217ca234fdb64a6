"""The first images of all come straight from the file: into a table without indexes, not logged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.sql import SQL, Identifier

from imgdb.database import binary_copy, buckets
from imgdb.database.buckets import Indexed
from imgdb.database.collections import MAKE_COLLECTION
from imgdb.database.sessions import Session, at_once, read_committed, twin, value
from imgdb.hashes import values
from imgdb.hashes.values import ALGORITHMS, Hashes
from imgdb.ingest.tables import hash_table
from imgdb.ingest.tables.bad_lines import BadLines, Complaints
from imgdb.ingest.tables.hash_table import Rows
from imgdb.ingest.tables.staging import Staged, Watching, heads
from imgdb.stopping import Stopping

BEGIN = "SELECT imgdb._begin_first_import(%s::name[])"
END = "SELECT imgdb._end_first_import(%s)"
HOLD_COLLECTION = "SELECT imgdb._hold_collection(%s)"
COPY = "COPY imgdb.image (collection_id, recipe, flat, {}, path) FROM STDIN (FORMAT binary)"

_RECIPE = b"imported"
_NO_HASHES = dict.fromkeys(ALGORITHMS)


def store(
    conn: Session, path: Path, collection: str, stopping: Stopping, watching: Watching
) -> tuple[int, Indexed] | None:
    """Store and index all rows of a file of hashes, or none; return how many.

    None if images are there, the triggers must file, another session is at the table, or a path
    stands there twice. Raises BadLines when any line is bad, UsageError when the file is no table.
    """
    with contextlib.suppress(psycopg.errors.UniqueViolation), read_committed(conn):
        if buckets.may_index(conn):
            return _store(conn, path, collection, stopping, watching)
    return None


def _store(
    conn: Session, path: Path, collection: str, stopping: Stopping, watching: Watching
) -> tuple[int, Indexed] | None:
    complaints = Complaints()
    chunks = hash_table.read(path, complaints)
    first = next(chunks, None)
    if first is None:
        return None
    columns = list(first.hashes)
    feeds = buckets.hold(conn, columns)
    remake = value(conn, BEGIN, columns) if feeds else None
    if remake is None:
        return None
    collection_id = int(value(conn, MAKE_COLLECTION, collection))
    conn.execute(HOLD_COLLECTION, (collection_id,))
    staged = Staged()
    statement = SQL(COPY).format(SQL(", ").join(map(Identifier, columns)))
    with contextlib.ExitStack() as copying:
        write = copying.enter_context(binary_copy.copying(conn, statement))
        for rows in chain([first], chunks):
            if not complaints.count:
                write(_encoded(collection_id, rows))
                staged.add(rows)
            watching(staged.count, complaints.count)
            stopping.refuse()
        if complaints.count:
            raise BadLines(path, complaints)
        # All lines are good. The session that indexes commits first: whoever sees a row finds it by
        # its hashes.
        with twin(conn) as other, read_committed(other):
            works: dict[Session, Callable[[Session], Indexed | None]] = {
                conn: partial(_end, copying=copying.pop_all(), remake=remake),
                other: partial(buckets.index, feeds=feeds, hashes=staged.hashes()),
            }
            running = at_once(works, stopping)
            running[conn].result()
            indexed = running[other].result()
            assert indexed is not None
    return staged.count, indexed


def _end(conn: Session, copying: contextlib.ExitStack, remake: list[str]) -> None:
    """Wait until the server has the rows, and make the indexes again."""
    copying.close()
    conn.execute(END, (remake,))


def _encoded(collection_id: int, rows: Rows) -> bytes:
    """Return rows in COPY's binary format."""
    lead = [
        (">i4", 4),
        (">i4", collection_id),
        (">i4", len(_RECIPE)),
        (f"S{len(_RECIPE)}", _RECIPE),
        (">i4", 1),
        ("u1", _flat(rows)),
    ]
    return binary_copy.together(heads(3, lead, rows), rows.names)


def _flat(rows: Rows) -> NDArray[np.bool_]:
    """Guess which are flat; few can be, and only these are looked at one by one."""
    flat = np.ones(len(rows.names), bool)
    for column in rows.hashes.values():
        flat &= _has_few_bits(column.values)
    for at in np.flatnonzero(flat).tolist():
        known = {
            name: int(column.values[at]) for name, column in rows.hashes.items() if column.known[at]
        }
        flat[at] = values.is_flat(Hashes(**{**_NO_HASHES, **known}))
    return flat


def _has_few_bits(hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which have no more bits than a flat picture's: 4, and the first of phash."""
    for _ in range(5):
        hashes = hashes & (hashes - 1)  # without the lowest bit
    few: NDArray[np.bool_] = hashes == 0
    return few
