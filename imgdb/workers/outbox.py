"""A worker's outcomes on their way out: one by one where they take long, else many at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from imgdb.hashes.fingerprint import Unhashed
from imgdb.workers.messages import Answered, Outcome, pack, write_all

# So many outcomes wait for each other, and so many seconds.
_MOST = 64
_LONGEST = 0.05

# An outcome, or a picture that is only decoded.
Waiting: TypeAlias = "Outcome | Unhashed | None"


class Outbox:
    """Outcomes that wait to be sent, in the order of the tasks; `finish` hashes what is decoded.

    A write wakes the command up, and a call of numpy costs the same for one tiny picture as for
    many: together they take a fifth of the time.
    """

    def __init__(
        self, fd: int, finish: Callable[[Sequence[Waiting]], Sequence[Outcome | None]]
    ) -> None:
        self._fd = fd
        self._finish = finish
        self._waiting: list[Waiting] = []
        self._since = time.monotonic()

    def put(self, outcome: Waiting) -> None:
        """Add the outcome of a task, and send if that is due."""
        self._waiting.append(outcome)
        if len(self._waiting) >= _MOST or time.monotonic() - self._since > _LONGEST:
            self.send()

    def send(self) -> None:
        """Finish and send all."""
        if self._waiting:
            outcomes = self._finish(self._waiting)
            seconds = (time.monotonic() - self._since) / len(outcomes)
            write_all(self._fd, pack(Answered(tuple(outcomes), seconds)))
            self._waiting.clear()
        self.start_clock()

    def start_clock(self) -> None:
        """Count the seconds from here: nothing was to be done before."""
        self._since = time.monotonic()
