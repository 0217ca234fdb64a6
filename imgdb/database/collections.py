"""Collections: which there are, their names and their end; how many rows a batch changed in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

from imgdb.database.connect import read_only
from imgdb.database.sessions import value
from imgdb.errors import UsageError

MAKE_COLLECTION = "SELECT imgdb._make_collection(%s)"
COLLECTIONS = "SELECT * FROM imgdb._collections()"
RENAME = "SELECT imgdb._rename_collection(%s, new_name => %s)"
REMOVE = "SELECT imgdb._remove_collection(%s)"


@dataclass(frozen=True, slots=True)
class Stored:
    """How many rows a batch added, and how many it changed."""

    added: int
    updated: int


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection; `missing` images have no file any more, `bytes` are those of all files."""

    name: str
    images: int
    missing: int
    failures: int
    bytes: int


def list_collections(conn: psycopg.Connection[Any]) -> list[Collection]:
    """List the collections by name."""
    with read_only(conn), conn.cursor(row_factory=class_row(Collection)) as cursor:
        return cursor.execute(COLLECTIONS).fetchall()


def rename_collection(conn: psycopg.Connection[Any], name: str, new_name: str) -> None:
    """Give a collection another name; UnknownName if there is none of that name."""
    if not new_name.strip():
        raise UsageError("a collection needs a name")
    value(conn, RENAME, name, new_name)


def remove_collection(conn: psycopg.Connection[Any], name: str) -> int:
    """Remove a collection with all that is known of its images; return how many these were."""
    return int(value(conn, REMOVE, name))
