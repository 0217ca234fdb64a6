"""Copy the checked rows of an import into temporary tables, from where they are stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, compress
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.sql import SQL, Identifier

from imgdb.database import binary_copy
from imgdb.database.binary_copy import Fields, copying, together
from imgdb.ingest.tables.hash_table import Rows
from imgdb.stopping import Stopping

STAGE = "SELECT imgdb._stage_import()"
COPY = "COPY pg_temp.fresh_hash (line, {}, path) FROM STDIN (FORMAT binary)"

# Told how many rows are read, and how many of them are bad.
Watching = Callable[[int, int], None]


@dataclass(slots=True)
class Staged:
    """What is copied into the staging tables: how many rows, and the hashes of each column."""

    count: int = 0
    _parts: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)

    def add(self, rows: Rows) -> None:
        """Note rows."""
        self.count += len(rows.names)
        for name, column in rows.hashes.items():
            self._parts.setdefault(name, []).append(column.values[column.known])

    def hashes(self) -> dict[str, NDArray[np.int64]]:
        """Return all hashes by column."""
        return {name: np.concatenate(parts) for name, parts in self._parts.items()}


def stage(
    sessions: list[psycopg.Connection[Any]],
    chunks: Iterator[Rows],
    stopping: Stopping,
    watching: Watching,
) -> Staged:
    """Copy rows into the staging tables, each path always into the same."""
    staged = Staged()
    for session in sessions:
        session.execute(STAGE)
    # The columns are known when the first rows are.
    first = next(chunks, None)
    if first is None:
        return staged
    statement = SQL(COPY).format(SQL(", ").join(map(Identifier, first.hashes)))
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(copying(session, statement)) for session in sessions]
        for rows in chain([first], chunks):
            names = rows.names
            parts = heads(1, [(">i4", 8), (">i8", rows.lines)], rows)
            shares = np.fromiter(map(hash, names), np.int64, len(names)) % len(sessions)
            for share, write in enumerate(writers):
                chosen = (shares == share).tolist()
                write(together(compress(parts, chosen), compress(names, chosen)))
            staged.add(rows)
            watching(staged.count, 0)
            stopping.refuse()
    return staged


def heads(leading: int, fields: Fields, rows: Rows) -> list[bytes]:
    """Return rows in COPY's binary format up to their last field, the name.

    `fields` are those of the `leading` columns, which come before the hashes.
    """
    count = len(rows.names)
    columns = rows.hashes.values()
    layout: list[tuple[str, Any]] = [(">i2", leading + len(columns) + 1), *fields]
    for column in columns:
        layout += [(">i4", np.where(column.known, 8, -1)), (">i8", column.values)]
    lengths = np.fromiter(map(len, rows.names), np.int32, count)
    found = binary_copy.numbers([*layout, (">i4", lengths)], count)
    if all(column.known.all() for column in columns):
        return binary_copy.parts(found)
    kept = np.ones(found.shape, bool)
    # The hashes lie before the length of the name, each behind a length of its own.
    first = found.shape[1] - 4 - 12 * len(columns)
    for place, column in enumerate(columns):
        value = first + 12 * place + 4
        kept[~column.known, value : value + 8] = False
    return binary_copy.parts(found, kept)
