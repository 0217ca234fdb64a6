"""Hashes that somebody has already, by the million, into a collection: all of them or none."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from imgdb import hash_table
from imgdb.errors import DatabaseFailure, ImgdbError, UsageError
from imgdb.hash_table import Complaints, Rows
from imgdb.pool import available_cores
from imgdb.stopping import Stopping
from imgdb.store import MAKE_COLLECTION, Stored

STAGE = "SELECT imgdb._stage_import()"
COPY = "COPY pg_temp.fresh_hash (line, path, {}) FROM STDIN"
REPEATED = "SELECT * FROM imgdb._repeated_imports(%s)"
STORE = "SELECT * FROM imgdb._store_import(%s)"

# Below this a second connection takes longer to make than it saves.
SMALL_FILE = 4 << 20
MOST_SESSIONS = 4

# What COPY's text format takes for something else.
_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class BadLines(ImgdbError):
    """A file of hashes with bad lines; `told` are the first of them. Nothing was written."""

    def __init__(self, path: Path, complaints: Complaints) -> None:
        lines = "1 bad line" if complaints.count == 1 else f"{complaints.count:,} bad lines"
        super().__init__(f"{lines} in {path}, so nothing was imported")
        self.told = complaints.told()


@dataclass(frozen=True, slots=True)
class Repeated:
    """A line whose path stands in an earlier line, and how many such lines there are."""

    line: int
    first_line: int
    line_count: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows; `unchanged` ones say the same, or were made from a file."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0


def import_hashes(
    conn: psycopg.Connection[Any],
    path: Path,
    *,
    collection: str,
    stopping: Stopping | None = None,
    watching: Callable[[int, int], None] = lambda done, failed: None,
) -> Imported:
    """File the hashes of a CSV or Parquet file in a collection: all of them or none.

    Raises BadLines when any line is bad, UsageError when the file is no table of hashes.
    """
    if not collection.strip():
        raise UsageError("a collection needs a name")
    stopping = stopping or Stopping()
    count = 1 if path.stat().st_size < SMALL_FILE else min(available_cores(), MOST_SESSIONS)
    complaints = Complaints()
    with contextlib.ExitStack() as stack:
        sessions = [conn, *(stack.enter_context(_twin(conn)) for _ in range(count - 1))]
        # All are written to before the first commits, and commit one right after the other.
        for session in sessions:
            stack.enter_context(session.transaction())
            session.execute(STAGE)
        total = _stage(sessions, hash_table.read(path, complaints), stopping, watching)
        if complaints.count:
            raise BadLines(path, complaints)
        with _twin(conn) as other:
            # Committed at once: every session refers to it.
            row = other.execute(MAKE_COLLECTION, (collection,)).fetchone()
            assert row is not None
        stored = _store(sessions, int(row[0]), stopping, path)
    added, updated = sum(s.added for s in stored), sum(s.updated for s in stored)
    return Imported(added, updated, total - added - updated)


Session = psycopg.Connection[Any]


def _twin(conn: Session) -> Session:
    """Connect once more to where a connection leads."""
    # The connection string that a connection remembers is without its password.
    password = {"password": conn.info.password} if conn.info.password else {}
    conninfo = make_conninfo(conn.info.dsn, **password)
    return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)


def _stage(
    sessions: list[Session],
    chunks: Iterator[Rows],
    stopping: Stopping,
    watching: Callable[[int, int], None],
) -> int:
    """Copy rows into the staging tables, each path always into the same; return how many."""
    total = 0
    # The columns are known when the first rows are.
    first = next(chunks, None)
    if first is None:
        return 0
    statement = SQL(COPY).format(SQL(", ").join(map(Identifier, first.hashes)))
    with contextlib.ExitStack() as stack:
        copies = [stack.enter_context(session.cursor().copy(statement)) for session in sessions]
        for rows in chain([first], chunks):
            shares: list[list[str]] = [[] for _ in sessions]
            for name, line in zip(rows.names, _copy_lines(rows), strict=True):
                shares[hash(name) % len(shares)].append(line)
            for copy, share in zip(copies, shares, strict=True):
                copy.write("".join(share))
            total += len(rows.names)
            watching(total, 0)
            _refuse_if(stopping)
    return total


def _copy_lines(rows: Rows) -> Iterator[str]:
    """Yield rows in COPY's text format."""
    names = rows.names
    if _SPECIAL.search("".join(names)):
        names = [name.translate(_ESCAPES) for name in names]
    hashes = [
        ["\\N" if value is None else str(value) for value in column] if None in column else column
        for column in rows.hashes.values()
    ]
    if len(hashes) == 1:
        # Most imports, and twice as fast.
        return (
            f"{line}\t{name}\t{value}\n"
            for line, name, value in zip(rows.lines, names, hashes[0], strict=True)
        )
    columns = zip(rows.lines, names, *hashes, strict=True)
    return ("\t".join(map(str, cells)) + "\n" for cells in columns)


def _find_repeated(sessions: list[Session], complaints: Complaints) -> None:
    """Say which lines have the path of an earlier one: looked for only when storing ran into it."""
    found: list[Repeated] = []
    for session in sessions:
        with session.cursor(row_factory=class_row(Repeated)) as cursor:
            told = cursor.execute(REPEATED, (hash_table.TOLD,)).fetchall()
        complaints.count += told[0].line_count - len(told) if told else 0
        found += told
    for repeated in sorted(found, key=lambda repeated: repeated.line):
        complaints.add(repeated.line, f"the path stands in line {repeated.first_line} already")


def _store(
    sessions: list[Session], collection_id: int, stopping: Stopping, path: Path
) -> list[Stored]:
    """Have every session store what it staged, all at once."""
    stored, left = _store_at_once(sessions, collection_id, stopping)
    if left:
        complaints = Complaints()
        _find_repeated(left, complaints)
        if complaints.count:
            raise BadLines(path, complaints)
        # Then somebody else has added one of the paths meanwhile: now it is seen.
        again, left = _store_at_once(left, collection_id, stopping)
        if left:
            raise DatabaseFailure("another session adds the same paths; run this command again")
        stored += again
    return stored


def _store_at_once(
    sessions: list[Session], collection_id: int, stopping: Stopping
) -> tuple[list[Stored], list[Session]]:
    """Return what was stored, and the sessions that met a path twice."""
    stored: list[Stored] = []
    left: list[Session] = []
    with ThreadPoolExecutor(len(sessions)) as threads:
        running = {threads.submit(_store_one, s, collection_id): s for s in sessions}
        while wait(running, timeout=0.1).not_done:
            if stopping.asked:
                for session in sessions:
                    session.cancel_safe()
                break
    _refuse_if(stopping)
    for future, session in running.items():
        try:
            stored.append(future.result())
        except psycopg.errors.UniqueViolation:
            left.append(session)
    return stored, left


def _store_one(session: Session, collection_id: int) -> Stored:
    # A savepoint: what was staged can still be read when a path turns out to be there twice.
    with session.transaction(), session.cursor(row_factory=class_row(Stored)) as cursor:
        stored = cursor.execute(STORE, (collection_id,)).fetchone()
        assert stored is not None
        return stored


def _refuse_if(stopping: Stopping) -> None:
    if stopping.asked:
        raise KeyboardInterrupt
