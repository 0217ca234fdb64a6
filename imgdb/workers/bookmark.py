"""A number that outlives the process that writes it: which of its tasks a worker is at."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Self

_SIZE = 8


class Bookmark:
    """How many tasks a worker has begun, in a page that it shares with the command.

    Outcomes go out several at a time, so they do not tell which picture a worker died of.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._page = mmap.mmap(fd, _SIZE)
        self._number = memoryview(self._page).cast("Q")

    @classmethod
    def make(cls) -> Self:
        """Make one, for a worker that inherits `fd`."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_SIZE)
            return cls(os.dup(file.fileno()))

    @property
    def begun(self) -> int:
        return int(self._number[0])

    def turn(self) -> None:
        """Count one more."""
        self._number[0] += 1

    def close(self) -> None:
        self._number.release()
        self._page.close()
        os.close(self.fd)
