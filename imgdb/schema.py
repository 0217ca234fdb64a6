"""The schema's files and revisions: which one a database has, up, down, and as a script.

`sql/` says what the schema is, `migrations/` how one released schema became the next.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Identifier

from imgdb.errors import SchemaMismatch, UsageError
from imgdb.shipped import shipped_folder
from imgdb.sqlstate import translate

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.operations import Operations

SCHEMA = "imgdb"

# Revisions write rows into these; a user's own rows there are worth nothing without hashes.
SEEDED_TABLES = ("alembic_version", "space", "probe", "tracked_column", "collection")

# A process that changes the schema holds this advisory lock, so that two upgrades take turns.
UPGRADE_LOCK = int.from_bytes(b"imgdb", "big")

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


def sql_files() -> list[Path]:
    """List the files that say what the schema is, in load order: folder by folder, by number."""
    return sorted(shipped_folder("sql").glob("*/*.sql"))


def migrations_folder() -> Path:
    """Return the folder that alembic calls its script location."""
    return shipped_folder("migrations")


def revisions() -> list[str]:
    """List the revisions of this package, oldest first: history is linear and names sort."""
    return sorted(file.stem for file in (migrations_folder() / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the revision that this package works with."""
    return revisions()[-1]


def current_revision(conn: psycopg.Connection[Any]) -> str | None:
    """Return the revision of the database, None where imgdb's schema was never made."""
    row = conn.execute("SELECT to_regclass('imgdb.alembic_version') IS NOT NULL AS made").fetchone()
    if row is None or not _first(row):
        return None
    row = conn.execute("SELECT version_num FROM imgdb.alembic_version").fetchone()
    return None if row is None else str(_first(row))


def _first(row: Any) -> object:
    return next(iter(row.values() if isinstance(row, dict) else row))


def require_head(conn: psycopg.Connection[Any]) -> None:
    """Raise SchemaMismatch, with the command that mends it, unless the database is at `head()`."""
    have = current_revision(conn)
    refuse_unknown(conn, have)
    if have is None:
        raise SchemaMismatch(
            f"the database has no imgdb schema; this imgdb needs revision {head()}: "
            "run `imgdb db upgrade`"
        )
    if have != head():
        raise SchemaMismatch(
            f"the database's schema is at revision {have}, this imgdb needs {head()}: "
            "run `imgdb db upgrade`"
        )


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


def downgrade(conninfo: str, revision: str) -> None:
    """Take the database down to a revision, dropping what later ones made, with its data."""
    from alembic import command

    with _translated():
        command.downgrade(_config(conninfo), revision)


def script(revision: str = "head", *, down: bool = False) -> str:
    """Return the SQL of an upgrade from an empty database, or of `FROM:TO`, without connecting."""
    from alembic import command

    buffer = io.StringIO()
    with _translated():
        run = command.downgrade if down else command.upgrade
        run(_config(output=buffer), revision, sql=True)
    return buffer.getvalue()


def run_frozen(op: Operations, revision_file: str, direction: str) -> None:
    """Run the SQL that is frozen beside a revision: `direction` is "up" or "down".

    The script reaches the server as it stands: neither `:name` nor `%` means anything in it.
    """
    text = _PROLOGUE + Path(revision_file).with_suffix(f".{direction}.sql").read_text("utf-8")
    context = op.get_context()
    if context.as_sql:
        context.impl.static_output(text)
    else:
        op.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})


def _config(conninfo: str | None = None, output: io.StringIO | None = None) -> Config:
    from alembic.config import Config

    config = Config(output_buffer=output, attributes={"conninfo": conninfo})
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
