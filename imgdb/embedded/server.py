"""The embedded server as imgdb uses it: shared by all processes of one user, stopped by the last.

What lies in a home (0700; for root 0711, since the server runs as another account):

    data/        the database cluster, the account's
    run/         the socket, the account's (or a link to a folder in /tmp, see sockets.py)
    conf/        settings and who may connect, written at every start
    log          what the server says
    lock         locked while somebody starts or stops the server
    server.lock  locked by the server itself as long as one of its processes lives
    users/       one file per process that uses the server, locked by it
    keep         there from `imgdb db start` to `imgdb db stop`: the last one out leaves it running
    pgsql-*/     a copy of the programs, where the account cannot read the original

Locks are flock's: the kernel drops them when a process ends, whatever ended it.
"""

import atexit
import contextlib
import fcntl
import os
import stat
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import platformdirs
import psycopg
from psycopg.conninfo import make_conninfo

from imgdb.embedded.account import choose_account, make_reachable, user_name
from imgdb.embedded.cluster import Cluster
from imgdb.embedded.settings import DATABASE, PORT, SUPERUSER
from imgdb.embedded.trouble import explained
from imgdb.embedded.users import Users
from imgdb.errors import EmbeddedServerError

PATH_LIMIT = 900  # bytes; PostgreSQL keeps paths of its files in 1,024


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a home's server; `version` is the cluster's where it does not run."""

    running: bool
    home: Path
    account: str
    pid: int | None
    version: str | None
    kept: bool
    users: tuple[int, ...]
    data_bytes: int
    url: str | None


def default_home() -> Path:
    """Return where the embedded server lives: IMGDB_HOME, or the user's (root: system's) place."""
    if told := os.environ.get("IMGDB_HOME"):
        return Path(told).expanduser()
    if os.geteuid() == 0:  # below /root the server's account could not reach its data
        return Path("/var/lib/imgdb")
    return platformdirs.user_data_path("imgdb")


class Server:
    """One embedded PostgreSQL, shared by every process that acquires the same home.

    `settings` are PostgreSQL's, for the process that happens to start the server. `account` names
    who runs it where we are root. `durable=False` is for tests: a crash may lose everything.
    """

    def __init__(
        self,
        home: str | os.PathLike[str],
        *,
        bindir: str | os.PathLike[str] | None = None,
        settings: Mapping[str, str] | None = None,
        account: str | None = None,
        durable: bool = True,
    ) -> None:
        self.home = Path(os.path.realpath(home))
        with explained(self.home):
            self.account = choose_account(account, self.home / "data")
        self._cluster = Cluster(
            self.home, self.account, bindir=bindir, settings=settings or {}, durable=durable
        )
        self._mutex = threading.RLock()
        self._depth = 0
        self._users = Users(self.home / "users")
        _servers.add(self)

    # -- using ----------------------------------------------------------------------------------

    def acquire(self) -> Self:
        """Use the server: start it unless it runs. Each call needs one `release`."""
        with self._mutex:
            if self._depth == 0:
                with explained(self.home), self._starting() as lock:
                    self._users.sign_in()
                    try:
                        self._cluster.ensure_running(lock)
                    except BaseException:
                        self._users.sign_out()
                        raise
                atexit.register(self._leave)
            self._depth += 1
        return self

    def release(self, stop: bool = True) -> None:
        """Give the server up; the last user of all processes stops it (`stop=False`: leaves it)."""
        with self._mutex:
            if self._depth == 1:
                self._leave(stop)
            elif self._depth:
                self._depth -= 1

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def conninfo(self, dbname: str = DATABASE) -> str:
        """Return libpq's connection string; what the caller's PG* variables say has no effect."""
        return make_conninfo(
            "",
            host=str(self._cluster.sockets.path()),
            hostaddr="",
            port=PORT,
            user=SUPERUSER,
            dbname=dbname,
            options="",
            sslmode="disable",
            gssencmode="disable",
            channel_binding="prefer",
            target_session_attrs="any",
            connect_timeout=30,
        )

    def url(self, dbname: str = DATABASE) -> str:
        """Return a URL that psql and other drivers take while the server is up."""
        folder = quote(str(self._cluster.sockets.path()), safe="/")
        return f"postgresql://{SUPERUSER}@/{quote(dbname, safe='')}?host={folder}&port={PORT}"

    # -- keeping it running ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the server and keep it running, whoever comes and goes, until `stop`."""
        with self._mutex, explained(self.home), self._starting() as lock:
            self._cluster.ensure_running(lock)
            self._keep.touch(mode=0o600)

    def stop(self, *, now: bool = False) -> bool:
        """Stop the server and whatever kept it running; return whether it ran.

        Where other imgdb processes use it, it stops when the last of them ends, and that is an
        error here; `now` closes their sessions instead. Other programs' sessions are closed.
        """
        if not self._lock_file.exists():
            return False
        with self._mutex, explained(self.home), self._locked(fcntl.LOCK_EX):
            self._keep.unlink(missing_ok=True)
            if not self._cluster.alive():
                return False
            if (users := self._users.others()) and not now:
                raise EmbeddedServerError(
                    f"the server is in use by {_listed(users)} and stops when the last one ends; "
                    "to close their sessions at once: imgdb db stop --now"
                )
            self._cluster.stop()
            return True

    def running_url(self) -> str:
        """Return `url()` of a server that is up; one that is not is an error."""
        if url := self.status().url:
            return url
        raise EmbeddedServerError(
            "the embedded server is not running: start it with imgdb db start"
        )

    def status(self) -> Status:
        """Tell what is there; nothing is made or started."""
        running, users = False, tuple[int, ...]()
        with explained(self.home):
            if self._lock_file.exists():
                with self._locked(fcntl.LOCK_SH):
                    running = self._cluster.ready()
                    users = self._users.others()
            return Status(
                running=running,
                home=self.home,
                account=self.account.name,
                pid=self._cluster.postmaster() if running else None,
                version=self._version(running),
                kept=self._keep.exists(),
                users=users,
                data_bytes=_size(self._cluster.data),
                url=self.url() if running else None,
            )

    # -- the home and its locks -----------------------------------------------------------------

    @property
    def _lock_file(self) -> Path:
        return self.home / "lock"

    @property
    def _keep(self) -> Path:
        return self.home / "keep"

    @contextlib.contextmanager
    def _starting(self) -> Iterator[int]:
        """Hold the home, made where it is missing; on failure leave no server that nobody uses."""
        self._make_home()
        with self._locked(fcntl.LOCK_EX) as lock:
            try:
                yield lock
            except BaseException:
                with contextlib.suppress(EmbeddedServerError):
                    self._stop_if_unused()
                raise

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT if how == fcntl.LOCK_EX else os.O_RDONLY
        lock = os.open(self._lock_file, flags, 0o600)
        try:
            fcntl.flock(lock, how)
            yield lock
        finally:
            os.close(lock)

    def _make_home(self) -> None:
        if len(os.fsencode(self.home)) > PATH_LIMIT or "\n" in str(self.home):
            raise EmbeddedServerError(
                f"PostgreSQL cannot work in {self.home!s:.60}...: "
                f"set IMGDB_HOME to a path of at most {PATH_LIMIT} bytes without line breaks"
            )
        there = next(path for path in (self.home, *self.home.parents) if path.exists())
        if self.account.dropped and not self.account.can_enter(there):
            raise EmbeddedServerError(
                f"{there} cannot be entered by {self.account.name}, who runs the server for root: "
                "set IMGDB_HOME to a folder outside private ones, such as /var/lib/imgdb"
            )
        if there != self.home:
            make_reachable(self.home.parent)
            with contextlib.suppress(FileExistsError):
                self.home.mkdir(mode=0o700)
                self.home.chmod(0o711 if self.account.dropped else 0o700)
        found = self.home.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(20, os.strerror(20), str(self.home))
        if found.st_uid != os.geteuid():
            owner = user_name(found.st_uid)
            raise EmbeddedServerError(
                f"{self.home} belongs to {owner}: run imgdb as {owner}, "
                "or set IMGDB_HOME to a folder of your own"
            )
        if found.st_mode & 0o022:
            raise EmbeddedServerError(
                f"others can write to {self.home}: close it with chmod go-w {self.home}"
            )

    def _leave(self, stop: bool = True) -> None:
        """Stop using the server, and stop it if nobody is left and nothing keeps it."""
        with self._mutex:
            if self._depth == 0:
                return
            atexit.unregister(self._leave)
            self._depth = 0
            with explained(self.home), self._locked(fcntl.LOCK_EX):
                self._users.sign_out()
                if stop:
                    self._stop_if_unused()

    def _stop_if_unused(self) -> None:
        if not self._keep.exists() and not self._users.others() and self._cluster.alive():
            self._cluster.stop()

    def _forget(self) -> None:
        """Own nothing, in the child of a fork: the server stays its parent's."""
        self._mutex, self._depth = threading.RLock(), 0
        self._users.forget()

    def _version(self, running: bool) -> str | None:
        """Return the running server's version, else the cluster's major version."""
        if running:
            with psycopg.connect(self.conninfo("template1")) as connection:
                number = connection.info.server_version
            return f"{number // 10_000}.{number % 10_000}"
        try:
            return (self._cluster.data / "PG_VERSION").read_text().strip()
        except (FileNotFoundError, PermissionError):
            return None


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _forget_in_child() -> None:
    for server in list(_servers):
        server._forget()


os.register_at_fork(after_in_child=_forget_in_child)


def _listed(users: tuple[int, ...]) -> str:
    pids = ", ".join(str(pid) for pid in users)
    return f"imgdb process {pids}" if len(users) == 1 else f"imgdb processes {pids}"


def _size(directory: Path) -> int:
    """Return the bytes below a directory; files that vanish meanwhile do not count."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(folder, name).lstat().st_size
    return total
