"""Installing: as a script, into schemas that others made, and from dumps without rows."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from catalog import fingerprint
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from roles import login
from servers import dump_programs

from imgdb import schema
from imgdb.errors import SchemaMismatch, UsageError

pytestmark = pytest.mark.sql


def psql(server, conninfo, *arguments, script=None):
    """Run psql as a DBA does, without stopping at errors."""
    return subprocess.run(
        [dump_programs(server) / "psql", "-X", "-q", f"--dbname={conninfo}", *arguments],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def look_at(conninfo):
    with psycopg.connect(conninfo) as conn:
        return fingerprint(conn), schema.current_revision(conn)


def assert_same(conninfo, other):
    """Say of two databases what differs in them, which is nothing.

    A condition that is dumped and restored has fewer or more brackets than before.
    """
    (found, revision), (expected, head) = look_at(conninfo), look_at(other)

    def bare(objects):
        return {(name, re.sub("[()]", "", text)) for name, text in objects.items()}

    assert bare(found) ^ bare(expected) == set()
    assert revision == head == schema.head()


# -- as a script -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["-1"]], ids=["plain", "single-transaction"])
def test_the_script_makes_the_same(server, database, empty_database, options, tmp_path):
    file = tmp_path / "imgdb.sql"
    file.write_text(schema.script(), "utf-8")
    done = psql(server, empty_database, *options, f"--file={file}")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"imgdb is at revision {schema.head()} now" in done.stderr
    assert_same(empty_database, database)

    again = psql(server, empty_database, *options, f"--file={file}")
    assert again.returncode == 0
    [line] = again.stderr.splitlines()
    assert line.endswith("already: nothing was changed")
    assert_same(empty_database, database)


@pytest.mark.parametrize("options", [[], ["-1"]], ids=["plain", "single-transaction"])
def test_the_script_upgrades(server, database, empty_database, options):
    schema.upgrade(empty_database, "0001_initial")
    script = schema.script("0001")
    done = psql(server, empty_database, *options, script=script)
    assert done.returncode == 0
    assert_same(empty_database, database)
    again = psql(server, empty_database, *options, script=script)
    assert "nothing was changed" in again.stderr


def test_the_script_needs_no_more_than_a_schema(empty_database):
    name = conninfo_to_dict(empty_database)["dbname"]
    with login(empty_database, "app", f'CREATE ON DATABASE "{name}"') as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute(schema.script())
        schema.upgrade(dsn)
        with psycopg.connect(dsn) as conn:
            assert schema.current_revision(conn) == schema.head()
            assert conn.execute("SELECT count(*) FROM imgdb.within('phash', 0, 8)").fetchone()
    with psycopg.connect(empty_database) as conn:
        assert schema.current_revision(conn) is None


def test_the_script_leaves_the_session_as_it_was(empty_database):
    with psycopg.connect(empty_database) as conn:
        conn.execute("SET LOCAL search_path = public, pg_temp")
        conn.execute(schema.script())
        assert conn.execute("SHOW search_path").fetchone() == ("public, pg_temp",)


def test_a_script_that_fails_leaves_nothing(server, empty_database):
    broken = schema.script().replace("TABLE imgdb.archive (", "TABLE imgdb.archive ((")
    done = psql(server, empty_database, script=broken)
    assert "syntax error" in done.stderr
    with psycopg.connect(empty_database) as conn:
        assert conn.execute("SELECT to_regnamespace('imgdb')").fetchone() == (None,)


@pytest.mark.parametrize(
    ("at", "since", "words"),
    [
        ("0001_initial", None, "is installed already, at another revision"),
        (None, "0001", "is not installed"),
    ],
)
def test_a_script_for_another_revision_changes_nothing(empty_database, at, since, words):
    if at:
        schema.upgrade(empty_database, at)
        before = look_at(empty_database)
    with (
        psycopg.connect(empty_database) as conn,
        pytest.raises(psycopg.Error, match=words) as caught,
    ):
        conn.execute(schema.script(since))
    assert caught.value.sqlstate == "IM020"
    if at:
        assert look_at(empty_database) == before


def test_after_a_downgrade_to_nothing_the_script_installs_again(database):
    before = look_at(database)
    schema.downgrade(database, "base")
    with psycopg.connect(database) as conn:
        conn.execute(schema.script())
    assert look_at(database) == before


def test_the_script_tells_what_it_makes(conn):
    told, _, _ = schema.script().partition("DO $imgdb$")
    tables = conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'imgdb'::regnamespace"
        " AND relkind IN ('r', 'p', 'v')"
    )
    routines = conn.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace"
    )
    words = set(told.replace(",", " ").split())
    assert {name for (name,) in [*tables, *routines]} <= words
    definers = told.partition("With the rights of imgdb's owner run:")[2].partition("It grants")[0]
    secure = conn.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace AND prosecdef"
    )
    said = {word.removeprefix("imgdb.") for word in definers.replace(",", " ").split()} - {"--"}
    assert said == {name for (name,) in secure}


def test_unknown_revisions_are_wrong_usage():
    for since in ("0", "", "0999", "nothing"):
        with pytest.raises(UsageError, match="there is no revision"):
            schema.script(since)


# -- into a schema that somebody else made ---------------------------------------------------------


@pytest.fixture
def mallory(empty_database):
    """Log in as somebody who may make schemas, and wants more."""
    name = conninfo_to_dict(empty_database)["dbname"]
    with login(empty_database, "mallory", f'CREATE ON DATABASE "{name}"') as dsn:
        yield dsn


EVIL = """
CREATE FUNCTION imgdb.evil() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('ALTER ROLE %s SUPERUSER', (SELECT nspowner::regrole FROM pg_namespace
            WHERE nspname = 'imgdb'));
    END IF;
    RETURN '0001_initial';
END $$;
"""
HOSTILE = {
    "nothing in it": "",
    "a view as version table": EVIL
    + "CREATE VIEW imgdb.alembic_version AS SELECT imgdb.evil() AS version_num",
    "an index on an expression": "CREATE TABLE imgdb.alembic_version (version_num varchar(32));"
    + EVIL
    + "CREATE FUNCTION imgdb.pure() RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
    " 'BEGIN RETURN imgdb.evil(); END';"
    "CREATE INDEX ON imgdb.alembic_version (imgdb.pure())",
    "functions to be replaced": "CREATE TABLE imgdb.alembic_version (version_num varchar(32));"
    "CREATE FUNCTION imgdb.distance(bigint, bigint) RETURNS integer LANGUAGE sql RETURN 0",
}


def is_super(admin, dsn):
    user = conninfo_to_dict(dsn)["user"]
    row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [user]).fetchone()
    return row == (True,)


def run_script(dsn, since=None):
    with psycopg.connect(dsn) as conn:
        conn.execute(schema.script(since))


WAYS = {"upgrade": schema.upgrade, "script": run_script}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_schema_of_another_role_is_refused(empty_database, mallory, hostile, way):
    """A superuser would run what mallory put there, or what mallory exchanges it for later."""
    with psycopg.connect(mallory) as conn:
        conn.execute("CREATE SCHEMA imgdb")
        conn.execute("GRANT USAGE ON SCHEMA imgdb TO public")
        conn.execute(HOSTILE[hostile])
    with psycopg.connect(empty_database, autocommit=True) as admin:
        before = fingerprint(admin)
        with pytest.raises((SchemaMismatch, psycopg.Error), match="belongs to role"):
            WAYS[way](empty_database)
        assert not is_super(admin, mallory)
        assert fingerprint(admin) == before


@pytest.mark.parametrize("way", WAYS)
def test_another_ordinary_role_is_refused_too(empty_database, mallory, way):
    with psycopg.connect(mallory) as conn:
        conn.execute("CREATE SCHEMA imgdb")
        conn.execute("GRANT ALL ON SCHEMA imgdb TO public")
    name = conninfo_to_dict(empty_database)["dbname"]
    with (
        login(empty_database, "app", f'CREATE ON DATABASE "{name}"') as app,
        pytest.raises((SchemaMismatch, psycopg.Error), match="belongs to role"),
    ):
        WAYS[way](app)


@pytest.mark.parametrize("command", [["current"], ["upgrade"]])
def test_commands_of_a_superuser_run_nothing_of_others(cli, empty_database, mallory, command):
    with psycopg.connect(mallory) as conn:
        conn.execute("CREATE SCHEMA imgdb")
        conn.execute(HOSTILE["a view as version table"])
    result = cli("db", *command, dsn=empty_database)
    assert result.code == 1
    assert "belongs to role mallory" in result.stderr
    with psycopg.connect(empty_database) as admin:
        assert not is_super(admin, mallory)


PLANTED = {
    "a function of another": "CREATE FUNCTION imgdb.planted() RETURNS int LANGUAGE sql RETURN 1",
    "a table of another": "CREATE TABLE imgdb.planted (a int)",
    "a type of another": "CREATE TYPE imgdb.planted AS ENUM ('a')",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("planted", PLANTED)
def test_objects_of_others_are_refused(empty_database, mallory, planted, way):
    schema.upgrade(empty_database, "0001_initial")
    user = conninfo_to_dict(mallory)["user"]
    ways = WAYS | {"script": lambda dsn: run_script(dsn, "0001")}
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(f'GRANT USAGE, CREATE ON SCHEMA imgdb TO "{user}"')
        with pytest.raises((SchemaMismatch, psycopg.Error), match="others may create objects"):
            ways[way](empty_database)
        with psycopg.connect(mallory) as conn:
            conn.execute(PLANTED[planted])
        admin.execute(f'REVOKE CREATE ON SCHEMA imgdb FROM "{user}"')
        with pytest.raises((SchemaMismatch, psycopg.Error), match=r"of other roles.*planted"):
            ways[way](empty_database)


def test_a_trigger_of_another_is_refused(empty_database, mallory):
    schema.upgrade(empty_database, "0001_initial")
    user = conninfo_to_dict(mallory)["user"]
    with psycopg.connect(empty_database, autocommit=True) as admin:
        admin.execute(f'GRANT USAGE ON SCHEMA imgdb TO "{user}"')
        admin.execute(f'GRANT TRIGGER ON imgdb.space TO "{user}"')
    with psycopg.connect(mallory) as conn:
        conn.execute("CREATE SCHEMA lair")
        conn.execute(
            "CREATE FUNCTION lair.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
            "CREATE TRIGGER planted BEFORE INSERT ON imgdb.space"
            " FOR EACH ROW EXECUTE FUNCTION lair.f()"
        )
    with pytest.raises(SchemaMismatch, match=r"trigger planted on table imgdb\.space"):
        schema.upgrade(empty_database)


def test_a_schema_that_is_no_imgdb_is_refused(empty_database):
    with psycopg.connect(empty_database) as conn:
        conn.execute("CREATE SCHEMA imgdb")
        conn.execute("CREATE TABLE imgdb.film (title text)")
    with pytest.raises(SchemaMismatch, match="imgdb was never installed in it"):
        schema.upgrade(empty_database)


def test_a_schema_that_a_dba_made_for_the_role_is_taken(empty_database):
    with login(empty_database, "app") as app:
        user = conninfo_to_dict(app)["user"]
        with psycopg.connect(empty_database, autocommit=True) as admin:
            admin.execute(f'CREATE SCHEMA imgdb AUTHORIZATION "{user}"')
        schema.upgrade(app)
        # Deploy tools log in as a member, and work as the owner.
        with login(empty_database, "deploy", f'"{user}"') as deploy:
            with pytest.raises(SchemaMismatch, match="set role to it"):
                schema.upgrade(deploy)
            schema.upgrade(make_conninfo(deploy, options=f"-c role={user}"))
        with psycopg.connect(app) as conn:
            assert schema.current_revision(conn) == schema.head()


# -- from a dump without rows ----------------------------------------------------------------------


@pytest.fixture
def structure(server, database, empty_database):
    """Restore the dump of a database's structure, as Rails and Django keep it in a file."""
    programs = dump_programs(server)
    dumped = subprocess.run(
        [programs / "pg_dump", "--schema-only", f"--dbname={database}"],
        check=True,
        capture_output=True,
        text=True,
    )
    done = psql(server, empty_database, "--set=ON_ERROR_STOP=1", script=dumped.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    return empty_database


def test_a_structure_is_recognised_and_filled(cli, database, structure):
    with psycopg.connect(structure) as conn:
        assert schema.schema_state(conn) == schema.SchemaState(schema.head(), lacks_rows=True)
        with pytest.raises(SchemaMismatch, match="restored without its rows"):
            schema.require_head(conn)
    result = cli("db", "current", dsn=structure)
    assert (result.code, result.stdout) == (0, f"{schema.head()}\n")
    assert "restored without its rows" in result.stderr
    assert "filled" in cli("db", "upgrade", dsn=structure).stderr
    assert_same(structure, database)
    assert "filled" not in cli("db", "upgrade", dsn=structure).stderr


def test_a_filled_structure_ingests_and_searches(cli, structure, tmp_path):
    from PIL import Image

    Image.effect_noise((60, 40), 50).save(tmp_path / "a.png")
    schema.upgrade(structure)
    assert cli("ingest", tmp_path, dsn=structure).code == 0
    found = cli("query", tmp_path / "a.png", dsn=structure)
    assert str(Path(tmp_path / "a.png")) in found.stdout


def test_the_script_says_what_a_structure_needs(structure):
    with (
        psycopg.connect(structure) as conn,
        pytest.raises(psycopg.Error, match="restored without its rows"),
    ):
        conn.execute(schema.script())


def test_a_structure_that_does_not_say_its_revision_is_refused(empty_database):
    schema.upgrade(empty_database, "0001_initial")
    with psycopg.connect(empty_database) as conn:
        conn.execute("DELETE FROM imgdb.alembic_version")
    with pytest.raises(SchemaMismatch, match="DROP SCHEMA imgdb CASCADE"):
        schema.upgrade(empty_database)


# -- an older package on a newer schema ------------------------------------------------------------


@pytest.mark.parametrize("serves", [True, False])
def test_a_newer_schema_says_whom_it_serves(cli, database, serves):
    since = schema.head() if serves else "0998_all_new"
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("UPDATE imgdb.alembic_version SET version_num = '0999_more'")
        conn.execute(
            "CREATE OR REPLACE FUNCTION imgdb._compatible_since() RETURNS text LANGUAGE sql"
            f" IMMUTABLE PARALLEL SAFE RETURN '{since}'"
        )
    result = cli("failures", dsn=database)
    assert result.code == (0 if serves else 1)
    if not serves:
        assert "upgrade imgdb" in result.stderr
    with pytest.raises(SchemaMismatch, match="does not know"):
        schema.upgrade(database)


# -- removing it -----------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "installing.md"

USERS_OWN = """
CREATE TABLE product (id int, hash bigint,
    hex text GENERATED ALWAYS AS (imgdb.to_hex(hash)) STORED);
CREATE VIEW near AS SELECT id, imgdb.distance(hash, 0) FROM product;
CREATE FUNCTION far(h bigint) RETURNS int LANGUAGE sql RETURN imgdb.distance(h, -1);
CREATE TABLE untouched (hash bigint);
SELECT imgdb.track('product', 'hash', 'product');
"""


def test_the_page_tells_what_goes_along(database):
    page = PAGE.read_text("utf-8")
    query = re.search(r"<!-- command: dependents -->\n```sql\n(.*?)```", page, re.S)
    assert query is not None
    with psycopg.connect(database, autocommit=True) as conn:
        assert conn.execute(query[1]).fetchall() == []
        conn.execute(USERS_OWN)
        conn.execute("INSERT INTO product VALUES (1, 7)")
        told = [text for (text,) in conn.execute(query[1])]
        triggers = [text for text in told if re.match("trigger imgdb_.* on table product", text)]
        assert len(triggers) == 2
        generated = "column hex of table product"
        assert set(told) - set(triggers) == {
            "rule _RETURN on view near",
            "function far(bigint)",
            f"default value for {generated}" if conn.info.server_version >= 150000 else generated,
        }
        notices = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_detail or ""))
        conn.execute("DROP SCHEMA imgdb CASCADE")
        outside = [line for line in "\n".join(notices).splitlines() if "imgdb." not in line]
        assert any("view near" in line for line in outside)
        # Of the users' own, what they stored stays.
        assert conn.execute("SELECT id, hash FROM product").fetchall() == [(1, 7)]
        assert conn.execute("SELECT to_regclass('near')").fetchone() == (None,)


def test_a_tenant_dumps_what_is_his(server, database):
    """A dump of his schema needs no right in imgdb; one of all does, as the page says."""
    name = conninfo_to_dict(database)["dbname"]
    with login(database, "tenant", f'CREATE ON DATABASE "{name}"') as dsn:
        with psycopg.connect(dsn) as conn:
            conn.execute("CREATE SCHEMA shop")
            conn.execute("CREATE TABLE shop.product (hash bigint)")

        def dump(*options):
            return subprocess.run(
                [dump_programs(server) / "pg_dump", *options, f"--dbname={dsn}"],
                capture_output=True,
                text=True,
                check=False,
            )

        for options in (["--schema=shop"], ["--exclude-schema=imgdb"]):
            done = dump(*options)
            assert (done.returncode, done.stderr) == (0, "")
            assert "CREATE TABLE shop.product" in done.stdout
            assert "imgdb" not in done.stdout
        assert "permission denied for" in dump().stderr
