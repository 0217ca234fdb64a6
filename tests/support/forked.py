"""The command line in processes that are forked from one which has loaded it, for tests.

A short command spends most of its time loading modules. All else is its own, as if a shell had
started it: process, environment, folder, streams, interpreter shutdown. What Python reads of the
environment before all this (`EARLY`) stays that of the tests.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Self

# Exit code (negative: the signal that ended it), stdout and stderr of a command.
Run = Callable[..., tuple[int, bytes, bytes]]

EARLY = ("PYTHON", "LC_", "LANG", "TZ")


class Forks:
    """A process that has loaded imgdb and forks itself for each command."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        quiet = ("-W", "ignore:This process:DeprecationWarning")  # libraries have threads: not ours
        self._process = subprocess.Popen(
            [sys.executable, *quiet, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        env: dict[str, str],
        cwd: Path | None,
        input: bytes,
        timeout: float,
    ) -> tuple[int, bytes, bytes]:
        """Run a command in a fork."""
        request = {"args": [*map(os.fsdecode, args)], "env": env, "cwd": str(cwd or Path.cwd())}
        with contextlib.ExitStack() as files:
            stdin, stdout, stderr, asked = (
                files.enter_context(tempfile.TemporaryFile()) for _ in range(4)
            )
            rewound(stdin, input)
            rewound(asked, json.dumps(request).encode())
            ours, theirs = os.pipe()
            report = files.enter_context(os.fdopen(ours, "rb", buffering=0))
            fds = [*(file.fileno() for file in (stdin, stdout, stderr, asked)), theirs]
            socket.send_fds(self._socket, [b"!"], fds)
            os.close(theirs)
            pid = int(report.readline())
            if not select.select([report], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["imgdb", *args], timeout)
            code = int(report.readline())
            return code, read_all(stdout), read_all(stderr)


def run_script(args: Sequence[str | os.PathLike[str]], **given: Any) -> tuple[int, bytes, bytes]:
    """Run a command by the installed script; takes what `Forks.run` takes."""
    script = Path(sys.executable).with_name("imgdb")
    done = subprocess.run([script, *args], capture_output=True, check=False, **given)
    return done.returncode, done.stdout, done.stderr


def rewound(file: IO[bytes], content: bytes) -> None:
    file.write(content)
    file.seek(0)


def read_all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def wait_to_be_forked(requests: socket.socket) -> None:
    """Fork for every request; return in the command's process only, which has become it."""
    while True:
        asked, fds, _, _ = socket.recv_fds(requests, 1, 5)
        if not asked:
            sys.exit()
        for fd in fds:
            os.set_inheritable(fd, False)
        if os.fork() == 0:
            requests.close()
            if (command := os.fork()) == 0:
                become(*fds)
                return
            told(fds[-1], command)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def told(report: int, command: int) -> None:
    """Tell the pid of a child, and how it ended, and end."""
    os.write(report, b"%d\n" % command)
    _, status = os.waitpid(command, 0)
    os.write(report, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(stdin: int, stdout: int, stderr: int, request: int, report: int) -> None:
    with open(request, "rb") as file:
        asked = json.loads(file.read())
    for number, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, number)
        os.close(fd)
    os.close(report)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["imgdb", *asked["args"]]


def load_all() -> None:
    """Import what commands import, but programs of their own."""
    import imgdb

    for module in pkgutil.walk_packages(imgdb.__path__, "imgdb."):
        if module.name.rpartition(".")[2] not in ("__main__", "worker"):
            import_module(module.name)
    for name in ("alembic.command", "rich.progress", "rich.table"):
        import_module(name)
    with contextlib.suppress(ModuleNotFoundError):  # what newer releases of typer load late
        import_module("typer._adapters")
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load_all()
    wait_to_be_forked(socket.socket(fileno=int(sys.argv[1])))
    from imgdb.cli import main

    main()
