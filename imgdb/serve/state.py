"""What all requests share: connections, workers that decode, and what may be changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psycopg
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool, PoolTimeout

from imgdb.database.connect import open_database
from imgdb.database.embedded import default_home
from imgdb.database.sessions import conninfo_of
from imgdb.errors import ConnectionFailed, UsageError
from imgdb.search.find import may_read
from imgdb.serve.decoder import Decoder
from imgdb.sqlstate import translate
from imgdb.words import printable

# Requests that ask the database at once; the others wait for them.
CONNECTIONS = 8

# Seconds until a request gives up waiting for a connection.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class ServerState:
    """What `app.state.imgdb` is; `max_upload` is in bytes, `trash` takes what is removed.

    With `search_only` the login may search, and nothing else.
    """

    pool: ConnectionPool[psycopg.Connection[Any]]
    decoder: Decoder
    allow_changes: bool
    max_upload: int
    trash: Path
    search_only: bool = False

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection (autocommit, in no transaction); psycopg's errors leave translated."""
        try:
            with self.pool.connection(PATIENCE) as conn:
                yield conn
        except PoolTimeout as error:
            raise ConnectionFailed(
                "no connection to the database is free, or it does not answer; try again"
            ) from error
        except psycopg.Error as error:
            raise translate(error) from error


@contextmanager
def open_state(
    dsn: str | None,
    decoder: Decoder,
    *,
    allow_changes: bool,
    max_upload: int,
    trash: Path | None = None,
    search_only: bool = False,
) -> Iterator[ServerState]:
    """Yield the state of a server; the embedded server runs at least until the block ends.

    Without `trash` it is a folder beside that of the embedded server. UsageError where the login
    may do more than `search_only` says.
    """
    with (
        open_database(dsn, schema="ignore" if search_only else "require") as conn,
        ConnectionPool(
            conninfo_of(conn),
            min_size=1,
            max_size=CONNECTIONS,
            kwargs={"autocommit": True, "prepare_threshold": None},
            # A server that was started anew costs no request.
            check=ConnectionPool.check_connection,
            open=True,
        ) as pool,
        decoder,
    ):
        if search_only and may_read(conn):
            raise UsageError(
                f"--search-only: the login {printable(conn.info.user)} may read images: give "
                "--dsn of one that may not, as `imgdb db grant ROLE --search-only` makes it"
            )
        yield ServerState(
            pool, decoder, allow_changes, max_upload, trash or default_trash(), search_only
        )


def default_trash() -> Path:
    """Return where files go that are removed: outside of what goes with the embedded server."""
    home = default_home()
    return home.with_name(f"{home.name}-trash")


async def _state(request: Request) -> ServerState:
    found: ServerState = request.app.state.imgdb
    return found


# What an endpoint takes to have the state: `state: TheState`. Of such functions those that are not
# async cost a thread each, and wait for one while all are in searches.
TheState = Annotated[ServerState, Depends(_state)]
