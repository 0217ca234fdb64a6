"""The fingerprint of schema imgdb: equal for two databases exactly if their schemas are equal."""

from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from imgdb import schema

QUERY = Path(__file__).with_suffix(".sql").read_text("utf-8")


def fingerprint(conn: psycopg.Connection) -> dict[str, str]:
    """Return object to definition of all that stands in schema imgdb, and the rows it starts with.

    From the catalog, never from pg_dump's text. What users' own tables have of imgdb (triggers) is
    part of it.
    """
    with conn.transaction():
        conn.execute("SET LOCAL search_path = ''")
        objects = conn.execute(QUERY).fetchall()
        found = dict(objects)
        assert len(found) == len(objects), "two objects bear one name"
        for table in seeded_tables(conn):
            found[f"rows of {table}"] = _rows(conn, table)
    return found


def load_sql(conn: psycopg.Connection) -> None:
    """Make the schema as sql/ says it, without any revision."""
    conn.execute("CREATE SCHEMA imgdb")
    with conn.transaction():
        conn.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        for file in schema.sql_files():
            conn.execute(file.read_bytes())


def seeded_tables(conn: psycopg.Connection) -> list[str]:
    """Name the tables whose rows come with the schema."""
    tables = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('imgdb')"
        " AND relkind IN ('r', 'p') AND relname <> 'alembic_version'"
    )
    return [name for (name,) in tables]


def _rows(conn: psycopg.Connection, table: str) -> str:
    # Times, keys and numbers differ from one load to the next; everything else must not.
    timeless = conn.execute(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attname <> 'space_id'"
        " AND atttypid NOT IN ('timestamptz'::regtype, 'uuid'::regtype, 'oid'::regtype)",
        (f"imgdb.{table}",),
    ).fetchone()
    assert timeless is not None
    rows = conn.execute(
        SQL("SELECT ({})::text AS row FROM imgdb.{} ORDER BY 1").format(
            SQL("ROW(" + timeless[0] + ")"), Identifier(table)
        )
    )
    return "\n".join(text for (text,) in rows)
