"""Where the database is, and connections to it.

The server is, first that is given: `--dsn`, `IMGDB_DSN`, libpq's own environment (`PGHOST`,
`PGSERVICE`, ...), else the embedded server.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from imgdb import schema as schema_files
from imgdb.database import OLDEST_SERVER
from imgdb.errors import ConnectionFailed, UsageError
from imgdb.sqlstate import connection_failed, translate

__all__ = ["Place", "connect", "locate", "named_place", "open_database", "read_only", "translate"]

# psycopg also logs what it gives up when a signal ends it, to stderr if nobody listens.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

# libpq's variables that say where a server is; PGUSER or PGPASSWORD alone do not.
LIBPQ_PLACES = ("PGSERVICE", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE")

# What others may have put on a path must not decide what a statement means.
SAFE_PATH = "-c search_path=pg_catalog,pg_temp"

# Seconds until a host that says nothing counts as one that does not answer.
CONNECT_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A database: how libpq finds it, and who named it (in a person's words)."""

    conninfo: str
    source: str = "the connection string"
    embedded: bool = False


def named_place(dsn: str | None = None) -> Place | None:
    """Return the database that the caller or the environment names, None for the embedded one."""
    if dsn is not None:
        if not dsn.strip():
            raise UsageError("--dsn is empty; leave it out for the embedded server")
        return Place(dsn, "--dsn")
    if from_environment := os.environ.get("IMGDB_DSN"):
        return Place(from_environment, "IMGDB_DSN")
    for name in LIBPQ_PLACES:
        if os.environ.get(name):
            return Place("", name)
    return None


@contextmanager
def locate(dsn: str | None = None) -> Iterator[Place]:
    """Yield the database to use; the embedded server runs at least until the block ends."""
    if place := named_place(dsn):
        yield place
        return
    from imgdb.database.embedded import Server, default_home

    with Server(default_home()) as server:
        yield Place(server.conninfo(), "the embedded server", embedded=True)


@contextmanager
def open_database(
    dsn: str | None = None, *, schema: Literal["require", "ignore"] = "require"
) -> Iterator[psycopg.Connection[TupleRow]]:
    """Yield a connection (autocommit) to the database to use; psycopg's errors leave translated.

    "require" raises SchemaMismatch unless the schema is the one of this package. The embedded
    server's is made and upgraded on the way; on a server that somebody named, only
    `imgdb db upgrade` changes it.
    """
    with locate(dsn) as place, connect(place) as conn:
        try:
            if schema == "require" and not place.embedded:
                schema_files.require_head(conn)
            elif schema == "require" and schema_files.current_revision(conn) != schema_files.head():
                schema_files.upgrade(place.conninfo)
            yield conn
        except psycopg.Error as error:
            raise translate(error) from error


def connect(place: Place, *, autocommit: bool = True) -> psycopg.Connection[TupleRow]:
    """Connect, or raise ConnectionFailed: nobody answers, refused, or a server that is too old."""
    try:
        # Text is UTF-8 under any locale of the caller and any encoding of the database.
        settings = {"client_encoding": "utf8", "fallback_application_name": "imgdb"}
        if not os.environ.get("PGCONNECT_TIMEOUT"):
            settings["connect_timeout"] = str(CONNECT_TIMEOUT)
        given = conninfo_to_dict(place.conninfo)
        conninfo = make_conninfo(
            place.conninfo, **{k: settings[k] for k in settings.keys() - given}
        )
        options = str(given.get("options") or os.environ.get("PGOPTIONS", ""))
        # Nothing is prepared by itself: a pooler may hand each transaction to another session.
        connect_to = partial(psycopg.connect, autocommit=autocommit, prepare_threshold=None)
        try:
            conn = connect_to(make_conninfo(conninfo, options=f"{options} {SAFE_PATH}".strip()))
        except psycopg.OperationalError as error:
            # PgBouncer, unless it was told of it.
            if "unsupported startup parameter" not in str(error):
                raise
            conn = connect_to(conninfo)
    except psycopg.Error as error:
        raise connection_failed(error, place.source) from error
    if conn.info.server_version < OLDEST_SERVER * 10000:
        version = conn.info.parameter_status("server_version")
        conn.close()
        raise ConnectionFailed(
            f"the server ({place.source}) is PostgreSQL {version}; "
            f"imgdb needs {OLDEST_SERVER} or newer"
        )
    return conn


@contextmanager
def read_only(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """Run a block in one transaction that sees one snapshot and in which the server refuses writes.

    The connection must be outside of a transaction.
    """
    before = conn.read_only, conn.isolation_level
    conn.read_only, conn.isolation_level = True, psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with conn.transaction():
            yield
    finally:
        conn.read_only, conn.isolation_level = before
