"""Fixtures: real servers, a template database with the schema, and databases made from it."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest
from browser import Browser
from forked import EARLY, Forks, Run, run_script
from psycopg import sql
from servers import BINDIRS
from spaces import Space

from imgdb import schema
from imgdb.database.embedded import Server

TEMPLATE = "imgdb_template"

# The tests' servers hold little and forget it all: small, and no waiting for the disk.
SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "240",
    "max_prepared_transactions": "2",
    "autovacuum": "off",
}

# A database is slow to some eyes and emptied by the tests themselves before each example.
_hypothesis = {
    "deadline": None,
    "suppress_health_check": [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
}
hypothesis.settings.register_profile("usual", max_examples=25, **_hypothesis)
hypothesis.settings.register_profile("thorough", max_examples=1000, **_hypothesis)
hypothesis.settings.load_profile(os.environ.get("IMGDB_TEST_PROFILE", "usual"))

_serial = itertools.count(1)


# Signals that nohup or a shell's background has ignored, tests send all the same: a handler, unlike
# a signal that is ignored, is not inherited by the programs that are started.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda number, frame: None)

# Neither the developer's databases nor settings for them reach the tests.
for _name in [name for name in os.environ if name.startswith(("PG", "IMGDB_"))]:
    if not _name.startswith("IMGDB_TEST_"):
        del os.environ[_name]


def _roomy() -> Path:
    """Choose where the servers' data go: into memory where it has room, a cluster is 40 MB."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        return Path("/tmp")
    found = os.statvfs(memory)
    roomy = found.f_bavail * found.f_frsize > 2_000_000_000 and not found.f_flag & os.ST_NOEXEC
    return memory if roomy else Path("/tmp")


@contextlib.contextmanager
def _server_folder() -> Iterator[Path]:
    """Make a folder with a short path that the server's account can enter: pytest's are closed."""
    made = Path(tempfile.mkdtemp(prefix="imgdb-test-", dir=_roomy()))
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a folder for homes of servers."""
    with _server_folder() as made:
        yield made


@pytest.fixture(scope="session")
def _made_home() -> Iterator[Path]:
    with _server_folder() as folder:
        with Server(folder / "home", durable=False):
            pass
        (folder / "home" / "log").unlink()
        yield folder / "home"


@pytest.fixture
def home(place: Path, _made_home: Path) -> Path:
    """Give a stopped server of its own to a test that is not about how one is made."""
    subprocess.run(["cp", "-a", _made_home, place / "home"], check=True)
    return place / "home"


@pytest.fixture(scope="session", params=BINDIRS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Run a server for the whole session: imgdb's own, and where installed Debian's 15."""
    bindir = BINDIRS[request.param]
    if bindir is not None and not (bindir / "initdb").exists():
        pytest.skip(f"no PostgreSQL in {bindir}")
    with (
        _server_folder() as folder,
        Server(folder / "home", bindir=bindir, settings=SETTINGS, durable=False) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Name a database with the schema at head, for `CREATE DATABASE ... TEMPLATE`."""
    _create(server, TEMPLATE)
    schema.upgrade(server.conninfo(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def shared_database(server: Server, template: str) -> str:
    """Give one clone to all tests that roll back."""
    return _create(server, f"imgdb_shared_{os.getpid()}", template)


@pytest.fixture
def conn(shared_database: str) -> Iterator[psycopg.Connection]:
    """Connect to a database at head, in a transaction that is rolled back."""
    with psycopg.connect(shared_database) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def database(server: Server, template: str) -> Iterator[str]:
    """Make a database at head for one test and yield its conninfo."""
    name = f"imgdb_test_{os.getpid()}_{next(_serial)}"
    yield _create(server, name, template)
    _drop(server, name)


@pytest.fixture
def space(database: str) -> Iterator[Space]:
    """Track the column of an empty table into a space of its own, in a database of its own."""
    made = Space(database)
    yield made
    made.conn.close()


@pytest.fixture
def empty_database(server: Server) -> Iterator[str]:
    """Make a database without schema imgdb for one test and yield its conninfo."""
    name = f"imgdb_empty_{os.getpid()}_{next(_serial)}"
    yield _create(server, name)
    _drop(server, name)


def _create(server: Server, name: str, template: str = "template0") -> str:
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return server.conninfo(name)


def _drop(server: Server, name: str) -> None:
    with psycopg.connect(server.conninfo("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of the command line left behind."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def _run_command() -> Iterator[Run]:
    """Give what runs commands: forks, but where libraries do not bear to be forked."""
    if sys.platform != "linux":
        yield run_script
        return
    with Forks() as forks:
        yield forks.run


@pytest.fixture
def cli(_run_command: Run, tmp_path: Path) -> Callable[..., Result]:
    """Run a command line: `cli("stats", dsn=database, env={...}, stdin="...")`.

    Without `dsn` it would use an embedded server below the test's own folder.
    """

    def run(
        *args: str | os.PathLike[str],
        dsn: str | None = None,
        env: dict[str, str] | None = None,
        stdin: str | bytes | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> Result:
        given = {"IMGDB_HOME": str(tmp_path / "imgdb-home"), **({"IMGDB_DSN": dsn} if dsn else {})}
        assert not any(name.startswith(EARLY) for name in env or {})
        code, stdout, stderr = _run_command(
            args,
            env={**os.environ, **given, **(env or {})},
            input=stdin.encode() if isinstance(stdin, str) else stdin or b"",
            cwd=cwd,
            timeout=timeout,
        )
        return Result(code, stdout.decode(), stderr.decode())

    return run


@pytest.fixture(scope="session")
def _browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    running = Browser(tmp_path_factory.mktemp("chromium"))
    yield running
    running.close()


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    """Lend the browser of the session; its page must have kept quiet and to itself."""
    _browser.forget()
    yield _browser
    assert _browser.complaints() == []
    assert [address for address in _browser.requests() if not address.startswith("file:")] == []
