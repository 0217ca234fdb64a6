"""Files that the kernel reads before a worker asks for them."""

from __future__ import annotations

import contextlib
import os

from imgdb.workers.task import Task

# Bytes: one call fetches no more than the disk's own read-ahead; larger files are read in part.
STEP = 512 << 10
MOST = 64 << 20


def read_ahead(task: Task) -> None:
    """Have the kernel fetch a file that will be read soon, so that no core waits for the disk."""
    if not hasattr(os, "posix_fadvise"):
        return
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(task.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            for start in range(0, min(task.byte_size, MOST), STEP):
                os.posix_fadvise(fd, start, STEP, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(fd)
