"""All that the database knows of its images, as CSV or Parquet, in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

import psycopg
from psycopg.sql import SQL, Composed, Literal

from imgdb.errors import UsageError
from imgdb.hashes.values import ALGORITHMS, from_hex

CSV = "COPY (SELECT * FROM imgdb._exported_images({})) TO STDOUT (FORMAT csv, HEADER)"
ROWS = "COPY (SELECT * FROM imgdb._exported_images({})) TO STDOUT"
# However the database spells times.
ISO_TIMES = "SELECT set_config('datestyle', 'ISO', false)"
CHECK_COLLECTION = "SELECT imgdb._collection_id(%s)"

# PostgreSQL's types of the columns, in order; COPY gives text unless it is told.
TYPES = {
    "path": "text",
    "collection": "text",
    **dict.fromkeys(ALGORITHMS, "text"),
    "colours": "text",
    "flat": "bool",
    "recipe": "text",
    "byte_size": "int8",
    "modified_at": "timestamptz",
    "sha256": "text",
    "format": "text",
    "width": "int4",
    "height": "int4",
    "frames": "int4",
    "missing_since": "timestamptz",
    "pdq": "text",
    "pdq_quality": "int2",
    "pdq_recipe": "text",
    "region_recipe": "text",
    "regions": "text",
    "different_from": "text",
    "ingested_at": "timestamptz",
}

ROW_GROUP = 100_000


def export_csv(conn: psycopg.Connection[Any], file: IO[bytes], collection: str | None) -> None:
    """Write images as CSV, hashes in hex; UnknownName for a collection that is not there."""
    with conn.cursor() as cursor, cursor.copy(_statement(conn, CSV, collection)) as copy:
        for piece in copy:
            file.write(piece)


def export_parquet(conn: psycopg.Connection[Any], file: IO[bytes], collection: str | None) -> int:
    """Write images as Parquet, hashes as signed 64-bit integers; return how many."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError("Parquet needs the package pyarrow: pip install pyarrow") from None
    kinds = {
        "text": pa.string(),
        "bool": pa.bool_(),
        "int8": pa.int64(),
        "int4": pa.int32(),
        "int2": pa.int16(),
        "timestamptz": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema(
        [(name, pa.int64() if name in ALGORITHMS else kinds[TYPES[name]]) for name in TYPES]
    )
    count = 0
    with (
        conn.cursor() as cursor,
        cursor.copy(_statement(conn, ROWS, collection)) as copy,
        pq.ParquetWriter(file, schema) as writer,
    ):
        copy.set_types(list(TYPES.values()))
        rows: Iterator[tuple[Any, ...]] = copy.rows()
        while group := list(islice(rows, ROW_GROUP)):
            columns = dict(zip(TYPES, map(list, zip(*group, strict=True)), strict=True))
            for name in ALGORITHMS:
                columns[name] = [None if text is None else from_hex(text) for text in columns[name]]
            writer.write_table(pa.table(columns, schema=schema))
            count += len(group)
    return count


def _statement(conn: psycopg.Connection[Any], copy: str, collection: str | None) -> Composed:
    conn.execute(ISO_TIMES)
    if collection is not None:
        conn.execute(CHECK_COLLECTION, (collection,))
    return SQL(copy).format(Literal(collection))
