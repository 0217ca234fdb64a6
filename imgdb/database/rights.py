"""What roles may do in a database."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from imgdb.database.spaces import Connection

GRANT = "SELECT imgdb.grant_access(%s, %s)"
REVOKE = "SELECT imgdb.revoke_access(%s)"


class Access(StrEnum):
    """What a role can be given."""

    search = "search"
    read = "read"
    write = "write"
    keep = "keep"
    maintain = "maintain"


def grant(conn: Connection, role: str, accesses: Iterable[Access]) -> None:
    """Give a role all of these rights, or none; for the owner of schema imgdb."""
    with conn.transaction():
        for access in accesses:
            conn.execute(GRANT, (role, access))


def revoke(conn: Connection, role: str) -> None:
    """Take back all rights in schema imgdb from a role."""
    conn.execute(REVOKE, (role,))
