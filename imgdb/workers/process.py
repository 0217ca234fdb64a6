"""One worker process as the command sees it: what it was given, what it said, how it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic

from imgdb.workers.bookmark import Bookmark
from imgdb.workers.messages import (
    Answered,
    Began,
    MemberDone,
    Outcome,
    Ready,
    Unpacker,
    pack,
)
from imgdb.workers.task import AnyTask
from imgdb.workers.work import Work

# Seconds of work that lie ready with each worker: the command may be busy with the database. A
# batch of pictures that take less than QUICK seconds is full before it is due, and takes a second
# to store; few of them are left at the end.
AHEAD_SECONDS, QUICK_AHEAD_SECONDS, QUICK = 0.5, 2.0, 0.005
AHEAD_MIN, AHEAD_MAX = 2, 4096
AHEAD_BYTES = 64 << 20

# Bytes of answers that a worker can write before the command reads them; Linux allows no more.
ANSWERS_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer(Generic[AnyTask]):
    """What became of a task, or of a member of it; None: the archive was read to its end."""

    task: AnyTask
    outcome: Outcome | None
    member: str | None = None


class WorkerProcess(Generic[AnyTask]):
    """A process of `workers.worker`; `tasks` are those that it has not answered, oldest first.

    `pace` is how many seconds it takes for one of the last pictures.
    """

    def __init__(self, work: Work, stderr: IO[bytes]) -> None:
        self.tasks: deque[AnyTask] = deque()
        self.ready = False
        self.gone = False
        # Started as a program of its own, not forked: it inherits no connection and no lock, and
        # in a process group of its own, so that Ctrl-C reaches the command alone. -P: a picture
        # folder with a PIL.py in it must not become a part of imgdb.
        self._bookmark = Bookmark.make()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "imgdb.workers.worker", str(self._bookmark.fd)],
            pass_fds=[self._bookmark.fd],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,
            env=_environment(),
            process_group=0,
        )
        assert self._process.stdin and self._process.stdout
        self._stdin = self._process.stdin
        self._stdout = self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self.answers = self._stdout.fileno()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.answers, fcntl.F_SETPIPE_SZ, ANSWERS_SIZE)
        self._unpacker = Unpacker()
        self._unsent = bytearray(pack(work))
        self._bytes = 0
        self._answered = 0
        self._begun = 0
        self._since = time.monotonic()
        self.pace = AHEAD_SECONDS
        self.flush()

    def wants_more(self) -> bool:
        """Tell whether what it has to do will soon be done."""
        seconds = QUICK_AHEAD_SECONDS if self.pace < QUICK else AHEAD_SECONDS
        ahead = min(max(int(seconds / self.pace), AHEAD_MIN), AHEAD_MAX)
        count = len(self.tasks)
        return count < AHEAD_MIN or (count < ahead and self._bytes < AHEAD_BYTES)

    def give(self, task: AnyTask) -> None:
        """Add a task; `flush` sends it."""
        if not self.tasks:
            self._since = time.monotonic()
        self.tasks.append(task)
        self._bytes += task.byte_size
        self._unsent += pack(task.message())

    def flush(self) -> None:
        """Send what the pipe takes; a worker that does not read never holds the command up."""
        while self._unsent:
            try:
                sent = os.write(self._stdin.fileno(), self._unsent)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # Its end shows when the answers are read.
                self._unsent.clear()
                return
            del self._unsent[:sent]

    def receive(self) -> Iterator[Answer[AnyTask]]:
        """Yield the answers that came; sets `gone` where the process has ended."""
        try:
            piece = os.read(self.answers, 1 << 18)
        except BlockingIOError:
            return
        if not piece:
            self.gone = True
        for message in self._unpacker.feed(piece):
            self._since = time.monotonic()
            if isinstance(message, Ready):
                self.ready = True
            elif isinstance(message, Began):
                self.tasks[0].member = message.member
            elif isinstance(message, MemberDone):
                task = self.tasks[0]
                yield Answer(task, message.outcome, task.member)
                task.member = None
                task.attempts = 0
                task.done += 1
            elif isinstance(message, Answered):
                for outcome in message.outcomes:
                    task = self.tasks.popleft()
                    self._bytes -= task.byte_size
                    # The last few count most, but one big picture among small ones changes little.
                    self.pace += (message.seconds - self.pace) / 4
                    self._answered += 1
                    yield Answer(task, outcome)

    @property
    def at_hand(self) -> int:
        """Where in `tasks` the worker is; those before that have no answer yet are done."""
        return min(max(self._bookmark.begun - self._answered - 1, 0), len(self.tasks) - 1)

    def late(self, now: float, timeout: float) -> bool:
        """Tell whether the task at hand has been in work for more than `timeout` seconds."""
        if self._begun != self._bookmark.begun:
            self._begun, self._since = self._bookmark.begun, now
        return self.ready and bool(self.tasks) and now - self._since > timeout

    def readable(self) -> bool:
        """Tell whether it has said something that was not received yet."""
        poll = select.poll()
        poll.register(self.answers, select.POLLIN)
        return bool(poll.poll(0))

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._stdin.close()
        self._stdout.close()
        self._bookmark.close()

    def reap(self, seconds: float = 0) -> bool:
        """Return whether the killed process is gone."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def was_killed(self) -> bool:
        """Tell whether a signal ended the process."""
        return self._process.wait() < 0

    def cause(self) -> str:
        """Say how the process ended."""
        code = self._process.wait()
        if code >= 0:
            return f"exit code {code}"
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"


def _environment() -> dict[str, str]:
    """Return our environment, with our modules, and one thread for each worker."""
    package = str(Path(__file__).parents[2])
    paths = [str(Path(path).absolute()) for path in sys.path if path]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    path = os.pathsep.join(dict.fromkeys([*paths, package]))
    return {**os.environ, **one_thread, "PYTHONPATH": path}
