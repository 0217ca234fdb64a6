"""The embedded server's life on its real binaries: made, shared, kept, stopped."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from embedded_clients import BINDIR, Client

from imgdb.database.embedded import Server
from imgdb.errors import EmbeddedServerError

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


def run(server: Server, statement: str) -> None:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        connection.execute(statement)


def value(server: Server, statement: str) -> object:
    with psycopg.connect(server.conninfo()) as connection:
        row = connection.execute(statement).fetchone()
        return row and row[0]


# -- one process ---------------------------------------------------------------------------------


def test_a_new_home_has_the_database(place: Path) -> None:
    with Server(place / "home", durable=False) as server:
        assert value(server, "SELECT current_database()") == "imgdb"
        assert value(server, "SELECT current_setting('fsync')") == "off"
    assert not server.status().running


def test_durable_by_default(place: Path) -> None:
    with Server(place / "home") as server:
        assert value(server, "SELECT current_setting('fsync')") == "on"
        assert value(server, "SELECT current_setting('data_checksums')") == "on"


@pytest.mark.skipif(not DEBIAN_15.exists(), reason=f"no {DEBIAN_15}")
def test_programs_of_the_system(place: Path) -> None:
    with Server(place / "home", bindir=DEBIAN_15, durable=False) as server:
        assert str(value(server, "SHOW server_version")).startswith("15.")


def test_data_survive_a_stop(home: Path) -> None:
    with Server(home, durable=False) as server:
        run(server, "CREATE TABLE t AS SELECT 42 AS n")
    with Server(home, durable=False) as server:
        assert value(server, "SELECT n FROM t") == 42


def test_acquire_nests(home: Path) -> None:
    server = Server(home, durable=False)
    with server:
        with server:
            pass
        assert server.status().running
    assert not server.status().running
    server.release()  # once too often does nothing
    assert not server.status().running


def test_release_may_leave_it_running(home: Path) -> None:
    server = Server(home, durable=False)
    server.acquire()
    server.release(stop=False)
    assert server.status().running
    with server:
        pass
    assert not server.status().running


def test_settings(home: Path) -> None:
    """What the caller sets wins over ALTER SYSTEM, and that over imgdb's defaults."""
    with Server(home, durable=False) as server:
        assert value(server, "SHOW jit") == "off"
        run(server, "ALTER SYSTEM SET work_mem = '3MB'")
        run(server, "ALTER SYSTEM SET jit = on")
    with Server(home, settings={"work_mem": "5MB"}, durable=False) as server:
        assert (value(server, "SHOW work_mem"), value(server, "SHOW jit")) == ("5MB", "on")


def test_no_network(home: Path) -> None:
    with Server(home, durable=False, settings={"listen_addresses": "*"}) as server:
        assert value(server, "SHOW listen_addresses") == ""


def test_text_sorts_the_same_everywhere(place: Path) -> None:
    with Server(place / "home", durable=False) as server:
        order = "SELECT string_agg(t, ' ' ORDER BY t) FROM unnest(ARRAY['b', 'a', 'B', 'ä']) AS t"
        assert value(server, order) == "B a b ä"


# -- odd paths -----------------------------------------------------------------------------------

ODD_NAMES = {
    "spaces": "my own  pictures",
    "quotes": """it's "quoted" `so` $HOME""",
    "not ascii": "Größe 画像",
    "comma": "a,b",
    "for urls": "50%25 a+b?c&d#e=f:g@h",
    "backslash": "back\\slash",
    "long": "/".join(["long" * 20] * 5),
    "not text": os.fsdecode(b"bytes-\xff\xfe"),
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_paths(place: Path, name: str) -> None:
    with Server(place / name, bindir=BINDIR, durable=False) as server:
        with psycopg.connect(server.conninfo()) as connection:
            assert connection.info.dbname == "imgdb"
        with psycopg.connect(server.url()) as connection:
            assert connection.info.dbname == "imgdb"
        url = sqlalchemy.make_url(server.url()).set(drivername="postgresql+psycopg")
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as session:
            assert session.scalar(sqlalchemy.text("SELECT current_database()")) == "imgdb"
        engine.dispose()
    sockets = place / name / "run"
    if sockets.is_symlink():
        (sockets.readlink()).rmdir()


@pytest.mark.parametrize(
    "name", ["a\nb", "/".join(["x" * 200] * 5)], ids=["line break", "too long"]
)
def test_paths_that_postgresql_cannot_use(place: Path, name: str) -> None:
    with pytest.raises(EmbeddedServerError, match="IMGDB_HOME"):
        Server(place / name).acquire()


def test_a_link_and_its_target_are_one_home(place: Path) -> None:
    (place / "link").symlink_to(place / "home")
    with Server(place / "home", durable=False) as server, Server(place / "link") as other:
        assert other.status().pid == server.status().pid


def test_socket_folder_in_tmp_that_was_swept_away(place: Path) -> None:
    home = place / ("x" * 100)
    with Server(home, durable=False) as server:
        first = (home / "run").readlink()
        assert value(server, "SELECT 1") == 1
    first.rmdir()
    with Server(home, durable=False) as server:
        second = (home / "run").readlink()
        assert second != first
        assert value(server, "SELECT 1") == 1
    second.rmdir()


# -- several processes ---------------------------------------------------------------------------


def test_four_processes_at_once_on_a_fresh_home(place: Path) -> None:
    home = place / "home"
    clients = [Client(home) for _ in range(4)]
    try:
        for client in clients:
            client.tell("server.acquire().status().pid")
        pids = {client.answer() for client in clients}
        assert len(pids) == 1
        systems = {
            client.query("SELECT system_identifier FROM pg_control_system()") for client in clients
        }
        assert len(systems) == 1
        server = Server(home)
        assert server.status().users == tuple(sorted(client.process.pid for client in clients))
        for client in clients:
            assert server.status().running
            assert client.end() == 0
        assert not server.status().running
        assert (home / "log").read_text().count("starting PostgreSQL") == 1
        assert not list(home.glob(".*"))
    finally:
        for client in clients:
            client.__exit__(None, None, None)


def test_the_child_of_a_fork_does_not_stop_the_server(home: Path) -> None:
    with Client(home) as client:
        client.ask("server.acquire()")
        child = "os.waitpid(os.fork() or sys.exit(server.release()), 0)[1]"
        assert client.ask(child) == "0"
        assert client.query("SELECT 7") == "7"
        assert client.end() == 0
    assert not Server(home).status().running


def test_a_fork_that_outlives_its_killed_parent_is_no_user(home: Path) -> None:
    with Client(home) as client:
        client.ask("server.acquire()")
        # The child says when it has begun: only then has it left its parent's place alone.
        child = "os.fork() or os.write(w, b'!') and os.read(os.pipe()[0], 1)"
        orphan = int(client.ask(f"(lambda r, w: ({child}, os.read(r, 1))[0])(*os.pipe())"))
        client.kill()
        try:
            assert Server(home).status().users == ()
        finally:
            os.kill(orphan, 9)
        with Server(home):
            pass
    assert not Server(home).status().running


def test_ctrl_c_in_a_terminal_does_not_reach_the_server(home: Path) -> None:
    with Client(home) as client:
        client.ask("server.acquire()")
        client.ask("signal.signal(signal.SIGINT, signal.SIG_IGN)")
        client.interrupt()
        assert client.query("SELECT 7") == "7"
        assert client.end() == 0


# -- kept running --------------------------------------------------------------------------------


def test_start_keeps_it_running_until_stop(home: Path) -> None:
    server = Server(home, durable=False)
    server.start()
    with Server(home):
        pass
    status = server.status()
    assert status.running and status.kept
    assert status.version and status.version.startswith("18.")
    assert status.data_bytes > 1_000_000
    assert status.url == server.url() == server.running_url()
    server.start()  # again changes nothing
    assert server.status().pid == status.pid
    assert server.stop()
    assert not server.status().running and not server.status().kept
    assert not server.stop()


def test_stop_while_others_use_it(home: Path) -> None:
    server = Server(home, durable=False)
    server.start()
    with Client(home) as client:
        client.ask("server.acquire()")
        with pytest.raises(EmbeddedServerError, match=rf"process {client.process.pid} .*--now"):
            server.stop()
        assert server.status().running and not server.status().kept
        assert client.query("SELECT 7") == "7"
        client.end()
    assert not server.status().running


def test_stop_now_closes_sessions(home: Path) -> None:
    with Client(home) as client:
        client.ask("server.acquire()")
        client.ask("globals().update(c=psycopg.connect(server.conninfo()))")
        assert Server(home).stop(now=True)
        assert "terminating connection" in client.ask("c.execute('SELECT 1')")
        assert client.end() == 0


def test_status_makes_nothing(place: Path) -> None:
    server = Server(place / "home")
    status = server.status()
    assert (status.running, status.pid, status.version, status.url) == (False, None, None, None)
    with pytest.raises(EmbeddedServerError, match="imgdb db start"):
        server.running_url()
    assert not server.stop()
    assert not (place / "home").exists()


def test_psql_and_the_commands(place: Path, home: Path, cli) -> None:
    environment = {"IMGDB_HOME": str(home)}
    assert cli("db", "url", env=environment).code == 1
    assert cli("db", "start", env=environment).code == 0
    url = cli("db", "url", env=environment).stdout.strip()
    psql = [str(BINDIR / "psql"), url, "-Atc", "SELECT imgdb.distance(1, 2)"]
    assert subprocess.run(psql, capture_output=True, text=True, check=True).stdout == "2\n"
    assert "running\ttrue\n" in cli("db", "status", env=environment).stdout
    assert cli("db", "status", "--format", "csv", env=environment).stdout.startswith("running,")
    assert cli("db", "stop", env=environment).code == 0
    again = cli("db", "stop", env=environment)
    assert (again.code, again.stderr) == (0, f"no server was running in {place / 'home'}\n")
    assert cli("db", "stop", "--later", env=environment).code == 2
