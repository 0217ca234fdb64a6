"""One database cluster and its server process: made, started, watched and stopped.

Every method here that changes something is called under the home's lock (see server.py).

The server inherits an open file that it keeps locked (`server.lock`). The kernel drops that lock
when the last process of the server is gone, however it died, so it tells the truth where a pid
file cannot: after a power cut, with a reused pid, with backends that outlive a killed postmaster.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from imgdb.database.embedded import processes
from imgdb.database.embedded.account import Account, user_name
from imgdb.database.embedded.binaries import find_bindir, runnable_programs
from imgdb.database.embedded.settings import (
    DATABASE,
    NOT_DURABLE,
    PORT,
    SUPERUSER,
    configuration,
    quoted,
)
from imgdb.database.embedded.sockets import SocketFolder
from imgdb.database.embedded.trouble import last_complaint, with_advice
from imgdb.errors import EmbeddedServerError

LOG_LIMIT = 4_000_000  # bytes; a longer log is set aside at the next start
POLL = 0.005  # seconds between two looks at a server that is starting or stopping
UNSEEN_LIMIT = 30.0  # seconds until a server that lives must show itself, or its remains be gone
UNSEEN_POLL = 0.05
# Each way to end the server, and the seconds it gets: fast shutdown writes a checkpoint first.
SHUTDOWNS = ((signal.SIGINT, 300.0), (signal.SIGQUIT, 30.0))


class Cluster:
    """The data directory of one home and the server that runs on it."""

    def __init__(
        self,
        home: Path,
        account: Account,
        *,
        bindir: str | os.PathLike[str] | None,
        settings: Mapping[str, str],
        durable: bool,
    ) -> None:
        self.home, self.account = home, account
        self.data, self.log = home / "data", home / "log"
        self.sockets = SocketFolder(home, account)
        self.name = processes.cluster_name(home)
        self._told_bindir, self._durable = bindir, durable
        self._settings = {**({} if durable else NOT_DURABLE), **settings}

    # -- watching -------------------------------------------------------------------------------

    def alive(self) -> bool:
        """Tell whether any process of the server lives, even one that outlived its postmaster."""
        try:
            with (self.home / "server.lock").open("rb") as file:
                # Shared: two processes that ask at once must not take each other for a server.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False

    def postmaster(self) -> int | None:
        """Return the pid of the postmaster that imgdb started here, None where there is none."""
        pid = self._written_pid() if self.alive() else None
        return pid if pid and processes.is_postmaster(pid, self.name) else None

    def ready(self) -> bool:
        """Tell whether the server takes connections."""
        if self.postmaster() is None:
            return False
        lines = self._pid_file()
        return len(lines) > 7 and lines[7].strip() == "ready"

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _written_pid(self) -> int | None:
        lines = self._pid_file()
        return int(lines[0]) if lines and re.fullmatch(r"[1-9]\d{0,9}", lines[0]) else None

    # -- starting -------------------------------------------------------------------------------

    def ensure_running(self, lock: int) -> None:
        """Return when the server takes connections: made, started or recovered where need be.

        There is no time limit while the server lives: recovery after a crash takes what it takes.
        """
        launched_at: int | None = None
        unseen_until = time.monotonic() + UNSEEN_LIMIT
        while not self.ready():
            if not self.alive():
                if launched_at is not None:
                    raise self._did_not_start(launched_at)
                launched_at = self._launch(lock)
            elif launched_at is None and self.postmaster() is None:
                self._look_for_it(unseen_until)
            time.sleep(POLL)

    def _look_for_it(self, until: float) -> None:
        """Wait a little where processes live, but no postmaster of ours; raise from `until` on.

        It was launched just now by somebody who was killed, or it was itself killed: backends
        finish their statement before they notice.
        """
        processes.end_orphans(self.name)
        if time.monotonic() > until:
            raise EmbeddedServerError(
                f"a server that cannot be seen from here holds {self.home} (in another container, "
                "or the folder was moved?): stop it there, or set IMGDB_HOME to another folder"
            )
        time.sleep(UNSEEN_POLL)

    def _launch(self, lock: int) -> int:
        """Start the server in the background; return where its part of the log begins."""
        self.account.require_entry(self.home)
        found = find_bindir(self._told_bindir)
        bindir, major = runnable_programs(found, self.account, self.home)
        if (self.data / "PG_VERSION").exists():
            self._check_version(bindir, major)
        else:
            self._create(bindir, major, lock)
        socket_folder = self.sockets.prepare()
        self._configure()
        self._disbelieve_reused_pid()
        fixed = {
            "config_file": str(self.home / "conf" / "postgresql.conf"),
            "hba_file": str(self.home / "conf" / "pg_hba.conf"),
            "ident_file": str(self.home / "conf" / "pg_ident.conf"),
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": '"' + str(socket_folder).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "cluster_name": self.name,  # by which it is known again
        }
        options = [f"--{name}={value}" for name, value in {**self._settings, **fixed}.items()]
        server = [str(bindir / "postgres"), "-D", str(self.data), *options]
        self._set_long_log_aside()
        with _opened(self.log) as log, _opened(self.home / "server.lock") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            begin = os.fstat(log).st_size
            # The shell leaves at once, so that the server is nobody's child: no zombie of ours.
            self.account.run(
                ["/bin/sh", "-c", '"$@" &', "sh", *server],
                cwd=self.home,
                environment={"PG_GRANDPARENT_PID": str(os.getpid())},
                stdout=log,
                stderr=log,
                pass_fds=(held,),
            )
        return begin

    def _check_version(self, bindir: Path, major: int) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(major):
            raise EmbeddedServerError(
                f"{self.data} was made by PostgreSQL {made_by}, and {bindir} is PostgreSQL "
                f"{major}: set IMGDB_PG_BINDIR to the programs of a PostgreSQL {made_by}, "
                "or set IMGDB_HOME to another folder and ingest again"
            )

    def _create(self, bindir: Path, major: int, lock: int) -> None:
        """Make the cluster with its database under another name, then rename it: all or nothing.

        The programs inherit the home's lock: if we are killed, the next process waits for them.
        """
        for leftover in self.home.glob(".data-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = self.account.make_temporary(prefix=".data-", parent=self.home)
        try:
            initdb = [str(bindir / "initdb"), "-D", str(partial), *_initdb_options(major)]
            self._run_to_end(initdb if self._durable else [*initdb, "--no-sync"], lock)
            single = [str(bindir / "postgres"), "--single", "-D", str(partial)]
            single += ["-c", "exit_on_error=on", *([] if self._durable else ["-F"]), "template1"]
            self._run_to_end(single, lock, sql=f"CREATE DATABASE {DATABASE}\n")
            partial.rename(self.data)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if self._durable:
            directory = os.open(self.home, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)

    def _run_to_end(self, command: list[str], lock: int, *, sql: str = "") -> None:
        done = self.account.run(
            command, cwd=self.home, capture_output=True, pass_fds=(lock,), input=sql
        )
        if done.returncode:
            complaint = last_complaint(done.stderr + done.stdout) or f"exit {done.returncode}"
            raise EmbeddedServerError(
                f"cannot make a database in {self.home}: {with_advice(complaint)}"
            )

    def _configure(self) -> None:
        """Write the settings and who may connect: the caller, who is known to the kernel."""
        folder = self.home / "conf"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        caller = user_name(os.geteuid())
        for name, text in {
            "postgresql.conf": configuration(),
            "pg_hba.conf": "local all all peer map=imgdb\n",
            "pg_ident.conf": f"imgdb {quoted(caller)} {SUPERUSER}\n",
        }.items():
            written = folder / f"{name}.new"
            written.write_text(text, encoding="utf-8")
            written.chmod(0o644)  # the server's account reads it; there is no secret in it
            written.replace(folder / name)

    def _disbelieve_reused_pid(self) -> None:
        """Mend a stale pid file whose number now belongs to another program.

        PostgreSQL would take that program for a server. It ignores the pid of its grandparent,
        and then still checks that the old server's shared memory is no longer in use.
        """
        pid = self._written_pid()
        if pid and processes.command_line(pid) and not processes.is_postgres(pid):
            lines = [str(os.getpid()), *self._pid_file()[1:]]
            self.account.write(self.data / "postmaster.pid", "\n".join(lines) + "\n")

    def _set_long_log_aside(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.home / "log.old")

    def _did_not_start(self, begin: int) -> EmbeddedServerError:
        with self.log.open("rb") as file:
            file.seek(begin)
            complaint = last_complaint(file.read().decode(errors="replace"))
        why = with_advice(complaint) if complaint else "it was killed; try again"
        return EmbeddedServerError(f"PostgreSQL did not start: {why} (its log: {self.log})")

    # -- stopping -------------------------------------------------------------------------------

    def stop(self) -> None:
        """Close all sessions, write everything down and end the server."""
        unseen_until = time.monotonic() + UNSEEN_LIMIT
        while self.alive() and self.postmaster() is None:
            self._look_for_it(unseen_until)
        for how, seconds in SHUTDOWNS:
            if pid := self.postmaster():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                if not self.alive():
                    return
                time.sleep(POLL)
        raise EmbeddedServerError(f"PostgreSQL does not stop; its log is {self.log}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file that only we may read, made where it is missing, to append to it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


def _initdb_options(major: int) -> list[str]:
    options = ["-U", SUPERUSER, "-E", "UTF8", "--no-locale", "--data-checksums", "--auth=reject"]
    if major >= 17:  # the same order and letters on every system
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return options
