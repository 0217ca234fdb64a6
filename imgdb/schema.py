"""The schema of a database: which revision it has, whether this package may use it, up and down.

`sql/` says what the schema is, `migrations/` how one released schema became the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from imgdb.errors import SchemaMismatch, UsageError
from imgdb.extension import version
from imgdb.revisions import guard, head, migrations_folder, revisions, sql_files
from imgdb.script import UPGRADE_LOCK, script
from imgdb.sqlstate import translate

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.operations import Operations
    from sqlalchemy import Connection

__all__ = [
    "UPGRADE_LOCK",
    "SchemaState",
    "current_revision",
    "downgrade",
    "fill_rows",
    "guard",
    "head",
    "holds_data",
    "migrations_folder",
    "refuse_unknown",
    "require_head",
    "revisions",
    "run_frozen",
    "schema_state",
    "script",
    "sql_files",
    "update_extension",
    "upgrade",
]

SCHEMA = "imgdb"

# Revisions write rows into these; a user's own rows there are worth nothing without hashes.
SEEDED_TABLES = (
    "alembic_version", "space", "space_state", "probe", "tracked_column", "collection", "rule"
)  # fmt: skip

# Twelve revisions were squashed into the first before anything was released: a database at the last
# of them is taken for one at the first, and the others lead nowhere.
FIRST, SQUASHED = "0001_initial", "0012_bulk_imports"
_ABANDONED = (
    "0002_quicker_import",
    "0003_duplicates",
    "0004_orientations",
    "0005_hubs",
    "0006_quicker_searches",
    "0007_plans",
    "0008_turned_copies",
    "0009_calibrate",
    "0010_regions",
    "0011_lighter_searches",
)

# Names in the scripts are qualified; a user's own objects must not be able to stand in for
# PostgreSQL's while a script runs with the rights of the person who upgrades.
_PROLOGUE = "SET LOCAL search_path = pg_catalog, pg_temp;\n\n"


# Only the catalog is asked before it is known whose objects these are: a view, or an index on an
# expression, runs what its owner wrote with the rights of the role that reads.
_LOOK = """
SELECT
    n.nspname IS NOT NULL AND c.oid IS NOT NULL AS made,
    c.relkind = 'r' AS is_table,
    pg_catalog.pg_get_userbyid(n.nspowner) AS owner,
    coalesce(
        (SELECT u.rolsuper FROM pg_catalog.pg_roles AS u WHERE u.rolname = current_user)
        AND NOT (SELECT bool_and(o.rolsuper) FROM pg_catalog.pg_roles AS o
            WHERE o.oid IN (n.nspowner, c.relowner)),
        false
    ) AS is_beneath,
    EXISTS (SELECT FROM pg_catalog.pg_proc AS p
        WHERE p.pronamespace = n.oid AND p.proname = '_revision') AS tells,
    EXISTS (SELECT FROM pg_catalog.pg_class AS t
        WHERE t.relnamespace = n.oid AND t.relname = 'space') AS holds_spaces,
    (SELECT e.extversion FROM pg_catalog.pg_extension AS e WHERE e.extname = 'imgdb') AS extension
FROM (SELECT) AS one
LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = 'imgdb'
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'alembic_version'
"""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What a database has of imgdb.

    `revision` is None where the schema was never made. `lacks_rows` after a restore of a dump
    without rows. `extension` is the version where imgdb is an extension.
    """

    revision: str | None
    lacks_rows: bool = False
    extension: str | None = None


def schema_state(conn: psycopg.Connection[Any]) -> SchemaState:
    """Tell what a database has of imgdb; SchemaMismatch where reading it could do harm."""
    with conn.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_LOOK).fetchone()
        assert found is not None
        if not found["made"]:
            return SchemaState(None)
        if found["is_beneath"] or not found["is_table"]:
            raise SchemaMismatch(
                f"schema imgdb belongs to role {found['owner']}, who could have put any program in "
                "it: a superuser does not run it; connect as that role"
            )
        row = cursor.execute("SELECT version_num AS revision FROM imgdb.alembic_version").fetchone()
        if row is not None:
            # A restore that brought the extension and none of its rows.
            empty = (
                found["extension"]
                and not cursor.execute("SELECT 1 FROM imgdb.space LIMIT 1").fetchone()
            )
            return SchemaState(row["revision"], bool(empty), found["extension"])
        if found["tells"]:
            row = cursor.execute("SELECT imgdb._revision() AS revision").fetchone()
            assert row is not None
            return SchemaState(row["revision"], lacks_rows=True, extension=found["extension"])
    if found["holds_spaces"]:
        raise SchemaMismatch(
            "schema imgdb was restored without its rows, from a revision that does not say which "
            "it is: `DROP SCHEMA imgdb CASCADE`, then run `imgdb db upgrade`"
        )
    return SchemaState(None)


def current_revision(conn: psycopg.Connection[Any]) -> str | None:
    """Return the revision of the database, None where imgdb's schema was never made."""
    return schema_state(conn).revision


def _first(row: Any) -> object:
    return next(iter(row.values() if isinstance(row, dict) else row))


def require_head(conn: psycopg.Connection[Any]) -> None:
    """Raise SchemaMismatch, with the command that mends it, unless this package may use the schema.

    That is the schema of `head()`, or a later one that says that it still serves `head()`.
    """
    state = schema_state(conn)
    have = state.revision
    if have is None:
        raise SchemaMismatch(
            f"the database has no imgdb schema; this imgdb needs revision {head()}: "
            "run `imgdb db upgrade`"
        )
    if state.lacks_rows:
        raise SchemaMismatch(
            "the database's imgdb schema was restored without its rows: run `imgdb db upgrade`"
        )
    if have == head() or (have > head() and _serves(conn)):
        return
    refuse_unknown(conn, have)
    raise SchemaMismatch(
        f"the database's schema is at revision {have}, this imgdb needs {head()}: "
        "run `imgdb db upgrade`"
    )


def _serves(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether a schema that is newer than this package has all that the package calls."""
    row = conn.execute(
        "SELECT pg_catalog.to_regprocedure('imgdb._compatible_since()') IS NOT NULL AS says"
    ).fetchone()
    if row is None or not _first(row):
        return False
    row = conn.execute("SELECT imgdb._compatible_since() AS revision").fetchone()
    return row is not None and str(_first(row)) <= head()


def fill_rows(conn: Connection) -> None:
    """Put the rows into a schema that was restored without them."""
    conn.exec_driver_sql("INSERT INTO imgdb.alembic_version SELECT imgdb._revision()")
    conn.exec_driver_sql("SELECT imgdb._fill()")


def refuse_unknown(conn: psycopg.Connection[Any], revision: str | None) -> None:
    """Raise SchemaMismatch unless a way leads from the database's revision to `head()`."""
    if revision in _ABANDONED or (revision == FIRST and not _holds_regions(conn)):
        raise SchemaMismatch(
            f"the database's schema is at revision {revision} of an imgdb that was never released, "
            "and cannot be upgraded: `DROP SCHEMA imgdb CASCADE` there or take another database, "
            "run `imgdb db upgrade`, and ingest anew"
        )
    if revision not in (None, SQUASHED, *revisions()):
        raise SchemaMismatch(
            f"the database's schema is at revision {revision}, which this imgdb (it needs "
            f"{head()}) does not know: upgrade imgdb (its package is called imgdb-postgresql)"
        )


def _holds_regions(conn: psycopg.Connection[Any]) -> bool:
    """Tell the first revision from an abandoned one of its name, which had no regions."""
    row = conn.execute("SELECT to_regclass('imgdb.image_region') IS NOT NULL AS made").fetchone()
    return row is not None and bool(_first(row))


def holds_data(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether any table of imgdb holds more than its revisions put there."""
    tables = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('imgdb')"
        " AND relkind IN ('r', 'p') AND relname <> ALL (%s)",
        (list(SEEDED_TABLES),),
    )
    names = [str(_first(row)) for row in tables]
    return any(
        conn.execute(SQL("SELECT FROM imgdb.{} LIMIT 1").format(Identifier(name))).fetchone()
        is not None
        for name in names
    )


def upgrade(conninfo: str, revision: str = "head") -> None:
    """Bring the database up to a revision, one transaction for each; others wait their turn."""
    from alembic import command

    with _translated():
        command.upgrade(_config(conninfo), revision)


def update_extension(conn: psycopg.Connection[Any]) -> None:
    """Bring imgdb up to date where it is an extension, from the files that the server has."""
    state, wanted = schema_state(conn), version(head())
    if state.extension is not None and state.extension < wanted:
        row = conn.execute(
            "SELECT 1 FROM pg_catalog.pg_available_extension_versions"
            " WHERE name = 'imgdb' AND version = %s",
            [wanted],
        ).fetchone()
        if row is None:
            raise SchemaMismatch(
                f"imgdb is an extension here, and the server has no files of version {wanted}: "
                "`imgdb db extension` writes them"
            )
        with _translated():
            conn.execute(SQL("ALTER EXTENSION imgdb UPDATE TO {}").format(wanted))
    if state.lacks_rows:
        with _translated():
            conn.execute("SELECT imgdb._fill()")


def downgrade(conninfo: str, revision: str) -> None:
    """Take the database down to a revision, dropping what later ones made, with its data."""
    from alembic import command

    with _translated():
        command.downgrade(_config(conninfo), revision)


def run_frozen(op: Operations, revision_file: str, direction: str) -> None:
    """Run the SQL that is frozen beside a revision: `direction` is "up" or "down".

    The script reaches the server as it stands: neither `:name` nor `%` means anything in it.
    """
    text = _PROLOGUE + Path(revision_file).with_suffix(f".{direction}.sql").read_text("utf-8")
    op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})


def _config(conninfo: str) -> Config:
    from alembic.config import Config

    config = Config(attributes={"conninfo": conninfo})
    # ConfigParser interpolates values, and a path may hold a percent sign.
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    from alembic.util import CommandError
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise translate(error.orig) from error
    except CommandError as error:
        raise UsageError(str(error)) from error
