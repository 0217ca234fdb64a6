"""Other processes that use an embedded server, led through pipes: nothing waits by the clock."""

import atexit
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from imgdb.database.embedded import find_bindir
from imgdb.database.embedded.account import choose_account
from imgdb.database.embedded.binaries import runnable_programs


def _runnable_by_all() -> Path:
    """Return the programs, copied where the server's account cannot reach this folder."""
    folder = Path(tempfile.mkdtemp(prefix="imgdb-test-programs-", dir="/tmp"))
    folder.chmod(0o711)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    account = choose_account(None, folder / "data")
    return runnable_programs(find_bindir(), account, folder)[0]


BINDIR = _runnable_by_all()

# The interpreter may lie in a private home, so another user cannot start it: whoever should be
# another user starts as root, imports everything and then gives root up for good.
CLIENT = """
import os, signal, sys
import psycopg
import imgdb.database.embedded
home, bindir, uid, gid = sys.argv[1:]
if int(uid):
    os.setgroups([])
    os.setgid(int(gid))
    os.setuid(int(uid))
server = imgdb.database.embedded.Server(home, bindir=bindir, durable=False)
print("ready", flush=True)
for line in sys.stdin:
    try:
        answer = eval(line)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    except KeyboardInterrupt:
        answer = "interrupted"
    print(str(answer).replace("\\n", " "), flush=True)
"""


class Client:
    """A process with a `server` of its own, in a process group of its own."""

    def __init__(
        self,
        home: Path,
        *,
        bindir: Path = BINDIR,
        user: tuple[int, int] = (0, 0),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(home), str(bindir), *map(str, user)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        assert self.answer() == "ready"

    def tell(self, expression: str) -> None:
        """Have an expression evaluated; `answer` waits for its value."""
        assert self.process.stdin
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().rstrip("\n")

    def ask(self, expression: str) -> str:
        self.tell(expression)
        return self.answer()

    def query(self, statement: str) -> str:
        """Run SQL in a session of its own; return the first value of its first row."""
        session = "psycopg.connect(server.conninfo(), autocommit=True)"
        return self.ask(f"{session}.execute({statement!r}).fetchone()[0]")

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole process group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Let it run to its end; return the exit code."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


class Gate:
    """PostgreSQL's programs, of which one stops before or after its work until it is let through.

    `when` is a shell pattern for the arguments of the calls that stop.
    """

    def __init__(self, folder: Path, program: str, *, when: str, halted_after: bool) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.bindir = folder
        self._reached, self._opened = folder / "reached", folder / "opened"
        for fifo in (self._reached, self._opened):
            os.mkfifo(fifo)
            fifo.chmod(0o666)
        # Both ends are ours, so that letting through works before the program comes and after.
        self._ours = os.open(self._opened, os.O_RDWR)
        for name in ("initdb", "postgres"):
            (folder / name).symlink_to(BINDIR / name)
        halt = f'echo $$ > "{self._reached}"; read line < "{self._opened}"'
        real = f'"{BINDIR / program}" "$@"'
        script = f"{real}; code=$?; {halt}; exit $code" if halted_after else f"{halt}; exec {real}"
        wrapper = folder / program
        wrapper.unlink()
        wrapper.write_text(f'#!/bin/sh\ncase "$*" in {when}) {script};; esac\nexec {real}\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    def reached(self) -> int:
        """Wait until the program stands at the gate; return its pid."""
        return int(self._reached.read_text())

    def open(self) -> None:
        """Let the program through, be it there, still to come or already dead."""
        os.write(self._ours, b"go\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open()
        os.close(self._ours)
