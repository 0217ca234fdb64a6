"""Run revisions on the database that imgdb itself would use.

Schema `imgdb` is made here and stays after a downgrade to base, since alembic's version table
stands in it: a host database often has an alembic table of its own in `public`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from alembic import context
from alembic.util import CommandError
from psycopg.rows import TupleRow
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from imgdb import schema
from imgdb.database.connect import Place, connect, locate
from imgdb.errors import ImgdbError

STAMP = "UPDATE imgdb.alembic_version SET version_num = %s"


def online(place: Place) -> None:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(place, autocommit=False),
        poolclass=NullPool,
        # Backfills must see what other writers committed: not with an older snapshot.
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
    )
    with one_at_a_time(place) as guard, engine.connect() as connection:
        configure(connection, by_steps=True)
        # `alembic current` and the like only look.
        if not context.get_context().opts.get("dont_mutate"):
            with connection.begin():
                connection.exec_driver_sql(
                    schema.guard(), execution_options={"no_parameters": True}
                )
            state = schema.schema_state(guard)
            schema.refuse_unknown(guard, state.revision)
            if state.lacks_rows:
                with connection.begin():
                    schema.fill_rows(connection)
            if state.revision == schema.SQUASHED:
                configure(connection, by_steps=False)
                with context.begin_transaction():
                    connection.exec_driver_sql(STAMP, (schema.FIRST,))
                    context.run_migrations()
                return
        with context.begin_transaction():
            context.run_migrations()


def configure(connection: Connection, *, by_steps: bool) -> None:
    """Say where alembic works, and whether each revision is a transaction of its own."""
    context.configure(
        connection=connection,
        version_table_schema=schema.SCHEMA,
        transaction_per_migration=by_steps,
    )


@contextmanager
def one_at_a_time(place: Place) -> Iterator[psycopg.Connection[TupleRow]]:
    """Hold the upgrade lock while the revisions commit; yield the connection that holds it.

    It is the lock of a transaction rather than of a session, so it holds behind a pooler too.
    """
    with connect(place) as guard, guard.transaction():
        guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        guard.execute("SET LOCAL lock_timeout = 0")
        guard.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", (schema.UPGRADE_LOCK,))
        yield guard


def from_command_line() -> None:
    """Serve alembic's own commands: `alembic -x dsn=... upgrade head`, or imgdb's usual rules."""
    logger = logging.getLogger("alembic.runtime.migration")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    try:
        with locate(context.get_x_argument(as_dictionary=True).get("dsn")) as place:
            online(place)
    except ImgdbError as error:
        raise CommandError(str(error)) from error


if context.is_offline_mode():
    raise CommandError("`imgdb db script` prints the SQL")
if conninfo := context.config.attributes.get("conninfo"):
    online(Place(conninfo))
else:
    from_command_line()
