"""Who runs the embedded server, who gets in, and what is never touched: as root and as a user."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import psycopg
import pytest
from embedded_clients import BINDIR, Client

from imgdb.database.embedded import Server, binaries, default_home
from imgdb.database.embedded.account import user_name
from imgdb.errors import EmbeddedServerError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
NAMELESS = 54321  # a uid that no machine gives to a person

# Gives root up, then tries every door; psycopg is imported before, since it may lie in a private
# folder.
STRANGER = """
import os, sys, psycopg
conninfo, home, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
for door in (
    lambda: psycopg.connect(conninfo),
    lambda: os.listdir(home + "/run"),
    lambda: os.listdir(home + "/data"),
    lambda: open(home + "/lock", "r+"),
    lambda: open(home + "/log"),
):
    try:
        door()
    except Exception as error:
        print("no:", " ".join(str(error).split()))
    else:
        print("open")
"""


def nobody() -> tuple[int, int]:
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def program_of(server: Server) -> Path:
    return Path(f"/proc/{server.status().pid}/exe").readlink()


def tries_of(uid: int, server: Server) -> list[str]:
    command = [sys.executable, "-c", STRANGER, server.conninfo(), str(server.home), str(uid)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


# -- root ----------------------------------------------------------------------------------------


@as_root
def test_root_hands_the_server_to_another_account(home: Path) -> None:
    with Server(home, durable=False) as server:
        status = server.status()
        assert status.pid and status.account != "root"
        assert user_name(Path(f"/proc/{status.pid}").stat().st_uid) == status.account
        assert "\nGroups:\t \n" in Path(f"/proc/{status.pid}/status").read_text()
        assert (mode(home), mode(home / "data"), mode(home / "run")) == (0o711, 0o700, 0o700)
        assert mode(home / "run" / ".s.PGSQL.5432") == 0o700
        assert {mode(home / name) for name in ("log", "lock", "server.lock")} == {0o600}


@as_root
def test_a_stranger_finds_every_door_shut(home: Path) -> None:
    with Server(home, durable=False) as server:
        tries = tries_of(NAMELESS, server)
    assert len(tries) == 5
    assert all("Permission denied" in line for line in tries), tries


@as_root
def test_a_stranger_who_reaches_the_socket_is_refused(home: Path) -> None:
    """The folder's owner passes the folder, and then is not who the server expects."""
    with Server(home, durable=False) as server:
        tries = tries_of(server.account.uid, server)
    assert "Peer authentication failed" in tries[0]


@as_root
def test_a_stranger_and_the_socket_of_a_long_path(place: Path) -> None:
    home = place / ("x" * 100)
    with Server(home, durable=False) as server:
        sockets = (home / "run").readlink()
        assert (mode(sockets), sockets.stat().st_uid) == (0o700, server.account.uid)
        assert "Permission denied" in tries_of(NAMELESS, server)[0]
    # Somebody may have taken the place meanwhile: it is not used again.
    sockets.chmod(0o777)
    with Server(home, durable=False):
        assert (home / "run").readlink() != sockets
    sockets.rmdir()
    (home / "run").readlink().rmdir()


@as_root
def test_data_below_a_private_folder(place: Path) -> None:
    private = place / "private"
    private.mkdir(mode=0o700)
    for home in (private, private / "a" / "home"):
        with pytest.raises(EmbeddedServerError, match=r"private.*/var/lib/imgdb"):
            Server(home).acquire()
    assert mode(private) == 0o700
    assert not any(file for file in private.iterdir() if file.name not in ("lock", "users"))


@as_root
def test_folders_that_were_there_keep_their_mode(place: Path) -> None:
    home = place / "volume"
    home.mkdir(mode=0o755)
    with Server(home, durable=False):
        pass
    assert mode(home) == 0o755
    assert mode(place) == 0o711


@as_root
def test_missing_parents_can_be_passed_whatever_the_umask(place: Path) -> None:
    with Client(place / "a" / "b" / "home") as client:
        client.ask("os.umask(0o077)")
        client.ask("server.acquire()")
        assert client.query("SELECT 7") == "7"


@as_root
def test_a_home_that_others_can_write_to(place: Path) -> None:
    home = place / "home"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(EmbeddedServerError, match="chmod go-w"):
        Server(home).acquire()


@as_root
def test_a_home_of_another_user(place: Path) -> None:
    home = place / "home"
    home.mkdir(mode=0o755)
    os.chown(home, *nobody())
    with pytest.raises(EmbeddedServerError, match="belongs to nobody: run imgdb as nobody"):
        Server(home).acquire()


@as_root
def test_the_account_is_chosen_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = place / "home"
    monkeypatch.setenv("IMGDB_PG_ACCOUNT", "nobody")
    with Server(home, durable=False) as server:
        assert server.account.name == "nobody"
    assert user_name((home / "data").stat().st_uid) == "nobody"
    monkeypatch.delenv("IMGDB_PG_ACCOUNT")
    with Server(home, durable=False) as server:
        assert server.account.name == "nobody"
    with pytest.raises(EmbeddedServerError, match="belongs to nobody, not to daemon"):
        Server(home, account="daemon")


@as_root
def test_accounts_that_cannot_be(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddedServerError, match="does not run as root"):
        Server(place / "home", account="root")
    monkeypatch.setenv("IMGDB_PG_ACCOUNT", "no-such-account")
    with pytest.raises(EmbeddedServerError, match=r"no-such-account.*IMGDB_PG_ACCOUNT"):
        Server(place / "home")


# -- root, with programs that the account cannot read --------------------------------------------


def hidden_wheel(place: Path) -> Path:
    """Copy the wheel to where only root can read it, as a virtual environment below /root is."""
    package = BINDIR.parents[1]
    hidden = place / "hidden"
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.exists():
            shutil.copytree(folder, hidden / folder.name, symlinks=True)
    hidden.chmod(0o700)
    return hidden / BINDIR.relative_to(package.parent)


@as_root
@pytest.mark.skipif(not BINDIR.parent.name.startswith("pginstall"), reason="no wheel")
def test_programs_that_the_account_cannot_read_are_copied(home: Path, place: Path) -> None:
    bindir = hidden_wheel(place)
    with Server(home, bindir=bindir, durable=False) as server:
        assert program_of(server).is_relative_to(home)
    (copy,) = home.glob("pgsql-*")
    made = copy.stat().st_ctime_ns
    with Server(home, bindir=bindir, durable=False):
        assert copy.stat().st_ctime_ns == made
    os.utime(bindir / "postgres", (1, 1))  # as an upgrade of the wheel does
    with Server(home, bindir=bindir, durable=False):
        assert list(home.glob("pgsql-*")) != [copy]
        assert len(list(home.glob("*pgsql-*"))) == 1
    assert mode(place / "hidden") == 0o700


@as_root
@pytest.mark.skipif(not BINDIR.parent.name.startswith("pginstall"), reason="no wheel")
@pytest.mark.parametrize("name", ['a "quoted" `home`', os.fsdecode(b"home \xff")])
def test_programs_are_copied_past_a_hard_path(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(binaries, "SYSTEM_CACHE", place / "cache")
    home = place / name
    with Server(home, bindir=hidden_wheel(place), durable=False) as server:
        assert program_of(server).is_relative_to(place / "cache")


@as_root
def test_other_programs_that_the_account_cannot_read(place: Path) -> None:
    bindir = place / "bin"
    bindir.mkdir(mode=0o700)
    for name in ("initdb", "postgres"):
        (bindir / name).symlink_to(BINDIR / name)
    with pytest.raises(EmbeddedServerError, match=r"cannot run .*IMGDB_PG_BINDIR"):
        Server(place / "home", bindir=bindir).acquire()


# -- an ordinary user ----------------------------------------------------------------------------


@pytest.fixture
def folder_of_nobody(place: Path) -> Path:
    folder = place / "nobody"
    folder.mkdir(mode=0o700)
    os.chown(folder, *nobody())
    return folder


@as_root
def test_an_ordinary_user(folder_of_nobody: Path) -> None:
    home = folder_of_nobody / "my data" / "home"
    with Client(home, user=nobody()) as client:
        client.ask("server.start()")
        assert client.query("SELECT current_database()") == "imgdb"
        pid = int(client.ask("server.status().pid"))
        assert Path(f"/proc/{pid}").stat().st_uid == nobody()[0]
        assert {path.stat().st_uid for path in home.rglob("*")} == {nobody()[0]}
        assert (mode(home), mode(home / "run"), mode(home / "data")) == (0o700, 0o700, 0o700)
        assert client.ask("server.stop()") == "True"
        client.ask("server.acquire()")
        assert client.query("SELECT 7") == "7"
        assert client.end() == 0
    assert not Server(home).status().running


@as_root
def test_folders_that_an_ordinary_user_cannot_use(place: Path, folder_of_nobody: Path) -> None:
    folder_of_nobody.chmod(0o500)
    with Client(folder_of_nobody / "home", user=nobody()) as client:
        said = client.ask("server.acquire()")
        assert "EmbeddedServerError: cannot use" in said
        assert "Permission denied; set IMGDB_HOME to a folder of your own" in said
    (place / "roots").mkdir(mode=0o755)
    with Client(place / "roots", user=nobody()) as client:
        assert "belongs to root: run imgdb as root, or set" in client.ask("server.acquire()")
        assert "'daemon'" not in client.ask("server.status()")
    with Client(folder_of_nobody / "home", user=nobody()) as client:
        other = "imgdb.database.embedded.Server('/tmp/x', account='daemon')"
        assert "only root can run the server as daemon" in client.ask(other)


@as_root
def test_a_user_without_a_name(place: Path) -> None:
    script = "import os, imgdb.database.embedded as e; os.setuid(54321); e.Server('/tmp/x')"
    command = [sys.executable, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert f"uid {NAMELESS} has no name on this machine" in said.splitlines()[-1]


# -- where it is, and what surrounds it ----------------------------------------------------------


def test_default_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGDB_HOME", "/srv/pictures of ours")
    assert default_home() == Path("/srv/pictures of ours")
    monkeypatch.setenv("IMGDB_HOME", "~/imgdb")
    assert default_home() == Path.home() / "imgdb"
    monkeypatch.setenv("IMGDB_HOME", "")
    ours = Path("/var/lib/imgdb") if os.geteuid() == 0 else platformdirs.user_data_path("imgdb")
    assert default_home() == ours
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/me/data")
    assert default_home() == Path("/home/me/data/imgdb")


def test_the_callers_environment_stays_out(place: Path) -> None:
    """Neither the programs nor a connection to the server see what is meant for others."""
    nonsense = {
        option.envvar.decode(): "nonsense"
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar and option.envvar != b"PGSERVICE"
    }
    for name in ("PGDATA", "LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE", "TZ", "PGTZ"):
        nonsense[name] = "nonsense"
    nonsense["TOP_SECRET"] = "key"
    del nonsense["PGTZ"]
    with Client(place / "home", environment=nonsense) as client:
        client.ask("server.acquire()")
        assert client.query("SELECT current_user") == "postgres"
        assert client.query("SHOW TimeZone") == "UTC"
        assert client.query("SHOW lc_messages") == "C"
        pid = client.ask("server.status().pid")
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"nonsense" not in environment and b"TOP_SECRET" not in environment
