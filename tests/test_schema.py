"""Revisions: the head by name is alembic's, scripts run as they stand, upgrades take turns."""

import subprocess
import sys

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from imgdb import schema
from imgdb.errors import UsageError


def alembic_scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(schema.migrations_folder()))
    return ScriptDirectory.from_config(config)


def test_revisions_are_linear_and_named_as_their_files():
    scripts = list(alembic_scripts().walk_revisions())
    assert [script.revision for script in reversed(scripts)] == schema.revisions()
    assert scripts[0].revision == schema.head()
    # alembic's version column has room for no more.
    assert all(len(revision) <= 32 for revision in schema.revisions())


def test_upgrade_makes_the_schema_and_nothing_elsewhere(empty_database):
    schema.upgrade(empty_database)
    with psycopg.connect(empty_database) as conn:
        assert schema.current(conn) == schema.head()
        schemas = conn.execute(
            "SELECT DISTINCT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
        assert schemas == [("imgdb",)]


def test_upgrade_twice_changes_nothing(database):
    schema.upgrade(database)
    with psycopg.connect(database) as conn:
        assert schema.current(conn) == schema.head()


def test_the_offline_script_makes_the_same_schema(empty_database):
    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute(schema.script())
        assert schema.current(conn) == schema.head()
        conn.execute(schema.script(f"{schema.head()}:base", down=True))
        assert schema.current(conn) is None


def test_unknown_revision_is_wrong_usage(database):
    with pytest.raises(UsageError, match="no_such"):
        schema.upgrade(database, "no_such")


def test_upgrades_at_once_take_turns(empty_database):
    code = "import sys; from imgdb import schema; schema.upgrade(sys.argv[1])"
    racers = [
        subprocess.Popen([sys.executable, "-c", code, empty_database], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    for racer in racers:
        _, stderr = racer.communicate(timeout=60)
        assert (racer.returncode, stderr) == (0, b"")
    with psycopg.connect(empty_database) as conn:
        assert schema.current(conn) == schema.head()
