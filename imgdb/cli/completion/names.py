"""Names that commands take: what is known without asking, and what the database knows.

The database is asked only where that is quick and sure: a server that the user named, or the
embedded one while it runs. Nothing is started, nothing is said, and after a second without an
answer there is none.
"""

from __future__ import annotations

import contextlib
import threading

import typer

from imgdb.hashes.values import ALGORITHMS

SECONDS = 1.0

COLLECTIONS = "SELECT name FROM imgdb.collection ORDER BY name LIMIT 1000"
ROLES = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1 LIMIT 1000"
SPACES = "SELECT name FROM imgdb.space ORDER BY space_id"


def collections(ctx: typer.Context) -> list[str]:
    """List the collections."""
    return _ask(ctx, COLLECTIONS)


def space_names(ctx: typer.Context) -> list[str]:
    """List the spaces; those of the four hashes and of regions are always there."""
    return _ask(ctx, SPACES) or [*ALGORITHMS, "region"]


def roles(ctx: typer.Context) -> list[str]:
    """List the roles of the server, less those that PostgreSQL brings."""
    return _ask(ctx, ROLES)


def hashes(incomplete: str) -> list[str]:
    """List what can stand next in a list of hashes with commas."""
    given, comma, _ = incomplete.rpartition(",")
    return [given + comma + name for name in ALGORITHMS if name not in given.split(",")]


def calibrated(incomplete: str) -> list[str]:
    """List what can stand next in a list, with commas, of rules to calibrate."""
    from imgdb.search.calibration.rules import RULES

    given, comma, _ = incomplete.rpartition(",")
    return [given + comma + name for name in RULES if name not in given.split(",")]


def reasons() -> list[str]:
    """List why files fail."""
    from imgdb.pictures.reasons import REASONS

    return list(REASONS)


def revision_names() -> list[str]:
    """List the schema's revisions."""
    from imgdb.schema import revisions

    return revisions()


def _ask(ctx: typer.Context, question: str) -> list[str]:
    import imgdb.database.connect
    import imgdb.database.embedded  # noqa: F401  (loading is no part of the second)

    said = ctx.params.get("dsn") or ctx.find_root().params.get("dsn")
    names: list[str] = []

    def ask() -> None:
        # A user who pressed Tab does not want to read what is wrong there.
        with contextlib.suppress(Exception):
            names.extend(_answers(said, question))

    # In a thread of its own: looking up a host cannot be given a time limit.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS)
    return list(names)


def _answers(dsn: str | None, question: str) -> list[str]:
    from imgdb.database.connect import Place, connect, named_place
    from imgdb.database.embedded import Server, default_home

    place = named_place(dsn)
    if place is None:
        conninfo = Server(default_home()).running_conninfo()
        if conninfo is None:
            return []
        place = Place(conninfo, embedded=True)
    with connect(place) as conn:
        return [name for (name,) in conn.execute(question)]
