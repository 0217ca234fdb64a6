"""imgdb as an extension: the same objects, updates, and dumps that bring all rows back."""

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from catalog import fingerprint
from psycopg.conninfo import conninfo_to_dict
from roles import login
from servers import dump_programs, server_folder

from imgdb import extension, revisions, schema
from imgdb.database.embedded import Server
from imgdb.errors import DatabaseFailure, SchemaMismatch

pytestmark = pytest.mark.sql

ROOT = Path(__file__).parents[2]


@pytest.fixture
def offered(server, empty_database):
    """Give a database without imgdb, on a server that has the files of the extension."""
    with psycopg.connect(empty_database, autocommit=True) as conn, contextlib.ExitStack() as stack:
        share = Path(
            conn.execute("SELECT setting FROM pg_config WHERE name = 'SHAREDIR'").fetchone()[0]
        )
        if conn.info.server_version >= 180000:
            folder = stack.enter_context(server_folder())
            (folder / "extension").mkdir(mode=0o755)
            offer(empty_database, folder)
        else:
            # The server has one folder, which other processes of the tests use, too.
            folder = share
            if not os.access(folder / "extension", os.W_OK):
                pytest.skip("needs root")
            lock = stack.enter_context(Path("/tmp/imgdb-test-extension.lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        for file in extension.write(folder / "extension"):
            stack.callback(file.unlink)
            file.chmod(0o644)
        yield empty_database


def offer(conninfo, folder):
    """Let a database of PostgreSQL 18 find extensions in a folder; it takes nothing elsewhere."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        name = conn.info.dbname
        conn.execute(f"ALTER DATABASE {name} SET extension_control_path = '{folder}:$system'")


def run(conninfo, *statements):
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def differences(conninfo, other):
    """Give what differs in two databases, but for the membership that only one has."""
    with psycopg.connect(conninfo) as a, psycopg.connect(other) as b:
        assert schema.current_revision(a) == schema.current_revision(b) == schema.head()
        return set(fingerprint(a).items()) ^ set(fingerprint(b).items())


def test_the_extension_is_the_same_schema(offered, database):
    run(offered, "CREATE EXTENSION imgdb")
    assert differences(offered, database) == set()
    with psycopg.connect(offered) as conn:
        owned = conn.execute(
            "SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refobjid ="
            " (SELECT oid FROM pg_extension WHERE extname = 'imgdb')"
            " AND classid = 'pg_proc'::regclass"
        ).fetchone()
        made = conn.execute(
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace"
        ).fetchone()
        assert owned == made
    run(offered, "DROP EXTENSION imgdb")
    with psycopg.connect(offered) as conn:
        assert conn.execute("SELECT to_regnamespace('imgdb')").fetchone() == (None,)


def test_a_role_without_superuser_creates_and_owns_it(offered, database):
    name = conninfo_to_dict(offered)["dbname"]
    with login(offered, "app", f'CREATE ON DATABASE "{name}"') as app:
        user = conninfo_to_dict(app)["user"]
        run(app, "CREATE EXTENSION imgdb")
        with psycopg.connect(offered) as conn:
            owners = conn.execute(
                "SELECT DISTINCT proowner::regrole::text FROM pg_proc"
                " WHERE pronamespace = 'imgdb'::regnamespace"
            ).fetchall()
        # Nothing of it runs with more rights than the role has: it is not trusted.
        assert owners == [(user,)]
        run(app, "SELECT imgdb.create_space('shop', '')")


def test_a_schema_that_is_there_is_refused(offered):
    name = conninfo_to_dict(offered)["dbname"]
    with login(offered, "mallory", f'CREATE ON DATABASE "{name}"') as mallory:
        run(mallory, "CREATE SCHEMA imgdb")
        with pytest.raises(psycopg.errors.DuplicateSchema, match='"imgdb" already exists'):
            run(offered, "CREATE EXTENSION imgdb")


def test_the_command_recognises_it(offered, cli):
    run(offered, "CREATE EXTENSION imgdb")
    now = cli("db", "current", dsn=offered)
    assert (now.code, now.stdout) == (0, f"{schema.head()}\n")
    assert f"an extension, version {schema.head()[:4]}" in now.stderr
    assert cli("db", "upgrade", dsn=offered).code == 0
    assert cli("failures", dsn=offered).code == 0
    with pytest.raises(SchemaMismatch, match="ALTER EXTENSION imgdb UPDATE"):
        schema.downgrade(offered, "base")


def test_a_later_version_updates(offered, cli, tmp_path, monkeypatch):
    """The files of the next revision, which nobody has written yet, are made as all are."""
    run(offered, "CREATE EXTENSION imgdb")
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    for revision in (*schema.revisions(), "0999_next"):
        (versions / f"{revision}.py").touch()
    (versions / "0999_next.up.sql").write_text(
        "CREATE TABLE imgdb.next (a int);\nINSERT INTO imgdb.next VALUES (1);\n"
    )
    monkeypatch.setattr(revisions, "migrations_folder", lambda: tmp_path / "migrations")
    update = f"imgdb--{extension.version(revisions.revisions()[-2])}--0999.sql"
    assert set(extension.files()) == {"imgdb.control", "imgdb--0999.sql", update}
    with psycopg.connect(offered, autocommit=True) as conn:
        if conn.info.server_version >= 180000:
            setting = conn.execute("SHOW extension_control_path").fetchone()[0]
            folder = Path(setting.partition(":")[0])
        else:
            setting = "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'"
            folder = Path(conn.execute(setting).fetchone()[0])
        file = folder / "extension" / update
        file.write_text(extension.files()[update])
        file.chmod(0o644)
        try:
            conn.execute("ALTER EXTENSION imgdb UPDATE TO '0999'")
        finally:
            file.unlink()
        assert schema.schema_state(conn).revision == "0999_next"
        assert schema.schema_state(conn).extension == "0999"
        dumped = conn.execute("SELECT extconfig FROM pg_extension WHERE extname = 'imgdb'")
        assert (
            conn.execute("SELECT 'imgdb.next'::regclass::oid").fetchone()[0]
            in (dumped.fetchone()[0])
        )


def test_a_version_without_a_way_is_told(offered):
    run(
        offered,
        "CREATE EXTENSION imgdb",
        "UPDATE pg_extension SET extversion = '0001' WHERE extname = 'imgdb'",
    )
    with (
        psycopg.connect(offered, autocommit=True) as conn,
        pytest.raises(DatabaseFailure, match="no update path"),
    ):
        schema.update_extension(conn)


# -- dump and restore ------------------------------------------------------------------------------

FILL = (
    "CREATE TABLE product (id int PRIMARY KEY, hash bigint)",
    "SELECT imgdb.track('product', 'hash', 'shop')",
    "INSERT INTO product SELECT i, i * 1000003 FROM generate_series(1, 2000) AS i",
    "CALL imgdb.compact('shop')",
    "INSERT INTO product VALUES (0, 77)",
    "SELECT imgdb.set_default_max_distance('phash', 5)",
    "SELECT imgdb.set_default_max_distance('shop', 3)",
    "SELECT imgdb.watch('shop', 77, 8, 'known')",
    "SELECT imgdb._make_collection('photos')",
    "INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, recipe)"
    " SELECT collection_id, '/' || i, i, i, i % 290 * 7919, i, 'imported'"
    " FROM imgdb.collection, generate_series(1, 300) AS i",
)
ASKED = (
    "SELECT * FROM imgdb.within('shop', 77, 20) ORDER BY 1",
    "SELECT * FROM imgdb.within('shop', 3000009, 8) ORDER BY 1",
    "SELECT * FROM imgdb.similar_images('phash', 7919, 12)",
    "SELECT * FROM imgdb.duplicate_groups('phash', 3) ORDER BY 1, 2",
    "SELECT space_id, name, default_max_distance FROM imgdb.space ORDER BY 1",
    "SELECT table_id::text, column_name, space_id FROM imgdb.tracked_column ORDER BY 1, 2",
    "SELECT * FROM imgdb.probe ORDER BY 1, 2",
    "SELECT * FROM imgdb.watch_list ORDER BY 1",
    "SELECT * FROM imgdb.watch_probe ORDER BY 1, 2, 3",
    "SELECT * FROM imgdb.match ORDER BY 1",
    "SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger AS t"
    " WHERE NOT t.tgisinternal ORDER BY 1, 2",
)


def answers(conninfo):
    with psycopg.connect(conninfo, autocommit=True) as conn:
        return {query: conn.execute(query).fetchall() for query in ASKED}


@pytest.fixture
def second(_databases):
    """Make a second database without imgdb."""
    yield _databases.create("imgdb_restored", "template0")
    _databases.drop("imgdb_restored")


def restore(server, conninfo, other, *options):
    """Dump a database and restore it into another."""
    with psycopg.connect(conninfo) as conn:
        if conn.info.server_version >= 180000:
            setting = conn.execute("SHOW extension_control_path").fetchone()[0]
            offer(other, setting.partition(":")[0])
    programs = dump_programs(server)
    dumped = subprocess.run(
        [programs / "pg_dump", "--format=custom", *options, f"--dbname={conninfo}"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [programs / "pg_restore", "--exit-on-error", f"--dbname={other}"],
        input=dumped.stdout,
        check=True,
    )


def test_dump_and_restore_bring_everything_back(server, offered, second):
    run(offered, "CREATE EXTENSION imgdb", *FILL)
    before = answers(offered)
    assert all(before.values())
    restore(server, offered, second)
    assert answers(second) == before
    with psycopg.connect(second, autocommit=True) as conn:
        # Nothing is missing, in imgdb's own spaces and in those of others, and what comes is found.
        names = [name for (name,) in conn.execute("SELECT name FROM imgdb.space")]
        for name in names:
            assert conn.execute("SELECT * FROM imgdb.missing_hashes(%s)", [name]).fetchall() == []
        conn.execute("INSERT INTO product VALUES (-1, 78)")
        assert conn.execute("SELECT * FROM imgdb.within('shop', 78, 0)").fetchall() == [(78, 0)]
        conn.execute(
            "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
            " SELECT collection_id, '/new', 99, 'imported' FROM imgdb.collection"
        )
        assert conn.execute("SELECT * FROM imgdb.within('phash', 99, 0)").fetchall() == [(99, 0)]
        made = conn.execute("SELECT imgdb.create_space('one more', '')").fetchone()[0]
        assert made > max(row[0] for row in before[ASKED[4]])
        uncounted = conn.execute(
            "SELECT s.name FROM imgdb.space_state AS t JOIN imgdb.space AS s USING (space_id)"
            " WHERE s.name = 'shop' AND t.hash_count = 0"
        ).fetchall()
        assert uncounted == []


def test_an_extension_without_rows_is_filled(server, offered, second, cli):
    run(offered, "CREATE EXTENSION imgdb")
    restore(server, offered, second, "--schema-only")
    assert "restored without its rows" in cli("db", "current", dsn=second).stderr
    assert "filled" in cli("db", "upgrade", dsn=second).stderr
    assert differences(offered, second) == set()


# -- the files -------------------------------------------------------------------------------------


def test_make_installs_the_files(tmp_path):
    config = "/usr/lib/postgresql/15/bin/pg_config"
    pgxs = subprocess.run([config, "--pgxs"], capture_output=True, text=True, check=False)
    if pgxs.returncode or not Path(pgxs.stdout.strip()).exists():
        pytest.skip("no PostgreSQL in /usr/lib/postgresql/15 to build extensions for")
    copy = tmp_path / "imgdb-src"
    for folder in ("sql", "migrations", "imgdb", "extension"):
        subprocess.run(["cp", "-r", f"{ROOT / folder}", "--parents", "-t", tmp_path], check=True)
    copy = tmp_path / str(ROOT).lstrip("/")
    made = ["make", "-C", copy / "extension", f"PG_CONFIG={config}", f"PYTHON={sys.executable}"]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    dest = tmp_path / "dest"
    subprocess.run([*made, "install", f"DESTDIR={dest}"], check=True, env=env)
    found = {file.name: file.read_text("utf-8") for file in dest.rglob("imgdb*")}
    assert found == extension.files()
    subprocess.run([*made, "clean"], check=True, env=env)
    assert {file.name for file in (copy / "extension").iterdir()} == {"Makefile", "README.md"}


def test_the_command_writes_the_files(cli, tmp_path):
    result = cli("db", "extension", tmp_path)
    assert result.code == 0
    assert {Path(line).name for line in result.stdout.splitlines()} == set(extension.files())
    assert {f.name: f.read_text("utf-8") for f in tmp_path.iterdir() if f.is_file()} == (
        extension.files()
    )
    assert cli("db", "extension").code == 2


def test_pg_tle_registers_the_same():
    """For servers whose files nobody may write."""
    bindir = os.environ.get("IMGDB_TEST_PG_TLE")
    if not bindir:
        pytest.skip("IMGDB_TEST_PG_TLE names no programs of a server that has pg_tle")
    preload = {"shared_preload_libraries": "pg_tle"}
    with (
        server_folder() as folder,
        Server(folder / "home", bindir=Path(bindir), settings=preload, durable=False) as server,
        psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin,
    ):
        for name in ("installed", "upgraded"):
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        # Objects of a user that would be taken for PostgreSQL's.
        run(
            server.conninfo("installed"),
            "CREATE FUNCTION public.bit_count(bit) RETURNS bigint LANGUAGE sql RETURN 0",
            "CREATE EXTENSION pg_tle",
            extension.pg_tle_script(),
            "CREATE EXTENSION imgdb",
        )
        schema.upgrade(server.conninfo("upgraded"))
        assert differences(server.conninfo("installed"), server.conninfo("upgraded")) == set()
