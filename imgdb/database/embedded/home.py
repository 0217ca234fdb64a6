"""The folder in which a server lives, and the lock that its users take in turn.

What lies in a home (mode 0700; for root 0711, since the server runs as another account):

    data/        the database cluster, the account's
    run/         the socket, the account's (or a link to a folder in /tmp, see sockets.py)
    conf/        settings and who may connect, written at every start
    log          what the server says
    lock         locked while somebody starts or stops the server
    server.lock  locked by the server itself as long as one of its processes lives
    users/       one file per process that uses the server, locked by it
    keep         there from `imgdb db start` to `imgdb db stop`: the last one out leaves it running
    pgsql-*/     a copy of the programs, where the account cannot read the original

Locks are flock's: the kernel drops them when a process ends in any way.
"""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from imgdb.database.embedded.account import Account, make_reachable, user_name
from imgdb.errors import EmbeddedServerError

PATH_LIMIT = 900  # bytes; PostgreSQL keeps the paths of its files in 1,024


def default_home() -> Path:
    """Return where the embedded server lives: IMGDB_HOME, or the user's (root: system's) place."""
    if told := os.environ.get("IMGDB_HOME"):
        return Path(told).expanduser()
    if os.geteuid() == 0:  # below /root the server's account could not reach its data
        return Path("/var/lib/imgdb")
    return platformdirs.user_data_path("imgdb")


class Home:
    """A home's files, as far as all its users share them."""

    def __init__(self, path: Path, account: Account) -> None:
        self.path, self._account = path, account
        self.keep = path / "keep"
        self._lock = path / "lock"

    def exists(self) -> bool:
        """Tell whether a server was ever asked for here."""
        return self._lock.exists()

    def make(self) -> None:
        """Make the folder, or check that the one that is there is ours."""
        self._refuse_hard_path()
        if not self.path.exists():
            there = next(path for path in self.path.parents if path.exists())
            self._account.require_entry(there)
            make_reachable(self.path.parent)
            with contextlib.suppress(FileExistsError):
                self.path.mkdir(mode=0o700)
                self.path.chmod(0o711 if self._account.dropped else 0o700)
        self._check(self.path.stat())

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[int]:
        """Hold the home's lock and yield its file: alone to change something, shared to look."""
        flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
        lock = os.open(self._lock, flags, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield lock
        finally:
            os.close(lock)

    def _refuse_hard_path(self) -> None:
        text = str(self.path)
        if len(os.fsencode(text)) > PATH_LIMIT or "\n" in text or "\r" in text:
            raise EmbeddedServerError(
                f"PostgreSQL cannot work in {text[:60]!r}...: set IMGDB_HOME to a path of at most "
                f"{PATH_LIMIT} bytes without line breaks"
            )

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self.path))
        if found.st_uid != os.geteuid():
            owner = user_name(found.st_uid)
            raise EmbeddedServerError(
                f"{self.path} belongs to {owner}: run imgdb as {owner}, "
                "or set IMGDB_HOME to a folder of your own"
            )
        if found.st_mode & 0o022:
            raise EmbeddedServerError(
                f"others can write to {self.path}: close it with chmod go-w {self.path}"
            )
