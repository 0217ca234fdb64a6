"""Where the database is, and one clear line for everything that can be wrong with it."""

import re
import shutil
from pathlib import Path

import psycopg
import pytest
from fake_servers import of_version, refusing, silent
from psycopg.conninfo import make_conninfo

from imgdb import revisions, schema
from imgdb.database.connect import Place, connect, named_place, open_database
from imgdb.database.embedded import Server
from imgdb.errors import (
    ConnectionFailed,
    DatabaseFailure,
    ImgdbError,
    SchemaMismatch,
    UnknownName,
    UsageError,
)
from imgdb.sqlstate import ADVICE, BROKEN_RULES, RAISED_BY_IMGDB, translate


def says(result, *words, code=1):
    """Assert one line on stderr with these words, nothing on stdout, and the exit code."""
    assert (result.code, result.stdout) == (code, "")
    assert result.stderr.startswith("imgdb: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


# -- which database ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "environment", "expected"),
    [
        (None, {}, None),
        (None, {"PGHOST": "h"}, Place("", "PGHOST")),
        (None, {"PGSERVICE": "s", "PGPORT": "1"}, Place("", "PGSERVICE")),
        (None, {"PGUSER": "u", "PGPASSWORD": "p", "PGHOST": ""}, None),
        (None, {"PGHOST": "h", "IMGDB_DSN": "host=i"}, Place("host=i", "IMGDB_DSN")),
        (None, {"IMGDB_DSN": ""}, None),
        ("host=d", {"PGHOST": "h", "IMGDB_DSN": "host=i"}, Place("host=d", "--dsn")),
    ],
)
def test_the_first_that_is_given_names_the_database(monkeypatch, dsn, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert named_place(dsn) == expected


def test_an_empty_dsn_is_wrong_usage(cli):
    says(cli("db", "current", "--dsn", ""), "--dsn is empty", code=2)


def test_dsn_is_taken_before_and_after_the_command(cli, database):
    after = cli("db", "current", "--dsn", database)
    before = cli("--dsn", database, "db", "current", env={"IMGDB_DSN": "host=nosuch.invalid"})
    assert after.stdout == before.stdout == f"{schema.head()}\n"


def test_libpq_finds_the_server_by_its_own_environment(cli, database):
    with connect(Place(database)) as conn:
        environment = {
            "PGHOST": conn.info.host,
            "PGPORT": str(conn.info.port),
            "PGUSER": conn.info.user,
            "PGDATABASE": conn.info.dbname,
        }
    assert cli("db", "current", env=environment).stdout == f"{schema.head()}\n"


# -- connections that do not come about ----------------------------------------------------------


def test_nobody_listens(cli):
    with refusing() as port:
        says(
            cli("db", "current", dsn=f"host=127.0.0.1 port={port}"),
            "cannot connect (IMGDB_DSN)",
            "refused",
            "is the server running there?",
        )


def test_nobody_answers(cli):
    with silent() as port:
        says(
            cli("db", "current", dsn=f"host=127.0.0.1 port={port} connect_timeout=2"),
            "nobody answers there",
        )


def test_unknown_host(cli):
    says(
        cli("db", "current", "--dsn", "host=nosuch.invalid"),
        "(--dsn)",
        "check the name of the host",
    )


def test_no_connection_string_at_all_and_no_password_shown(cli):
    result = cli("db", "current", "--dsn", "postgresq://me:secret@host/db")
    says(result, "cannot be read", "postgresql://USER@HOST/DATABASE")
    assert "secret" not in result.stderr


def test_unknown_database(cli, database):
    says(
        cli("db", "current", dsn=make_conninfo(database, dbname="nix")),
        '"nix" does not exist',
        "createdb",
    )


def test_wrong_password(cli, server, database):
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS imgdb_password")
        admin.execute("CREATE ROLE imgdb_password LOGIN PASSWORD 'right'")
        hba = Path(admin.execute("SHOW hba_file").fetchone()[0])
        hba.write_text(f"local all imgdb_password scram-sha-256\n{hba.read_text()}")
        admin.execute("SELECT pg_reload_conf()")
        dsn = make_conninfo(database, user="imgdb_password", password="right")
        # The postmaster reads it when it gets to it: the right password is the sign.
        for _ in range(1000):
            try:
                psycopg.connect(dsn).close()
            except psycopg.OperationalError:
                continue
            break
        wrong = cli("db", "current", dsn=make_conninfo(dsn, password="secret"))
        none = cli("db", "current", dsn=make_conninfo(database, user="imgdb_password"))
        admin.execute("DROP ROLE imgdb_password")
    says(wrong, "password authentication failed", "check the user and the password")
    assert "secret" not in wrong.stderr
    says(none, "no password supplied", "check the user and the password")


def test_a_server_that_is_too_old(cli):
    with of_version("13.5") as port:
        says(
            cli("db", "upgrade", dsn=f"host=127.0.0.1 port={port} sslmode=disable"),
            "PostgreSQL 13.5",
            "14 or newer",
        )


# -- a schema that does not fit --------------------------------------------------------------------


def test_no_schema(cli, empty_database):
    with pytest.raises(SchemaMismatch) as caught, open_database(empty_database):
        pass
    assert schema.head() in str(caught.value)
    assert "`imgdb db upgrade`" in str(caught.value)
    # Looking changes nothing.
    assert cli("db", "current", dsn=empty_database).stdout == "none\n"
    with connect(Place(empty_database)) as conn:
        assert conn.execute("SELECT to_regnamespace('imgdb')").fetchone() == (None,)


def test_schema_at_base_is_no_schema(database):
    schema.downgrade(database, "base")
    with pytest.raises(SchemaMismatch, match="no imgdb schema"), open_database(database):
        pass


def test_older_schema(monkeypatch, tmp_path, database):
    """Of the package as it will be: with one revision more than the database has."""
    newer = tmp_path / "migrations"
    shutil.copytree(schema.migrations_folder(), newer)
    (newer / "versions" / "0999_more.py").write_text("")
    head = schema.head()
    monkeypatch.setattr(revisions, "migrations_folder", lambda: newer)
    with pytest.raises(SchemaMismatch) as caught, open_database(database):
        pass
    assert re.search(f"at revision {head}.* needs 0999_more.*`imgdb db upgrade`", str(caught.value))


@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
def test_newer_schema(cli, database, command):
    with connect(Place(database)) as conn:
        conn.execute("UPDATE imgdb.alembic_version SET version_num = '0999_more'")
        conn.execute(
            "CREATE OR REPLACE FUNCTION imgdb._compatible_since() RETURNS text"
            " LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN '0999_more'"
        )
    with pytest.raises(SchemaMismatch) as caught, open_database(database):
        pass
    for error in (
        str(caught.value),
        cli("db", command, *["base", "--yes"] * (command == "downgrade"), dsn=database).stderr,
    ):
        assert "0999_more" in error
        assert schema.head() in error
        assert "upgrade imgdb (its package is called imgdb-postgresql)" in error


def as_before_the_squash(database, revision, more="SELECT"):
    """Make the schema as it was when the last of twelve unreleased revisions was the head."""
    with connect(Place(database)) as conn:
        conn.execute("DROP SCHEMA IF EXISTS imgdb CASCADE")
        schema.upgrade(database, "0001_initial")
        conn.execute(more)
        conn.execute("UPDATE imgdb.alembic_version SET version_num = %s", (revision,))


def test_the_last_unreleased_schema_goes_on_with_its_data(cli, empty_database):
    insert = (
        "INSERT INTO imgdb.collection (name) VALUES ('shop');"
        "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
        " SELECT collection_id, '/a', 7, 'imported' FROM imgdb.collection"
    )
    as_before_the_squash(empty_database, "0012_bulk_imports", insert)
    with (
        pytest.raises(SchemaMismatch, match="run `imgdb db upgrade`"),
        open_database(empty_database),
    ):
        pass
    up = cli("db", "upgrade", dsn=empty_database)
    assert up.stderr == f"imgdb: schema from 0012_bulk_imports to {schema.head()}\n"
    with open_database(empty_database) as conn:
        found = conn.execute("SELECT path FROM imgdb.similar_images('phash', 6, 1)").fetchall()
        assert found == [("/a",)]
    schema.downgrade(empty_database, "base")
    with connect(Place(empty_database)) as conn:
        assert schema.current_revision(conn) is None


def test_it_is_stamped_and_upgraded_in_one_transaction(empty_database):
    """Else it would be neither the old nor the new, if the upgrade fails."""
    as_before_the_squash(
        empty_database,
        "0012_bulk_imports",
        "CREATE FUNCTION imgdb._add_rows(smallint, bigint[], bigint[]) RETURNS void"
        " LANGUAGE sql RETURN NULL",
    )
    with pytest.raises(ImgdbError, match="_add_rows"):
        schema.upgrade(empty_database)
    with connect(Place(empty_database)) as conn:
        assert schema.current_revision(conn) == "0012_bulk_imports"


@pytest.mark.parametrize(
    ("revision", "more"),
    [
        # The first one had another schema, and the name that the first one has now.
        ("0001_initial", "DROP FUNCTION imgdb._region_matches; DROP TABLE imgdb.image_region"),
        ("0005_hubs", "SELECT"),
    ],
)
def test_older_unreleased_schemas_are_refused(cli, empty_database, revision, more):
    as_before_the_squash(empty_database, revision, more)
    with pytest.raises(SchemaMismatch) as caught, open_database(empty_database):
        pass
    for error in (
        str(caught.value),
        *(
            cli("db", *command, dsn=empty_database).stderr
            for command in (["upgrade"], ["downgrade", "base", "--yes"])
        ),
    ):
        assert f"at revision {revision} of an imgdb that was never released" in error
        assert "`DROP SCHEMA imgdb CASCADE`" in error
        assert error.count("\n") <= 1
    with connect(Place(empty_database)) as conn:
        assert schema.current_revision(conn) == revision


def test_the_embedded_server_goes_on_from_the_last_unreleased_schema(monkeypatch, home):
    monkeypatch.setenv("IMGDB_HOME", str(home))
    with Server(home) as server:
        as_before_the_squash(server.conninfo(), "0012_bulk_imports")
        with open_database() as conn:
            assert schema.current_revision(conn) == schema.head()


def test_schema_of_the_embedded_server_is_made_by_itself(monkeypatch, server):
    """Only the first time: then it is there, and one cheap query sees that."""
    monkeypatch.setenv("IMGDB_HOME", str(server.home))
    with connect(Place(server.conninfo())) as conn:
        conn.execute("DROP SCHEMA imgdb CASCADE")
    for _ in range(2):
        with open_database() as conn:
            assert schema.current_revision(conn) == schema.head()


# -- things that go wrong on the way ---------------------------------------------------------------


def test_a_role_without_rights(cli, database):
    with connect(Place(database)) as conn:
        conn.execute("DROP ROLE IF EXISTS imgdb_guest")
        conn.execute("CREATE ROLE imgdb_guest")
    guest = make_conninfo(database, options="-c role=imgdb_guest")
    says(
        cli("db", "current", dsn=guest),
        "permission denied for schema imgdb",
        "db grant ROLE --read",
    )
    says(cli("db", "upgrade", dsn=guest), "permission denied", "GRANT CREATE ON DATABASE")
    with connect(Place(database)) as conn:
        conn.execute("DROP ROLE imgdb_guest")


def test_a_database_that_takes_no_writes(cli, empty_database):
    dsn = make_conninfo(empty_database, options="-c default_transaction_read_only=on")
    says(cli("db", "upgrade", dsn=dsn), "read-only transaction", "takes no writes")


def test_connection_lost_in_the_middle(database):
    with (
        pytest.raises(ConnectionFailed, match=r"lost.*run the same command again") as caught,
        open_database(database) as conn,
        connect(Place(database)) as other,
    ):
        other.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        conn.execute("SELECT 1")
    assert "\n" not in str(caught.value)


def test_a_connection_that_is_gone(database):
    with pytest.raises(ConnectionFailed), open_database(database) as conn:
        conn.close()
        conn.execute("SELECT 1")


def raised(conn, state, hint="what to do"):
    """Have the server raise an error, and return what imgdb makes of it."""
    with pytest.raises(psycopg.Error) as caught, conn.transaction():
        conn.execute(
            "DO $$ BEGIN RAISE EXCEPTION 'what happened'"
            f" USING ERRCODE = '{state}', HINT = '{hint}'; END $$"
        )
    return translate(caught.value)


def test_errors_of_imgdbs_own_functions_are_whole_sentences(conn):
    for state, kind in RAISED_BY_IMGDB.items():
        error = raised(conn, state)
        assert type(error) is kind
        assert str(error) == "what happened; what to do"
        assert error.exit_code == (2 if issubclass(kind, UsageError) else 1)
    assert issubclass(UnknownName, UsageError)


def test_advice_of_every_kind(conn):
    for state, advice in ADVICE.items():
        error = raised(conn, state.ljust(5, "0") if state != "58" else "58030")
        assert isinstance(error, DatabaseFailure)
        assert str(error) == f"what happened; {advice}"
        assert "\n" not in str(error)


def test_an_error_without_advice_names_its_sqlstate(conn):
    assert str(raised(conn, "22012", hint="")) == "what happened (SQLSTATE 22012)"


def test_sqlstates_of_sql_and_python_agree():
    files = [*schema.sql_files(), revisions.migrations_folder() / "guard.sql"]
    used = {code for file in files for code in re.findall(r"\bIM\d{3}\b", file.read_text())}
    assert used == RAISED_BY_IMGDB.keys()


def test_every_constraint_has_words(conn):
    constraints = conn.execute(
        "SELECT conname FROM pg_constraint WHERE connamespace = 'imgdb'::regnamespace"
        " AND contype IN ('c', 'f', 'u', 'x') AND conname <> 'alembic_version_pkc'"
    )
    assert {name for (name,) in constraints} == BROKEN_RULES.keys()
