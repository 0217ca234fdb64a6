"""Databases of the private server: loading hashes into them, and their sizes."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.dataset import Hashes
from imgdb import schema
from imgdb.database.embedded import Server

TEMPLATE = "imgdb_bench_template"

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"


@dataclass(slots=True)
class Store:
    """A database whose table `photo` holds hashes that are tracked into space `bench`."""

    conninfo: str
    hashes: Hashes
    build: dict[str, Any] = field(default_factory=dict)

    def connect(self, **settings: str) -> psycopg.Connection[Any]:
        conn = psycopg.connect(self.conninfo, autocommit=True)
        for name, value in settings.items():
            conn.execute("SELECT set_config(%s, %s, false)", (name.replace("__", "."), value))
        return conn


@contextlib.contextmanager
def database(server: Server, name: str) -> Iterator[str]:
    """Make a database with imgdb's schema, and drop it in the end."""
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        known = admin.execute("SELECT FROM pg_database WHERE datname = %s", (TEMPLATE,))
        if known.fetchone() is None:
            admin.execute(SQL("CREATE DATABASE {}").format(Identifier(TEMPLATE)))
            schema.upgrade(server.conninfo(TEMPLATE))
        admin.execute(
            SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(TEMPLATE))
        )
        try:
            yield server.conninfo(name)
        finally:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextlib.contextmanager
def loaded(server: Server, name: str, hashes: Hashes) -> Iterator[Store]:
    """Fill a table, track it, compact: the state that searches are measured in."""
    with database(server, name) as conninfo:
        store = Store(conninfo, hashes)
        with store.connect() as conn:
            conn.execute("CREATE TABLE photo (hash bigint)")
            copy_hashes(conn, "COPY photo FROM STDIN (FORMAT binary)", hashes)
            conn.execute("VACUUM (ANALYZE) photo")
            store.build["track_s"] = timed(conn, "SELECT imgdb.track('photo', 'hash', 'bench')")
            store.build["after_track"] = sizes(conn)
            store.build["compact_s"] = timed(conn, "CALL imgdb.compact('bench')")
            conn.execute("VACUUM (ANALYZE) imgdb.prefix_bucket")
            store.build["after_vacuum"] = sizes(conn)
            conn.execute("CHECKPOINT")
        yield store


def timed(conn: psycopg.Connection[Any], statement: str) -> float:
    """Run a statement and return its seconds."""
    started = time.perf_counter()
    conn.execute(statement)
    return round(time.perf_counter() - started, 3)


def copy_hashes(conn: psycopg.Connection[Any], statement: str, hashes: Hashes) -> None:
    """COPY one bigint column in binary: building the rows costs next to nothing."""
    rows = np.empty(len(hashes), dtype=[("columns", ">i2"), ("bytes", ">i4"), ("hash", ">i8")])
    rows["columns"], rows["bytes"], rows["hash"] = 1, 8, hashes
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(COPY_HEADER + rows.tobytes() + COPY_TRAILER)


def sizes(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the bytes of buckets and fresh hashes: tables (with their maps) and indexes."""
    row = conn.execute(
        "SELECT pg_table_size(bucket) + pg_table_size(fresh),"
        " pg_indexes_size(bucket) + pg_indexes_size(fresh)"
        " FROM (VALUES ('imgdb.prefix_bucket'::regclass, 'imgdb.fresh_hashes'::regclass))"
        " AS t (bucket, fresh)"
    ).fetchone()
    return {"table": row[0], "index": row[1]}
