"""Revisions: the head by name is alembic's, scripts run as they stand, upgrades take turns."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from servers import embedded_only

from imgdb import schema
from imgdb.errors import UsageError

pytestmark = pytest.mark.sql


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
        assert schema.current_revision(conn) == schema.head()
        schemas = conn.execute(
            "SELECT DISTINCT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
        assert schemas == [("imgdb",)]


def test_upgrade_twice_changes_nothing(database):
    schema.upgrade(database)
    with psycopg.connect(database) as conn:
        assert schema.current_revision(conn) == schema.head()


def test_a_host_database_may_use_alembic_itself(empty_database):
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE TABLE public.alembic_version (version_num varchar(32) NOT NULL)")
        conn.execute("INSERT INTO public.alembic_version VALUES ('their_own')")
    schema.upgrade(empty_database)
    schema.downgrade(empty_database, "base")
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("TABLE public.alembic_version").fetchall() == [("their_own",)]


def test_settings_of_the_role_do_not_matter(empty_database):
    """Neither a search path with functions of their own nor the isolation of transactions."""
    with psycopg.connect(empty_database, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute("CREATE SCHEMA theirs")
        conn.execute("CREATE FUNCTION theirs.bit_count(bit) RETURNS bigint LANGUAGE sql RETURN 0")
        conn.execute(f"ALTER DATABASE {name} SET search_path = theirs, pg_catalog")
        conn.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    schema.upgrade(empty_database)
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT imgdb.distance(0, 7)").fetchone() == (3,)


ALEMBIC = Path(sys.executable).with_name("alembic")


def alembic(*arguments):
    return subprocess.run(
        [ALEMBIC, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@embedded_only
def test_alembics_own_commands_work_in_the_repository(empty_database):
    dsn = ("-x", f"dsn={empty_database}")
    assert alembic(*dsn, "current").stdout == ""
    up = alembic(*dsn, "upgrade", "head")
    assert (up.returncode, up.stdout) == (0, "")
    assert "Running upgrade" in up.stderr
    assert alembic(*dsn, "current").stdout == f"{schema.head()} (head)\n"


def test_alembics_script_is_refused():
    """It would be many transactions, and guard nothing."""
    refused = alembic("upgrade", "head", "--sql")
    assert refused.returncode != 0
    assert "`imgdb db script` prints the SQL" in refused.stdout + refused.stderr


def test_alembic_says_what_is_wrong_in_one_line():
    failed = alembic("-x", "dsn=host=nosuch.invalid", "upgrade", "head")
    assert failed.returncode != 0
    assert "cannot connect" in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr


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
        assert schema.current_revision(conn) == schema.head()
