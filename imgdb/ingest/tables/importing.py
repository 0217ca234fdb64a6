"""Hashes that somebody has already, by the million, into a collection: all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain

from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from imgdb.database.collections import MAKE_COLLECTION, Stored
from imgdb.database.sessions import Session, read_committed, value
from imgdb.errors import UsageError
from imgdb.ingest.tables import hash_table
from imgdb.ingest.tables.bad_lines import TOLD, BadLines, Complaints

STAGE = "SELECT imgdb._stage_import()"
COPY = "COPY pg_temp.fresh_hash (line, path, {}) FROM STDIN"
REPEATED = "SELECT * FROM imgdb._repeated_imports(%s)"
STORE = "SELECT * FROM imgdb._store_import(%s)"

# Another session may have stored one of the paths meanwhile: the next attempt sees it.
ATTEMPTS = 5

# Told how many rows are read, and how many of them are bad.
Watching = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A line whose path stands in an earlier line, and how many such lines there are."""

    line: int
    first_line: int
    line_count: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows; `unchanged` ones say the same, or were made from a file."""

    added: int
    updated: int
    unchanged: int


def import_hashes(
    conn: Session,
    file: str,
    *,
    collection: str,
    columns: Mapping[str, str] | None = None,
    watching: Watching = lambda done, failed: None,
) -> Imported:
    """Store the hashes of a table in a collection, in one transaction; `-` is stdin.

    The table is CSV, JSON Lines or Parquet. `columns` says for path, id and hashes which column
    holds them, where they are called otherwise.
    Raises BadLines when any line is bad, UsageError when the file is no table of hashes.
    """
    if not collection.strip():
        raise UsageError("a collection needs a name")
    with read_committed(conn):
        complaints = Complaints()
        count = _stage(conn, file, columns, complaints, watching)
        if not complaints.count:
            _find_repeated(conn, complaints)
        if complaints.count:
            raise BadLines(file, complaints)
        # Not before: who makes the same collection waits from here until the end.
        stored = _store(conn, value(conn, MAKE_COLLECTION, collection))
    return Imported(stored.added, stored.updated, count - stored.added - stored.updated)


def _stage(
    conn: Session,
    file: str,
    columns: Mapping[str, str] | None,
    complaints: Complaints,
    watching: Watching,
) -> int:
    """Copy the good lines into the transaction's own table; return how many."""
    conn.execute(STAGE)
    chunks = hash_table.read(file, complaints, columns)
    # The columns are known when the first rows are.
    first = next(chunks, None)
    if first is None:
        return 0
    count = 0
    statement = SQL(COPY).format(SQL(", ").join(map(Identifier, first.hashes)))
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in chain([first], chunks):
            for row in zip(rows.lines, rows.names, *rows.hashes.values(), strict=True):
                copy.write_row(row)
            count += len(rows.names)
            watching(count, complaints.count)
    return count


def _find_repeated(conn: Session, complaints: Complaints) -> None:
    with conn.cursor(row_factory=class_row(Repeated)) as cursor:
        told = cursor.execute(REPEATED, (TOLD,)).fetchall()
    for repeated in told:
        complaints.add(repeated.line, f"the path stands in line {repeated.first_line} already")
    complaints.count = told[0].line_count if told else 0


def _store(conn: Session, collection_id: int) -> Stored:
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(UniqueViolation):
            return _attempt(conn, collection_id)
    return _attempt(conn, collection_id)


def _attempt(conn: Session, collection_id: int) -> Stored:
    # A savepoint: the lines need not be read again.
    with conn.transaction(), conn.cursor(row_factory=class_row(Stored)) as cursor:
        stored = cursor.execute(STORE, (collection_id,)).fetchone()
    assert stored is not None
    return stored
