"""What the package brings of the schema: the files of `sql/`, and the revisions.

Nothing here needs more than Python itself: the extension is packaged on machines that have no
driver of PostgreSQL.
"""

from __future__ import annotations

from pathlib import Path

from imgdb.errors import UsageError
from imgdb.shipped import shipped_folder


def sql_files() -> list[Path]:
    """List the files that say what the schema is, in load order: folder by folder, by number."""
    return sorted(shipped_folder("sql").glob("*/*.sql"))


def migrations_folder() -> Path:
    """Return the folder that alembic calls its script location."""
    return shipped_folder("migrations")


def guard() -> str:
    """Return the statement that refuses a schema `imgdb` which others own, or makes one."""
    return (migrations_folder() / "guard.sql").read_text("utf-8")


def revisions() -> list[str]:
    """List the revisions of this package, oldest first: history is linear and names sort."""
    return sorted(file.stem for file in (migrations_folder() / "versions").glob("[0-9]*.py"))


def head() -> str:
    """Return the revision that this package works with."""
    return revisions()[-1]


def named(revision: str) -> str:
    """Return the revision that a person means, who may give its number alone; else UsageError."""
    fitting = [name for name in revisions() if name.startswith(revision) and revision]
    if len(fitting) != 1:
        raise UsageError(f"there is no revision {revision}: they are {', '.join(revisions())}")
    return fitting[0]


def after(revision: str) -> list[str]:
    """List the revisions that follow one, oldest first."""
    return revisions()[revisions().index(revision) + 1 :]


def step(revision: str) -> str:
    """Return the SQL that leads to a revision from the one before it."""
    return (migrations_folder() / "versions" / f"{revision}.up.sql").read_text("utf-8")
