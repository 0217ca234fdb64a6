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

from imgdb import binary_copy
from imgdb.hash_table import Rows
from imgdb.stopping import Stopping

STAGE = "SELECT imgdb._stage_import()"
COPY = "COPY pg_temp.fresh_hash (line, {}, path) FROM STDIN (FORMAT binary)"


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
    watching: Callable[[int, int], None],
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
        copies = [stack.enter_context(session.cursor().copy(statement)) for session in sessions]
        for copy in copies:
            copy.write(binary_copy.HEADER)
        for rows in chain([first], chunks):
            names = [name.encode() for name in rows.names]
            heads = _heads(rows, list(map(len, names)))
            shares = np.fromiter(map(hash, names), np.int64, len(names)) % len(sessions)
            for share, copy in enumerate(copies):
                chosen = (shares == share).tolist()
                copy.write(binary_copy.together(compress(heads, chosen), compress(names, chosen)))
            staged.add(rows)
            watching(staged.count, 0)
            stopping.refuse()
        for copy in copies:
            copy.write(binary_copy.TRAILER)
    return staged


def _heads(rows: Rows, name_lengths: list[int]) -> list[bytes]:
    """Return rows in COPY's binary format up to their last field, the name."""
    count = len(name_lengths)
    fields: list[tuple[str, Any]] = [(">i2", 2 + len(rows.hashes)), (">i4", 8), (">i8", rows.lines)]
    for column in rows.hashes.values():
        fields += [(">i4", np.where(column.known, 8, -1)), (">i8", column.values)]
    heads = binary_copy.numbers([*fields, (">i4", name_lengths)], count)
    if all(column.known.all() for column in rows.hashes.values()):
        return binary_copy.parts(heads)
    kept = np.ones(heads.shape, bool)
    for place, column in enumerate(rows.hashes.values()):
        value = 18 + 12 * place  # behind the line and the lengths
        kept[~column.known, value : value + 8] = False
    return binary_copy.parts(heads, kept)
