"""What the machine's process table says about servers."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def cluster_name(home: Path) -> str:
    """Return the name that marks every process of this home's server in the process table."""
    return "imgdb-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:16]


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process: none if there is no such process."""
    if sys.platform == "linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
        except OSError:
            return []
    return _ps("-p", str(pid), "-o", "command=").split()


def is_postgres(pid: int) -> bool:
    """Tell whether a process is a PostgreSQL server or a part of one."""
    program = (command_line(pid) or [""])[0].partition(":")[0]
    return Path(program).name in ("postgres", "postmaster")


def is_postmaster(pid: int, name: str) -> bool:
    """Tell whether a process is the server that was started with a cluster name."""
    return f"--cluster_name={name}" in command_line(pid)


def end_orphans(name: str) -> None:
    """Ask the processes that outlived their server to end; they can commit nothing any more."""
    title = f"postgres: {name}: "
    for pid, command in _all_processes():
        if command.startswith(title):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)


def _all_processes() -> Iterator[tuple[int, str]]:
    if sys.platform == "linux":
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        yield from ((pid, " ".join(command_line(pid))) for pid in pids)
        return
    for line in _ps("-ax", "-o", "pid=,command=").splitlines():
        pid, _, command = line.strip().partition(" ")
        yield int(pid), command


def _ps(*options: str) -> str:
    command = ["ps", "-ww", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
