"""Run revisions: on the database that imgdb itself would use, or as a script (`--sql`).

Schema `imgdb` is made here and stays after a downgrade to base, since alembic's version table
stands in it: a host database often has an alembic table of its own in `public`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from imgdb import schema
from imgdb.database.connect import Place, connect, locate
from imgdb.errors import ImgdbError

STAMP = "UPDATE imgdb.alembic_version SET version_num = %s"


def offline() -> None:
    context.configure(
        dialect_name="postgresql",
        version_table_schema=schema.SCHEMA,
        transaction_per_migration=True,
    )
    context.static_output("CREATE SCHEMA IF NOT EXISTS imgdb;\n")
    with context.begin_transaction():
        context.run_migrations()


def online(place: Place) -> None:
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(place, autocommit=False),
        poolclass=NullPool,
        # Backfills must see what other writers committed: not with an older snapshot.
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
    )
    with one_at_a_time(place) as revision, engine.connect() as connection:
        squashed = revision == schema.SQUASHED
        context.configure(
            connection=connection,
            version_table_schema=schema.SCHEMA,
            transaction_per_migration=not squashed,
        )
        # `alembic current` and the like only look.
        looking = context.get_context().opts.get("dont_mutate")
        if not looking:
            make_schema(connection)
        # All in one transaction, where the stamp is a part of it.
        with context.begin_transaction():
            if squashed and not looking:
                connection.exec_driver_sql(STAMP, (schema.FIRST,))
            context.run_migrations()


@contextmanager
def one_at_a_time(place: Place) -> Iterator[str | None]:
    """Hold the upgrade lock while the revisions commit; yield the revision of the database.

    It is the lock of a transaction rather than of a session, so it holds behind a pooler too.
    """
    with connect(place) as guard, guard.transaction():
        guard.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        guard.execute("SET LOCAL lock_timeout = 0")
        guard.execute("SELECT pg_advisory_xact_lock(%s)", (schema.UPGRADE_LOCK,))
        revision = schema.current_revision(guard)
        schema.refuse_unknown(guard, revision)
        yield revision


def make_schema(connection: Connection) -> None:
    """Make schema `imgdb` where it is missing; only then is the right to make one needed."""
    with connection.begin():
        missing = "SELECT to_regnamespace('imgdb') IS NULL"
        if connection.exec_driver_sql(missing).scalar_one():
            connection.exec_driver_sql("CREATE SCHEMA imgdb")


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
    offline()
elif conninfo := context.config.attributes.get("conninfo"):
    online(Place(conninfo))
else:
    from_command_line()
