"""A process that hashes files: orders come in through stdin, outcomes go out through stdout.

It is started by `imgdb.pool` and shares nothing else with the command: no connection, no lock. It
ends when the pipe does, so it cannot outlive the command, whatever ends that.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from imgdb import loader
from imgdb.errors import PictureError
from imgdb.fingerprint import fingerprint
from imgdb.messages import Answered, Outcome, Ready, Settings, Unpacker, pack, write_all

# What codecs say when they get no memory, which Pillow passes on as an error of the picture.
_NO_MEMORY = re.compile(r"memory|alloc", re.IGNORECASE)


def main() -> NoReturn:
    """Hash until the pipe ends."""
    # Ctrl-C is for the command, which decides what is still to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.dup(sys.stdout.fileno())
    orders: queue.SimpleQueue[object] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.fileno(), orders), daemon=True).start()
    settings = orders.get()
    assert isinstance(settings, Settings)
    loader.prepare()
    _silence()
    _limit_memory(settings.memory)
    with contextlib.suppress(BrokenPipeError):
        write_all(answers, pack(Ready()))
        while True:
            order = orders.get()
            begin = time.monotonic()
            outcome = _outcome(order, settings)
            write_all(answers, pack(Answered(outcome, time.monotonic() - begin)))
    os._exit(0)


def _receive(fd: int, orders: queue.SimpleQueue[object]) -> None:
    """Take orders in at any time, so that the command never waits for us to do so."""
    unpacker = Unpacker()
    while piece := os.read(fd, 1 << 16):
        for message in unpacker.feed(piece):
            orders.put(message)
    # Nobody is there to be answered: not even the picture at hand is worth ending.
    os._exit(0)


def _outcome(path: object, settings: Settings) -> Outcome:
    assert isinstance(path, str)
    try:
        return fingerprint(
            path,
            decode=settings.decode,
            algorithms=settings.algorithms,
            max_pixels=settings.max_pixels,
        )
    except PictureError as error:
        return _with_true_reason(error)
    except MemoryError:
        return PictureError("no-memory")


def _with_true_reason(error: PictureError) -> PictureError:
    if error.reason in ("broken", "io-error") and _NO_MEMORY.search(error.detail):
        return PictureError("no-memory", error.detail)
    return error


def _silence() -> None:
    """Let no codec write into the answers or across the progress bar."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.dup2(nothing, sys.stderr.fileno())
    os.close(nothing)


def _limit_memory(limit: int) -> None:
    """Let the process grow to `limit` bytes; beyond that, allocation fails."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        pages, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
    except OSError:
        # Only Linux keeps to the limit.
        return
    # Addresses are reserved by the hundred megabytes without ever being used.
    unused = (pages - resident) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = limit + unused
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, wanted))


if __name__ == "__main__":
    main()
