"""Hashes that somebody has already, by the million, into a collection: all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
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
    collection: str | None,
    columns: Mapping[str, str] | None = None,
    watching: Watching = lambda done, failed: None,
) -> Imported:
    """Store the hashes of a table in a collection, in one transaction; `-` is stdin.

    Without a collection each row goes to that which an export of imgdb says. The table is CSV, JSON
    Lines or Parquet. `columns` says for path, id and hashes which column holds them, where they are
    called otherwise. Raises BadLines when any line is bad, UsageError when the file is no table of
    hashes.
    """
    if collection is not None and not collection.strip():
        raise UsageError("a collection needs a name")
    with read_committed(conn):
        complaints = Complaints()
        staged = _stage(conn, file, collection, columns, complaints, watching)
        if not complaints.count:
            _find_repeated(conn, complaints)
        if complaints.count:
            raise BadLines(file, complaints)
        # Not before: who makes the same collection waits from here until the end.
        made = [value(conn, MAKE_COLLECTION, name) for name in staged.collections]
        stored = _store(conn, made[0]) if made else Stored(0, 0)
    return Imported(stored.added, stored.updated, staged.count - stored.added - stored.updated)


@dataclass(frozen=True, slots=True)
class _Staged:
    """What was copied: how many rows, and the names of the collections that they go to."""

    count: int
    collections: Sequence[str]


def _stage(
    conn: Session,
    file: str,
    collection: str | None,
    columns: Mapping[str, str] | None,
    complaints: Complaints,
    watching: Watching,
) -> _Staged:
    """Copy the good lines into the transaction's own table."""
    conn.execute(STAGE)
    chunks = hash_table.read(file, complaints, columns)
    # The columns are known when the first rows are.
    first = next(chunks, None)
    named = set() if collection is None else {collection}
    if first is None:
        return _Staged(0, [*named])
    if collection is None and "collection" not in first.columns:
        raise UsageError("give --collection: only an export of imgdb says where its rows belong")
    count = 0
    kept = [name for name in first.columns if name != "collection" or collection is None]
    statement = SQL(COPY).format(SQL(", ").join(map(Identifier, kept)))
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for rows in chain([first], chunks):
            shown = [rows.columns[name] for name in kept]
            for row in zip(rows.lines, rows.names, *shown, strict=True):
                copy.write_row(row)
            if collection is None:
                named.update(map(str, rows.columns["collection"]))
            count += len(rows.names)
            watching(count, complaints.count)
    # Always in one order: who makes the same collections waits, and no two for each other.
    return _Staged(count, sorted(named))


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
