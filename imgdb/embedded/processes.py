"""What the machine's process table says about servers."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from imgdb.embedded.account import user_name


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
    for pid in _all_pids():
        if " ".join(command_line(pid)).startswith(title):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)


def current_user_name() -> str:
    """Return the name under which the kernel knows us."""
    return user_name(os.geteuid())


def remove_tree(directory: Path) -> None:
    """Remove a directory as far as possible."""
    shutil.rmtree(directory, ignore_errors=True)


def _all_pids() -> list[int]:
    if sys.platform == "linux":
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(pid) for pid in _ps("-ax", "-o", "pid=").split()]


def _ps(*options: str) -> str:
    command = ["ps", "-ww", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
