"""Commands that are run in the background, watched through /proc, and ended in every way."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from forked import WORKER, Fork, forks

# The real command, only with small batches: many commits in a short run.
SMALL_BATCHES = (
    "from imgdb.ingest import run; run.BATCH_ROWS = {rows}; from imgdb.cli import main; main()"
)


class Command:
    """An `imgdb` command in a process group of its own, as a shell would start it.

    `before` are words in front of it: a program that runs it. Without them it is forked from a
    process that has loaded imgdb.
    """

    def __init__(
        self,
        *args: str | os.PathLike[str],
        before: Sequence[str | os.PathLike[str]] = (),
        batch_rows: int = 40,
        env: dict[str, str],
    ) -> None:
        code, env = SMALL_BATCHES.format(rows=batch_rows), {**os.environ, **env}
        self.process: Fork | subprocess.Popen[str]
        if before or sys.platform != "linux":
            self.process = subprocess.Popen(
                [*before, sys.executable, "-c", code, *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=env,
                process_group=0,
            )
        else:
            self.process = forks().start(args, env=env, code=code, process_group=True)
        self.pid = self.process.pid

    def children(self) -> list[int]:
        """Return the worker processes, whichever thread has started them."""
        try:
            tasks = [path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/children")]
        except FileNotFoundError:
            return []
        return [pid for pid in map(int, " ".join(tasks).split()) if _is_worker(pid)]

    def worker_on(self, file: Path) -> int:
        """Wait until a worker has a file open; return its pid."""
        while True:
            assert self.process.poll() is None, self.process.communicate()
            for pid in self.children():
                if str(file) in _open_files(pid):
                    return pid

    def worker_of(self, size: int) -> int:
        """Wait until a worker has `size` bytes in memory; return its pid."""
        while True:
            assert self.process.poll() is None, self.process.communicate()
            for pid in self.children():
                if _resident(pid) >= size:
                    return pid

    def go_on(self) -> None:
        """Let it have the processor for a moment; it must not have ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.02)
            raise AssertionError(self.process.communicate())

    def signal(self, signum: int) -> None:
        """Signal the process group, as Ctrl-C in a terminal does."""
        os.killpg(self.pid, signum)

    def kill(self) -> None:
        """End the command alone, as `kill -9` does; wait until its workers are gone too."""
        handles = [_pidfd(pid) for pid in self.children()]
        os.kill(self.pid, signal.SIGKILL)
        self.process.communicate()
        for handle in handles:
            if handle is not None:
                ready, _, _ = select.select([handle], [], [], 30)
                os.close(handle)
                assert ready, "a worker has outlived its command"

    def end(self) -> tuple[int, str, str]:
        """Let it run to its end; return exit code, stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=120)
        return self.process.wait(), stdout, stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.__exit__(kind, error, trace)


def _is_worker(pid: int) -> bool:
    try:
        forked = Path(f"/proc/{pid}/comm").read_text() == f"{WORKER}\n"
        return forked or b"imgdb.workers.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _open_files(pid: int) -> set[str]:
    try:
        return {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
