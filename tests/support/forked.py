"""The command line in processes that are forked from one which has loaded it, for tests.

A short command spends most of its time loading modules, and so does a worker process. All else is
its own, as if a shell had started it: process, environment, folder, streams, interpreter shutdown.
What Python reads of the environment before all this (`EARLY`) stays that of the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
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
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn, Self

# Exit code (negative: the signal that ended it), stdout and stderr of a command.
Run = Callable[..., tuple[int, bytes, bytes]]

EARLY = ("PYTHON", "LC_", "LANG", "TZ")
COMMAND = "from imgdb.cli import main; main()"
# The command of that name in a shell script: it has a fork do the work, on its own streams.
PROGRAM = """#!{python} -SE
import os, socket, sys
sys.path.insert(0, {folder!r})
from forked import ask

asked = {{"args": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
told = ask(socket.socket(fileno={requests}), asked, (0, 1, 2)).makefile()
told.readline()
sys.exit(int(told.readline()) % 256)
"""
# What the kernel calls the forked worker processes: their command line is that of the tests.
WORKER = "imgdb-worker"


class Fork:
    """A command in a fork, with what `subprocess.Popen` tells of a process."""

    def __init__(self, report: socket.socket, stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._report, self._stdout, self._stderr = report, stdout, stderr
        self._told = report.makefile("rb", buffering=0)
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.returncode = int(self._told.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code."""
        if self.returncode is None and not select.select([self._report], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("imgdb", timeout or 0)
        code = self.poll()
        assert code is not None
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; return all of stdout and stderr."""
        self.wait(timeout)
        stdout, stderr = self.output()
        return stdout.decode(), stderr.decode()

    def output(self) -> tuple[bytes, bytes]:
        """Return what it has written so far."""
        return read_all(self._stdout), read_all(self._stderr)

    def send_signal(self, signum: int) -> None:
        """Signal it; its pid is its own until it is closed."""
        os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Give its pid back."""
        for file in (self._told, self._report, self._stdout, self._stderr):
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()
        self.close()


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

    def start(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        env: dict[str, str],
        cwd: Path | None = None,
        input: bytes = b"",
        code: str = COMMAND,
        process_group: bool = False,
    ) -> Fork:
        """Run `code`, as `python -c` would, in a fork; with `process_group` in one of its own."""
        asked = {"args": [*map(os.fsdecode, args)], "env": env, "cwd": str(cwd or Path.cwd())}
        asked |= {"code": code, "process_group": process_group}
        stdout, stderr = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 - Fork's
        with tempfile.TemporaryFile() as stdin:
            rewound(stdin, input)
            streams = [file.fileno() for file in (stdin, stdout, stderr)]
            return Fork(ask(self._socket, asked, streams), stdout, stderr)

    def program(self, folder: Path) -> int:
        """Write a program `imgdb` into a folder; return the descriptor that it must inherit."""
        requests = self._socket.fileno()
        file = folder / "imgdb"
        place = str(Path(__file__).parent)
        file.write_text(PROGRAM.format(python=sys.executable, folder=place, requests=requests))
        file.chmod(0o755)
        return requests

    def run(
        self, args: Sequence[str | os.PathLike[str]], *, timeout: float, **given: Any
    ) -> tuple[int, bytes, bytes]:
        """Run a command in a fork; takes what `start` takes."""
        with self.start(args, **given) as command:
            return command.wait(timeout), *command.output()


@functools.cache
def forks() -> Forks:
    """Return the one process that this one forks commands from; it ends when this one does."""
    return Forks()


def run_command(
    args: Sequence[str | os.PathLike[str]], *, code: str = COMMAND, **given: Any
) -> tuple[int, bytes, bytes]:
    """Run a command, or another `code`: in a fork where libraries bear to be forked, on Linux."""
    if sys.platform == "linux":
        return forks().run(args, code=code, **given)
    return run_script([sys.executable, "-c", code, *args], **given)


def run_script(args: Sequence[str | os.PathLike[str]], **given: Any) -> tuple[int, bytes, bytes]:
    """Run a program; takes what `Forks.run` takes but for its `code`."""
    done = subprocess.run(args, capture_output=True, check=False, **given)
    return done.returncode, done.stdout, done.stderr


def run_shell(
    script: str, folder: Path, *, env: dict[str, str], cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a script of bash; on Linux `imgdb` is a program in `folder` there, which runs forks."""
    linux = sys.platform == "linux"
    inherited = [forks().program(folder)] if linux else []
    programs = folder if linux else Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=cwd,
        env={**env, "PATH": f"{programs}:{env['PATH']}"},
        pass_fds=inherited,
        capture_output=True,
        text=True,
        check=False,
    )


def ask(requests: socket.socket, asked: dict[str, Any], streams: Sequence[int]) -> socket.socket:
    """Ask for a fork with these stdin, stdout and stderr; return what tells its pid and its end."""
    report, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as request:
        rewound(request, json.dumps({"code": COMMAND, "process_group": False} | asked).encode())
        socket.send_fds(requests, [b"!"], [*streams, request.fileno(), theirs.fileno()])
    theirs.close()
    return report


def rewound(file: IO[bytes], content: bytes) -> None:
    file.write(content)
    file.seek(0)


def read_all(file: IO[bytes]) -> bytes:
    """Read a file from its beginning, and leave the place where the command writes on."""
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


# -- in the process that is forked ---------------------------------------------------------------


def wait_to_be_forked(requests: socket.socket) -> str:
    """Fork for every request; return in the command's process only, which has become it.

    Each is told its pid, and then how it ended. Until nobody is there to hear more, it is not
    reaped: no other process gets its pid while the test may send it a signal.
    """
    events = select.poll()
    events.register(requests, select.POLLIN)
    running: dict[int, tuple[int, int]] = {}  # handle of a command: its pid, where it is told of
    ended: dict[int, int] = {}  # where it is told of: its pid
    while True:
        for fd, _ in events.poll():
            if fd in running:
                command, report = running.pop(fd)
                tell(report, how_it_ended(command))
                ended[report] = command
                events.register(report, select.POLLIN)
                events.unregister(fd)
                os.close(fd)
            elif fd in ended:
                os.waitpid(ended.pop(fd), 0)
                events.unregister(fd)
                os.close(fd)
            else:
                asked, fds, _, _ = socket.recv_fds(requests, 1, 5)
                if not asked:
                    sys.exit()
                *streams, report = fds
                for received in fds:
                    os.set_inheritable(received, False)
                if (command := os.fork()) == 0:
                    requests.close()
                    for other in (*running, *ended, *(told for _, told in running.values())):
                        os.close(other)
                    return become(*fds)
                for stream in streams:
                    os.close(stream)
                tell(report, command)
                handle = os.pidfd_open(command)
                running[handle] = command, report
                events.register(handle, select.POLLIN)


def tell(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        os.write(report, b"%d\n" % number)


def how_it_ended(command: int) -> int:
    """Return the exit code of a child that has ended, negative: the signal; it is not reaped."""
    found = os.waitid(os.P_PID, command, os.WEXITED | os.WNOWAIT)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def become(stdin: int, stdout: int, stderr: int, request: int, report: int) -> str:
    """Become the command that is asked for; return its code."""
    with open(request, "rb") as file:
        asked = json.loads(file.read())
    for number, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, number)
        os.close(fd)
    os.close(report)
    if asked["process_group"]:
        os.setpgid(0, 0)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv = ["imgdb", *asked["args"]]
    return str(asked["code"])


def end(code: str) -> NoReturn:
    """Run the command, and end as the interpreter does: threads, exit functions, streams.

    Only the objects of all modules are not taken apart, which takes longer than most commands.
    """
    status: object = 0
    try:
        exec(code, {"__name__": "__main__"})
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = 120
    os._exit(int(status or 0))  # type: ignore[call-overload]


def fork_worker(command: Sequence[str], **given: Any) -> subprocess.Popen[bytes]:
    """Fork a worker process from this one, instead of starting a program that loads it all anew."""
    kept = {0, 1, 2, *given["pass_fds"]}

    def work() -> NoReturn:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            # The last of them tells the command that the program has started.
            for fd in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
                if fd not in kept:
                    with contextlib.suppress(OSError):
                        os.close(fd)
            Path("/proc/self/comm").write_text(WORKER)
            os.environ.clear()
            os.environ.update(given["env"])
            sys.argv = list(command[3:])
            import_module(command[3]).serve_tasks()
        except BaseException:
            traceback.print_exc()
        os._exit(1)

    return subprocess.Popen(command, preexec_fn=work, **given)


def load_all() -> None:
    """Import what commands import, and programs of their own."""
    import imgdb

    served = find_spec("fastapi") is not None  # the extra `serve`
    for module in pkgutil.walk_packages(imgdb.__path__, "imgdb."):
        if module.name.rpartition(".")[2] == "__main__":
            continue
        if served or not module.name.startswith("imgdb.serve."):
            import_module(module.name)
    for name in ("alembic.command", "rich.progress", "rich.table"):
        import_module(name)
    with contextlib.suppress(ModuleNotFoundError):  # what newer releases of typer load late
        import_module("typer._adapters")
    import typer.main

    from imgdb.cli.app import COMMANDS, make_app
    from imgdb.pictures.decoding import prepare
    from imgdb.workers import process

    # typer makes its commands anew whenever one is run.
    typer.main.get_command = functools.cache(typer.main.get_command)
    for name in (None, *COMMANDS):
        typer.main.get_command(make_app(name))

    process.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": fork_worker})
    prepare()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    load_all()
    end(wait_to_be_forked(socket.socket(fileno=int(sys.argv[1]))))
