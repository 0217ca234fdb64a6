"""Roles that log in, made for one test and removed after it with all that they own."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

# Whose members the servers of the tests let in: their sockets are in closed folders.
GROUP = "imgdb_test_guests"


@contextlib.contextmanager
def login(conninfo: str, name: str, *rights: str) -> Iterator[str]:
    """Make a role that may log in and has rights; yield its conninfo of the same database.

    A right is what stands between GRANT and TO: `CREATE ON DATABASE "x"`. The role's own name is
    in the conninfo: others may have made one called `name`.
    """
    unique = f"{name}_{secrets.token_hex(4)}"
    with psycopg.connect(conninfo, autocommit=True) as admin:
        _admit(admin)
        admin.execute(f'CREATE ROLE "{unique}" LOGIN IN ROLE {GROUP}')
        try:
            for right in rights:
                admin.execute(f'GRANT {right} TO "{unique}"')
            given = make_conninfo(conninfo, user=unique)
            _wait_until_let_in(given)
            yield given
        finally:
            admin.execute(f'DROP OWNED BY "{unique}" CASCADE')
            admin.execute(f'DROP ROLE "{unique}"')


def _admit(admin: psycopg.Connection) -> None:
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [GROUP]).fetchone():
        return
    admin.execute(f"CREATE ROLE {GROUP}")
    row = admin.execute("SHOW hba_file").fetchone()
    assert row is not None
    file = Path(row[0])
    file.write_text(f"local all +{GROUP} trust\n{file.read_text('utf-8')}", "utf-8")
    admin.execute("SELECT pg_reload_conf()")


def _wait_until_let_in(conninfo: str) -> None:
    # The postmaster reads the file when it gets to it.
    for _ in range(1000):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(conninfo).close()
            return
    raise AssertionError("the server does not let the role in")
