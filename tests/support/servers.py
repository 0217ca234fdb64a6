"""Which servers a test runs on, and how they come up quickly: a data folder is made once."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from imgdb import schema
from imgdb.database.embedded import DATABASE, Server

# Further servers for a run: IMGDB_TEST_SERVERS="pg14=/path/to/bin pg17=/path/to/bin".
BINDIRS: dict[str, Path | None] = {
    "embedded": None,
    "debian15": Path("/usr/lib/postgresql/15/bin"),
    **{
        name: Path(path)
        for name, _, path in (
            server.partition("=") for server in os.environ.get("IMGDB_TEST_SERVERS", "").split()
        )
    },
}

TEMPLATE = "imgdb_template"  # with the schema at head; nobody connects to it

# The tests' servers hold little and forget it all: small, no waiting for the disk, and no waiting
# for a lock that nobody will give up.
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "240",
    "max_prepared_transactions": "2",
    "autovacuum": "off",
    "lock_timeout": "30s",
    "statement_timeout": "5min",
}

# In a module of tests that ask the server itself: for what only the client does with an answer.
embedded_only = pytest.mark.parametrize("server", ["embedded"], indirect=True)


def bindir_of(name: str) -> Path | None:
    """Return the folder of a server's programs, None for imgdb's own."""
    bindir = BINDIRS[name]
    if bindir is not None and not (bindir / "initdb").exists():
        pytest.skip(f"no PostgreSQL in {bindir}")
    return bindir


def _roomy() -> Path:
    """Choose where the servers' data go: into memory where it has room, a cluster is 50 MB."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        return Path("/tmp")
    found = os.statvfs(memory)
    roomy = found.f_bavail * found.f_frsize > 2_000_000_000 and not found.f_flag & os.ST_NOEXEC
    return memory if roomy else Path("/tmp")


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder with a short path that the server's account can enter: pytest's are closed."""
    made = Path(tempfile.mkdtemp(prefix="imgdb-test-", dir=_roomy()))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class Servers:
    """The servers of one process of the tests; each runs from its first use to the end.

    What the processes of one run share lies in `shared`: homes of stopped servers, one a version,
    whose databases have the schema at head.
    """

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._running: dict[str, Server] = {}
        self._stack = contextlib.ExitStack()

    def running(self, name: str) -> Server:
        """Return a server, started if it is not yet."""
        if name not in self._running:
            home = self._stack.enter_context(server_folder()) / "home"
            self.copy_home(name, home)
            server = Server(home, bindir=bindir_of(name), settings=SETTINGS, durable=False)
            self._running[name] = self._stack.enter_context(server)
        return self._running[name]

    def copy_home(self, name: str, home: Path) -> None:
        """Copy the home of a stopped server; the first to ask makes it."""
        made = self._shared / name
        with (self._shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                self._make_home(name, made)
        subprocess.run(["cp", "-a", made, home], check=True)

    def _make_home(self, name: str, made: Path) -> None:
        with server_folder() as folder:
            with Server(folder / "home", bindir=bindir_of(name), durable=False) as server:
                schema.upgrade(server.conninfo())
                with contextlib.closing(Databases(server)) as databases:
                    databases.create(TEMPLATE, DATABASE)
            (folder / "home" / "log").unlink()
            subprocess.run(["cp", "-a", folder / "home", made], check=True)

    def close(self) -> None:
        self._stack.close()


class Databases:
    """Databases of one server: made from its template, and dropped."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._admin = psycopg.connect(server.conninfo("postgres"), autocommit=True)
        # Copying the files takes half the time of writing them to the log; older ones only copy.
        can_choose = self._admin.info.server_version >= 150000
        self._strategy = sql.SQL(" STRATEGY file_copy" if can_choose else "")

    def create(self, name: str, template: str = TEMPLATE) -> str:
        """Make a database, by default with the schema at head; return its conninfo."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}{}")
        names = sql.Identifier(name), sql.Identifier(template)
        self._admin.execute(statement.format(*names, self._strategy))
        return self._server.conninfo(name)

    def drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        self._admin.close()


def dump_programs(server: Server) -> Path:
    """Return the folder of the server's own pg_dump: an older one refuses a newer server."""
    with psycopg.connect(server.conninfo("postgres")) as conn:
        query = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
        [(folder,)] = conn.execute(query).fetchall()
    if not Path(folder, "pg_dump").exists():
        pytest.skip(f"there is no pg_dump in {folder}")
    return Path(folder)
