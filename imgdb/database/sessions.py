"""Several connections to one database, at work at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

READ_COMMITTED = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"

Session = psycopg.Connection[Any]
Result = TypeVar("Result")


def conninfo_of(conn: Session) -> str:
    """Return the connection string, password included, of where a connection leads."""
    # The one that a connection remembers is without its password.
    password = {"password": conn.info.password} if conn.info.password else {}
    return make_conninfo(conn.info.dsn, **password)


def twin(conn: Session) -> Session:
    """Connect once more to where a connection leads."""
    return psycopg.connect(conninfo_of(conn), autocommit=True, prepare_threshold=None)


def value(session: Session, query: LiteralString, *arguments: object) -> Any:
    """Return the only column of the only row that a query answers."""
    row = session.execute(query, arguments).fetchone()
    assert row is not None
    return row[0]


@contextlib.contextmanager
def read_committed(session: Session) -> Iterator[None]:
    """Be in a transaction that sees what others commit meanwhile, whatever the server's default."""
    with session.transaction():
        session.execute(READ_COMMITTED)
        yield


def at_once(
    works: Mapping[Session, Callable[[Session], Result]],
) -> dict[Session, Future[Result]]:
    """Have each session do its work, and wait for all; Ctrl-C cancels what they are asking."""
    with ThreadPoolExecutor(len(works)) as threads:
        running = {session: threads.submit(work, session) for session, work in works.items()}
        try:
            wait(running.values())
        except BaseException:
            # Again and again: between two statements there is nothing to cancel.
            while wait(running.values(), timeout=0.1).not_done:
                for session in works:
                    session.cancel_safe()
            raise
    return running
