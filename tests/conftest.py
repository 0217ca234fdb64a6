"""Fixtures: real servers, a template database with the schema, and databases made from it."""

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest
from browser import Browser
from forked import EARLY, run_command
from servers import BINDIRS, TEMPLATE, Databases, Servers, server_folder
from skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - hooks
from spaces import Space

from imgdb.database.embedded import Server

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


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let processes of the tests that are done take tests from those that are not."""
    if getattr(config.option, "numprocesses", None) and config.option.dist == "no":
        config.option.dist = "worksteal"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and give it more time."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


SQL_ROOM = Path(__file__).with_name("sql")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Mark the tests of sql/, which run on every server; other modules say if theirs do."""
    if isinstance(collector, pytest.Module) and collector.path.parent == SQL_ROOM:
        collector.add_marker("sql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks the planner, the parser or locks on every server, all else on imgdb's own."""
    said = any(mark.args[0] == "server" for mark in metafunc.definition.iter_markers("parametrize"))
    if "server" in metafunc.fixturenames and not said:
        names = BINDIRS if metafunc.definition.get_closest_marker("sql") else ["embedded"]
        metafunc.parametrize("server", names, indirect=True, scope="session")


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a folder for homes of servers."""
    with server_folder() as made:
        yield made


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "homes"
    shared.mkdir(exist_ok=True)
    with contextlib.closing(Servers(shared)) as servers:
        yield servers


@pytest.fixture
def home(place: Path, _servers: Servers) -> Path:
    """Give a stopped server of its own to a test that is not about how one is made."""
    _servers.copy_home("embedded", place / "home")
    return place / "home"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, _servers: Servers) -> Server:
    """Return a server that runs for the whole session: imgdb's own, in tests of SQL each one."""
    return _servers.running(request.param)


@pytest.fixture(scope="session")
def _databases(server: Server) -> Iterator[Databases]:
    with contextlib.closing(Databases(server)) as databases:
        yield databases


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Name a database with the schema at head, for `CREATE DATABASE ... TEMPLATE`."""
    return TEMPLATE


@pytest.fixture(scope="session")
def shared_database(_databases: Databases) -> str:
    """Give one clone to all tests that roll back."""
    return _databases.create(f"imgdb_shared_{next(_serial)}")


@pytest.fixture
def conn(shared_database: str) -> Iterator[psycopg.Connection]:
    """Connect to a database at head, in a transaction that is rolled back."""
    with psycopg.connect(shared_database) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def database(_databases: Databases) -> Iterator[str]:
    """Make a database at head for one test and yield its conninfo."""
    name = f"imgdb_test_{next(_serial)}"
    yield _databases.create(name)
    _databases.drop(name)


@pytest.fixture
def space(database: str) -> Iterator[Space]:
    """Track the column of an empty table into a space of its own, in a database of its own."""
    made = Space(database)
    yield made
    made.conn.close()


@pytest.fixture
def empty_database(_databases: Databases) -> Iterator[str]:
    """Make a database without schema imgdb for one test and yield its conninfo."""
    name = f"imgdb_empty_{next(_serial)}"
    yield _databases.create(name, "template0")
    _databases.drop(name)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of the command line left behind."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Result]:
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
        code, stdout, stderr = run_command(
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
    own = _browser.asked_for
    assert [address for address in _browser.requests() if not address.startswith(own)] == []
