"""Hashes that somebody has already, by the million, into a collection: all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.rows import class_row

from imgdb.cores import available_cores
from imgdb.database import buckets
from imgdb.database.buckets import Indexed
from imgdb.database.collections import MAKE_COLLECTION, Stored
from imgdb.database.sessions import Session, at_once, read_committed, twin, value
from imgdb.errors import DatabaseFailure, UsageError
from imgdb.ingest.tables import first_import, hash_table, staging
from imgdb.ingest.tables.bad_lines import TOLD, BadLines, Complaints
from imgdb.stopping import Stopping

REPEATED = "SELECT * FROM imgdb._repeated_imports(%s)"
ANY_STORED = "SELECT imgdb._any_stored(%s)"
STORE = "SELECT * FROM imgdb._store_import(%s, are_indexed => %s)"

# Below this a second connection takes longer to make than it saves.
SMALL_FILE = 4 << 20
MOST_SESSIONS = 4

Works = Mapping[Session, Callable[[Session], Any]]
NOTHING: Works = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Repeated:
    """A line whose path stands in an earlier line, and how many such lines there are."""

    line: int
    first_line: int
    line_count: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows; `unchanged` ones say the same, or were made from a file.

    `indexed` unless the triggers did that.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    indexed: Indexed | None = field(default=None, compare=False)


def import_hashes(
    conn: Session,
    path: Path,
    *,
    collection: str,
    stopping: Stopping | None = None,
    watching: staging.Watching = lambda done, failed: None,
) -> Imported:
    """Store the hashes of a CSV or Parquet file in a collection: all of them or none.

    Raises BadLines when any line is bad, UsageError when the file is no table of hashes.
    """
    if not collection.strip():
        raise UsageError("a collection needs a name")
    stopping = stopping or Stopping()
    large = path.stat().st_size >= SMALL_FILE
    if large:
        first = first_import.store(conn, path, collection, stopping, watching)
        if first is not None:
            return Imported(first[0], indexed=first[1])
    complaints = Complaints()
    with contextlib.ExitStack() as stack:
        # It commits last: it holds locks for all.
        stack.enter_context(read_committed(conn))
        large = large and buckets.may_index(conn)
        # With triggers one is as quick: what several index takes compacting.
        twins = min(available_cores(), MOST_SESSIONS) - 1 if large else 0
        sessions = [conn, *(stack.enter_context(twin(conn)) for _ in range(twins))]
        # All are written to before the first commits, and commit one right after the other.
        for session in sessions[1:]:
            stack.enter_context(read_committed(session))
        chunks = hash_table.read(path, complaints)
        staged = staging.stage(sessions, chunks, stopping, watching)
        if complaints.count:
            raise BadLines(path, complaints)
        other = stack.enter_context(twin(conn))
        # Committed at once: every session refers to it.
        collection_id = int(value(other, MAKE_COLLECTION, collection))
        storing = _Storing(sessions, collection_id, path, stopping)
        indexed: Indexed | None = None
        if storing.any_stored() or not large:
            stored = storing.by_triggers()
        else:
            stored, indexed = storing.by_copy(other, staged.hashes())
    added, updated = sum(s.added for s in stored), sum(s.updated for s in stored)
    return Imported(added, updated, staged.count - added - updated, indexed=indexed)


@dataclass(frozen=True, slots=True)
class _Storing:
    """Have every session store what it staged, all at once."""

    sessions: list[Session]
    collection_id: int
    path: Path
    stopping: Stopping

    def any_stored(self) -> bool:
        """Tell whether the collection has one of the paths already."""
        asking = at_once(dict.fromkeys(self.sessions, self._ask), self.stopping)
        return any(asked.result() for asked in asking.values())

    def by_triggers(self) -> list[Stored]:
        """Store; the triggers index the hashes."""
        stored, left = self._attempt(self.sessions, are_indexed=False)
        return stored + self._again(left)

    def by_copy(
        self, other: Session, hashes: dict[str, NDArray[np.int64]]
    ) -> tuple[list[Stored], Indexed | None]:
        """Store what is all new, and index the hashes by COPY in another session meanwhile.

        That session commits first: whoever sees a row finds it by its hashes.
        """
        feeds = buckets.hold(self.sessions[0], list(hashes))
        if not feeds:
            return self.by_triggers(), None
        indexed: list[Indexed] = []
        with read_committed(other):
            index = partial(buckets.index, feeds=feeds, hashes=hashes)
            beside = {other: lambda session: indexed.append(index(session))}
            stored, left = self._attempt(self.sessions, are_indexed=True, beside=beside)
            return stored + self._again(left), indexed[0] if not left else None

    def _again(self, left: list[Session]) -> list[Stored]:
        """Store in sessions that met a path twice, if that is not the fault of the file."""
        if not left:
            return []
        complaints = _repeated(left)
        if complaints.count:
            raise BadLines(self.path, complaints)
        # Then somebody else has added one of the paths meanwhile: now it is seen.
        stored, left = self._attempt(left, are_indexed=False)
        if left:
            raise DatabaseFailure("another session adds the same paths; run this command again")
        return stored

    def _attempt(
        self, sessions: list[Session], *, are_indexed: bool, beside: Works = NOTHING
    ) -> tuple[list[Stored], list[Session]]:
        """Return what was stored, and the sessions that met a path twice."""
        store = partial(self._store, are_indexed=are_indexed)
        works: Works = {**dict.fromkeys(sessions, store), **beside}
        running = at_once(works, self.stopping)
        for session in beside:
            running[session].result()
        stored: list[Stored] = []
        left: list[Session] = []
        for session in sessions:
            try:
                stored.append(running[session].result())
            except psycopg.errors.UniqueViolation:
                left.append(session)
        return stored, left

    def _ask(self, session: Session) -> bool:
        return bool(value(session, ANY_STORED, self.collection_id))

    def _store(self, session: Session, *, are_indexed: bool) -> Stored:
        # A savepoint: what was staged can still be read when a path turns out to be there twice.
        with session.transaction(), session.cursor(row_factory=class_row(Stored)) as cursor:
            stored = cursor.execute(STORE, (self.collection_id, are_indexed)).fetchone()
            assert stored is not None
            return stored


def _repeated(sessions: list[Session]) -> Complaints:
    """Say which lines have the path of an earlier one: looked for only when storing ran into it."""
    complaints = Complaints()
    found: list[Repeated] = []
    for session in sessions:
        with session.cursor(row_factory=class_row(Repeated)) as cursor:
            told = cursor.execute(REPEATED, (TOLD,)).fetchall()
        complaints.count += told[0].line_count - len(told) if told else 0
        found += told
    for repeated in sorted(found, key=lambda repeated: repeated.line):
        complaints.add(repeated.line, f"the path stands in line {repeated.first_line} already")
    return complaints
