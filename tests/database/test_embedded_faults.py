"""What the embedded server survives, and what it says where it cannot: kills, disks, strangers."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from embedded_clients import BINDIR, Client, Gate

from imgdb.database.embedded import Server, processes
from imgdb.errors import EmbeddedServerError

pytestmark = pytest.mark.slow

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def is_whole(home: Path) -> bool:
    """Tell whether a server comes up with the database, goes again, and leaves nothing about."""
    with Server(home, durable=False) as server, psycopg.connect(server.conninfo()) as connection:
        connection.execute("SELECT 1")
    assert not list(home.glob(".*")), "something unfinished was left"
    return not server.status().running


def postmaster(home: Path) -> int:
    pid = Server(home).status().pid
    assert pid
    return pid


def kill_postmaster(home: Path) -> int:
    """End the server as `kill -9` does; return its pid when it is dead."""
    pid = postmaster(home)
    os.kill(pid, signal.SIGKILL)
    while any(processes.command_line(pid)):
        pass
    return pid


# -- killed --------------------------------------------------------------------------------------


def test_a_killed_client_is_not_counted(home: Path) -> None:
    with Client(home) as killed, Client(home) as other:
        killed.ask("server.acquire()")
        other.ask("server.acquire()")
        killed.kill()
        assert Server(home).status().users == (other.process.pid,)
        assert other.end() == 0
    assert not Server(home).status().running
    assert not list((home / "users").iterdir())


def test_the_last_client_is_killed(home: Path) -> None:
    with Client(home) as client:
        client.ask("server.acquire()")
        client.kill()
    assert Server(home).status().running
    assert is_whole(home)


def test_the_server_is_killed(home: Path) -> None:
    with Server(home) as server:  # durable: that is the point
        with psycopg.connect(server.conninfo(), autocommit=True) as connection:
            connection.execute("CREATE TABLE t AS SELECT 42 AS n")
        killed = kill_postmaster(home)
        with Client(home) as client:
            client.ask("server.acquire()")
            assert client.query("SELECT n FROM t") == "42"
            assert postmaster(home) != killed
        with psycopg.connect(server.conninfo()) as connection:
            assert connection.execute("SELECT n FROM t").fetchone() == (42,)
    assert not server.status().running


def test_the_server_is_killed_under_a_busy_session(home: Path) -> None:
    """A backend that computes does not notice that its server died, and holds the old memory."""
    with (
        Server(home, durable=False) as server,
        Client(home) as client,
        psycopg.connect(server.conninfo(), autocommit=True) as busy,
        psycopg.connect(server.conninfo(), autocommit=True) as watcher,
    ):
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1e18)")
        active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
        while watcher.execute(active, [busy.info.backend_pid]).fetchone() == (False,):
            pass
        kill_postmaster(home)
        client.ask("server.acquire()")
        assert client.query("SELECT 7") == "7"
        busy.pgconn.finish()


@pytest.mark.parametrize("halted_after", [False, True], ids=["before initdb", "before CREATE"])
def test_killed_while_the_cluster_is_made(place: Path, halted_after: bool) -> None:
    with (
        Gate(place / "bin", "initdb", when="*", halted_after=halted_after) as gate,
        Client(place / "home", bindir=gate.bindir) as client,
        Client(place / "home") as second,
    ):
        client.tell("server.acquire()")
        gate.reached()
        client.kill()
        second.tell("server.acquire().status().running")  # waits for the other's initdb
        gate.open()
        assert second.answer() == "True"
        assert second.end() == 0
    assert is_whole(place / "home")


def test_initdb_is_killed_with_its_caller(place: Path) -> None:
    with (
        Gate(place / "bin", "initdb", when="*", halted_after=True) as gate,
        Client(place / "home", bindir=gate.bindir) as client,
    ):
        client.tell("server.acquire()")
        initdb = gate.reached()
        client.kill()
        os.kill(initdb, signal.SIGKILL)
    assert is_whole(place / "home")


def test_initdb_fails(place: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="cannot make a database"):
        Server(place / "home", bindir=fake_programs(place / "bin", "initdb", "exit 1")).acquire()
    assert is_whole(place / "home")


def fake_programs(folder: Path, program: str, script: str) -> Path:
    folder.mkdir(mode=0o755)
    for name in ("initdb", "postgres"):
        (folder / name).symlink_to(BINDIR / name)
    (folder / program).unlink()
    (folder / program).write_text(f"#!/bin/sh\n{script}\n")
    (folder / program).chmod(0o755)
    return folder


# -- interrupted ---------------------------------------------------------------------------------

MOMENTS = {
    "initdb": ("initdb", "*", True),
    "making the database": ("postgres", "*--single*", False),
    "starting": ("postgres", "*listen_addresses*", False),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_ctrl_c_during_a_start(place: Path, moment: tuple[str, str, bool]) -> None:
    program, when, halted_after = moment
    with (
        Gate(place / "bin", program, when=when, halted_after=halted_after) as gate,
        Client(place / "home", bindir=gate.bindir) as client,
    ):
        client.tell("server.acquire()")
        gate.reached()
        client.interrupt()
        if moment == MOMENTS["starting"]:
            gate.open()  # the server is on its way, and is stopped as soon as it can be
        assert client.answer() == "interrupted"
        gate.open()  # Python may be interrupted before it knows the program that it started
        assert not Server(place / "home").status().running
        client.end()
    assert is_whole(place / "home")


def test_killed_while_the_server_starts(place: Path, home: Path) -> None:
    with (
        Gate(place / "bin", "postgres", when="*listen_addresses*", halted_after=False) as gate,
        Client(home, bindir=gate.bindir) as client,
        Client(home) as second,
    ):
        client.tell("server.acquire()")
        gate.reached()
        client.kill()
        second.tell("server.acquire().status().running")
        gate.open()
        assert second.answer() == "True"
        assert second.end() == 0
    assert (home / "log").read_text().count("starting PostgreSQL") == 1
    assert is_whole(home)


# -- pid files that lie --------------------------------------------------------------------------


def test_the_pid_of_a_killed_server_is_reused(home: Path) -> None:
    pid_file = home / "data" / "postmaster.pid"
    with Server(home, durable=False):
        kill_postmaster(home)
        lines = pid_file.read_text().splitlines()
        with subprocess.Popen(["sleep", "1000"]) as stranger:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert Server(home).status().pid is None
            with Server(home, durable=False):
                assert postmaster(home) != stranger.pid
            assert stranger.poll() is None
            stranger.kill()


@pytest.mark.parametrize("text", ["", "\n", "-1\n", "what\n", "4194305\n/x\n", "1"])
def test_a_broken_pid_file(home: Path, text: str) -> None:
    assert is_whole(home)
    pid_file = home / "data" / "postmaster.pid"
    pid_file.write_text(text)
    try:
        assert is_whole(home)
    except EmbeddedServerError as error:
        assert "lock file" in str(error)  # PostgreSQL's own words for what it cannot read
        pid_file.unlink()
        assert is_whole(home)


def test_a_server_that_somebody_else_started_on_our_data(home: Path) -> None:
    assert is_whole(home)
    data = home / "data"
    server = Server(home, durable=False)
    options = f"-c listen_addresses= -c unix_socket_directories={home}/run"
    pg_ctl = [BINDIR / "pg_ctl", "-D", data, "-w", "-l", "/dev/null"]
    started = server.account.run([*pg_ctl, "-o", options, "start"], stdout=subprocess.PIPE)
    assert started.returncode == 0, started.stdout
    try:
        with pytest.raises(EmbeddedServerError, match=r"did not start.*stop that one"):
            server.acquire()
        assert not server.stop(now=True)
    finally:
        server.account.run([*pg_ctl, "-m", "fast", "stop"], stdout=subprocess.DEVNULL)
    assert is_whole(home)


# -- disks and folders that refuse ---------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no right to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def one_line(raised: pytest.ExceptionInfo[EmbeddedServerError]) -> str:
    assert "\n" not in str(raised.value)
    return str(raised.value)


@as_root
def test_a_full_disk_while_the_cluster_is_made(place: Path) -> None:
    with small_disk(place / "disk", "16m"):
        with pytest.raises(EmbeddedServerError, match=r"No space left.*IMGDB_HOME") as raised:
            Server(place / "disk" / "home", durable=False).acquire()
        assert "free some space" in one_line(raised)
        assert not list((place / "disk" / "home").glob(".*"))
        subprocess.run(["mount", "-o", "remount,size=200m", str(place / "disk")], check=True)
        assert is_whole(place / "disk" / "home")


@as_root
def test_a_full_disk_at_a_later_start(place: Path) -> None:
    with small_disk(place / "disk", "200m"):
        home = place / "disk" / "home"
        assert is_whole(home)
        filler = home / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(EmbeddedServerError, match=r"No space left.*IMGDB_HOME") as raised:
            Server(home, durable=False).acquire()
        assert one_line(raised)
        filler.unlink()
        assert is_whole(home)


@as_root
def test_a_read_only_disk(place: Path) -> None:
    with small_disk(place / "disk", "200m"):
        home = place / "disk" / "home"
        remount = ["mount", str(place / "disk"), "-o"]
        subprocess.run([*remount, "remount,ro"], check=True)
        with pytest.raises(EmbeddedServerError, match=r"Read-only.*IMGDB_HOME") as raised:
            Server(home).acquire()
        assert one_line(raised)
        subprocess.run([*remount, "remount,rw"], check=True)
        assert is_whole(home)
        subprocess.run([*remount, "remount,ro"], check=True)
        with pytest.raises(EmbeddedServerError, match=r"Read-only.*IMGDB_HOME") as raised:
            Server(home).acquire()
        assert one_line(raised)
        assert not Server(home).status().running


def test_a_file_in_the_way(place: Path) -> None:
    (place / "home").write_text("mine")
    with pytest.raises(EmbeddedServerError, match="set IMGDB_HOME to a folder"):
        Server(place / "home").acquire()
    with pytest.raises(EmbeddedServerError, match="set IMGDB_HOME to a folder"):
        Server(place / "home" / "below").acquire()


def test_a_data_folder_that_is_none(place: Path) -> None:
    (place / "home" / "data").mkdir(parents=True)
    (place / "home" / "data" / "holiday.jpg").touch()
    with pytest.raises(EmbeddedServerError, match=r"cannot use .*data"):
        Server(place / "home", durable=False).acquire()
    assert (place / "home" / "data" / "holiday.jpg").exists()


@pytest.mark.skipif(not DEBIAN_15.exists(), reason=f"no {DEBIAN_15}")
def test_data_of_another_major_version(place: Path) -> None:
    with Server(place / "home", bindir=DEBIAN_15, durable=False):
        pass
    with pytest.raises(EmbeddedServerError, match=r"by PostgreSQL 15, .* 18.*IMGDB_PG_BINDIR") as e:
        Server(place / "home").acquire()
    assert one_line(e)
    with Server(place / "home", bindir=DEBIAN_15, durable=False):
        pass


def test_a_setting_that_postgresql_refuses(home: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"did not start: .*work_memory") as raised:
        Server(home, settings={"work_memory": "4MB"}, durable=False).acquire()
    assert str(home / "log") in one_line(raised)
    assert is_whole(home)


def test_a_long_log_is_set_aside(home: Path) -> None:
    assert is_whole(home)
    log = home / "log"
    log.write_text("x" * 5_000_000)
    assert is_whole(home)
    assert log.stat().st_size < 100_000
    assert log.with_name("log.old").stat().st_size == 5_000_000
