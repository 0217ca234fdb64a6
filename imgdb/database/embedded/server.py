"""The embedded server as imgdb uses it: shared by all processes of a user, stopped by the last."""

import atexit
import contextlib
import os
import re
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from imgdb.database.embedded.account import choose_account
from imgdb.database.embedded.address import conninfo, url
from imgdb.database.embedded.cluster import LOG_LIMIT, Cluster
from imgdb.database.embedded.home import Home
from imgdb.database.embedded.settings import DATABASE
from imgdb.database.embedded.trouble import system_errors_explained
from imgdb.database.embedded.users import Users
from imgdb.errors import EmbeddedServerError


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
        with system_errors_explained(self.home):
            self.account = choose_account(account, self.home / "data")
        self._cluster = Cluster(
            self.home, self.account, bindir=bindir, settings=settings or {}, durable=durable
        )
        self._mutex = threading.RLock()
        self._depth = 0
        self._home = Home(self.home, self.account)
        self._users = Users(self.home / "users")
        _servers.add(self)

    # -- using ----------------------------------------------------------------------------------

    def acquire(self) -> Self:
        """Use the server: start it unless it runs. Each call needs one `release`."""
        with self._mutex:
            if self._depth:
                self._depth += 1
                return self
            with self._starting() as lock:
                self._users.sign_in()
                self._cluster.ensure_running(lock)
                atexit.register(self._leave)
                self._depth = 1
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
        return conninfo(self._cluster.sockets.path(), dbname)

    def url(self, dbname: str = DATABASE) -> str:
        """Return a URL for psql and other drivers, good while the server is up."""
        return url(self._cluster.sockets.path(), dbname)

    # -- keeping it running ---------------------------------------------------------------------

    def start(self) -> None:
        """Start the server and keep it running until `stop`, also without any user."""
        with self._mutex, self._starting() as lock:
            self._cluster.ensure_running(lock)
            self._home.keep.touch(mode=0o600)

    def stop(self, *, now: bool = False) -> bool:
        """Stop the server and what kept it running; return whether it ran.

        Where other imgdb processes use it, it stops when the last of them ends, and that is an
        error here; `now` closes their sessions instead. Other programs' sessions are closed.
        """
        with self._mutex, system_errors_explained(self.home):
            if not self._home.exists():
                return False
            with self._home.locked():
                return self._stop(now)

    def running_url(self) -> str:
        """Return `url()` of a server that is up; one that is not is an error."""
        if url := self.status().url:
            return url
        raise EmbeddedServerError(
            "the embedded server is not running: start it with imgdb db start"
        )

    def running_conninfo(self) -> str | None:
        """Return `conninfo()` if the server is up; nothing is made, started or waited for."""
        return self.conninfo() if self._cluster.ready() else None

    def status(self) -> Status:
        """Tell what is there; nothing is made or started."""
        with system_errors_explained(self.home), contextlib.ExitStack() as stack:
            if self._home.exists():  # nobody starts or stops it while we look
                stack.enter_context(self._home.locked(shared=True))
            running, pid = self._cluster.ready(), self._cluster.postmaster()
            return Status(
                running=running,
                home=self.home,
                account=self.account.name,
                pid=pid,
                version=self._version(pid),
                kept=self._home.keep.exists(),
                users=self._users.others(),
                data_bytes=_size(self._cluster.data),
                url=self.url() if running else None,
            )

    # -- coming and going -----------------------------------------------------------------------

    @contextlib.contextmanager
    def _starting(self) -> Iterator[int]:
        """Hold the home, made where it is missing; on failure leave no server that nobody uses."""
        with system_errors_explained(self.home):
            self._home.make()
            with self._home.locked() as lock:
                try:
                    yield lock
                except BaseException:
                    if not self._depth:
                        self._users.sign_out()
                        with contextlib.suppress(EmbeddedServerError):
                            self._stop_if_unused()
                    raise

    def _stop(self, now: bool) -> bool:
        self._home.keep.unlink(missing_ok=True)
        if not self._cluster.alive():
            return False
        if (users := self._users.others()) and not now:
            raise EmbeddedServerError(
                f"the server is in use by {_listed(users)} and stops when the last one ends; "
                "to close their sessions at once: imgdb db stop --now"
            )
        self._cluster.stop()
        return True

    def _leave(self, stop: bool = True) -> None:
        """Stop using the server, and stop it if nobody is left and nothing keeps it."""
        with self._mutex:
            if self._depth == 0:
                return
            atexit.unregister(self._leave)
            self._depth = 0
            if not self._home.exists():  # somebody removed it, and the server ends when it notices
                self._users.forget()
                return
            with system_errors_explained(self.home), self._home.locked():
                self._users.sign_out()
                if stop:
                    self._stop_if_unused()

    def _stop_if_unused(self) -> None:
        if not self._home.keep.exists() and not self._users.others() and self._cluster.alive():
            self._cluster.stop()

    def _forget(self) -> None:
        """Own nothing, in the child of a fork: the server stays its parent's."""
        self._mutex, self._depth = threading.RLock(), 0
        self._users.forget()

    def _version(self, pid: int | None) -> str | None:
        """Return what the running server says in its log, else the cluster's major version.

        To ask the server would take psycopg, which takes longer to load than all else of a status.
        """
        with contextlib.suppress(OSError):
            # A server begins in a log that is not longer than that, whatever it grows to.
            with self._cluster.log.open("rb") as file:
                log = file.read(2 * LOG_LIMIT).decode("utf-8", "replace")
            if started := re.findall(rf"\[{pid}\] LOG: +starting PostgreSQL (\S+)", log):
                return str(started[-1])
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
    """Return the bytes below a directory; files that vanish while it counts do not count."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += Path(folder, name).lstat().st_size
    return total
