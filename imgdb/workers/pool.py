"""Worker processes that hash files: all of them busy, none of them trusted.

A picture may crash, hang or bloat the process that decodes it. So each worker does its orders one
by one and in order, and keeps a bookmark: whatever ends it, the order at hand is the culprit, and
those that it has not answered go to the next worker. That is why this is no `concurrent.futures`
pool, which breaks as a whole and cannot say of which file.
"""

from __future__ import annotations

import selectors
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from types import TracebackType
from typing import Generic, Self

from imgdb.errors import ImgdbError, PictureError
from imgdb.workers.messages import Settings
from imgdb.workers.process import Answer, Ordered, WorkerProcess
from imgdb.workers.read_ahead import read_ahead

# Seconds between two looks at the clock.
TICK = 0.1

# Seconds to wait for killed workers; one that waits for a dead disk does not even die.
_PATIENCE = 2

# Workers that end before they have begun, one after the other: then it is no accident.
_MOST_VAIN_STARTS = 3

# Seconds for a picture: who is quicker than this waits for no disk.
_SLOW = 0.001


class _Fed(Enum):
    """Why no more orders are handed out: all hands are full, none just now, or none ever again."""

    FULL = auto()
    PAUSE = auto()
    END = auto()


class Pool(Generic[Ordered]):
    """`jobs` worker processes; one that takes longer than `timeout` seconds on a file is ended."""

    def __init__(self, settings: Settings, *, jobs: int, timeout: float) -> None:
        self._settings = settings
        self._jobs = jobs
        self._timeout = timeout
        self._workers: list[WorkerProcess[Ordered]] = []
        self._ended: list[WorkerProcess[Ordered]] = []
        self._again: deque[Ordered] = deque()
        self._vain_starts = 0
        self._selector = selectors.DefaultSelector()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()
        given_up = time.monotonic() + _PATIENCE
        for worker in self._ended + self._workers:
            worker.reap(max(0, given_up - time.monotonic()))
        self._selector.close()
        self._stderr.close()

    def run(self, orders: Iterable[Ordered | None]) -> Iterator[list[Answer[Ordered]]]:
        """Hash the files of `orders`; yield answers as they come, an empty list now and then.

        `orders` is read only as far ahead as the workers need. None in it means: nothing just now.
        """
        source = iter(orders)
        more = True
        while True:
            state = self._feed(source if more else iter(()))
            more = more and state is not _Fed.END
            if not more and not self._again and not any(w.orders for w in self._workers):
                return
            yield self._collect(0 if state is _Fed.PAUSE else TICK)

    def _feed(self, source: Iterator[Ordered | None]) -> _Fed:
        """Hand out orders until every worker has enough, or there are none."""
        while worker := self._hungriest():
            if self._again:
                worker.give(self._again.popleft())
                continue
            try:
                order = next(source)
            except StopIteration:
                return _Fed.END
            if order is None:
                return _Fed.PAUSE
            if worker.pace > _SLOW:
                read_ahead(order)
            worker.give(order)
        return _Fed.FULL

    def _hungriest(self) -> WorkerProcess[Ordered] | None:
        """Return the worker that runs dry first, None if all have enough."""
        if len(self._workers) < self._jobs and all(w.orders for w in self._workers):
            self._start()
        worker = min(self._workers, key=lambda w: len(w.orders))
        return worker if worker.wants_more() else None

    def _start(self) -> None:
        worker: WorkerProcess[Ordered] = WorkerProcess(self._settings, self._stderr)
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)

    def _collect(self, wait: float) -> list[Answer[Ordered]]:
        answers: list[Answer[Ordered]] = []
        for worker in self._workers:
            worker.flush()
        for key, _ in self._selector.select(wait):
            worker = key.data
            began = worker.ready
            answers += worker.receive()
            if worker.ready and not began:
                self._vain_starts = 0
            if worker.gone:
                answers += self._replace(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            # What it has answered meanwhile is not read yet: that comes first.
            if worker.late(now, self._timeout) and not worker.readable():
                answers += self._replace(worker, PictureError("timeout", f"{self._timeout:g} s"))
        return answers

    def _replace(
        self, worker: WorkerProcess[Ordered], error: PictureError | None = None
    ) -> list[Answer[Ordered]]:
        """Take a dead or late worker out; return the answer for the order that it died of."""
        self._selector.unregister(worker.answers)
        self._workers.remove(worker)
        self._ended = [other for other in self._ended if not other.reap()] + [worker]
        orders = list(worker.orders)
        at_hand = worker.at_hand
        worker.end()
        if not worker.ready and error is None:
            self._note_vain_start(worker)
        answers = []
        if orders and worker.ready:
            culprit = orders[at_hand]
            culprit.attempts += 1
            # The first time, perhaps somebody killed the worker, and the picture is innocent.
            if error is not None or culprit.attempts >= 2:
                error = error or PictureError("crashed", worker.cause())
                answers.append(Answer(culprit, error, culprit.member))
                if culprit.member is None:
                    del orders[at_hand]
                else:
                    # The rest of the archive is innocent too.
                    culprit.member = None
                    culprit.attempts = 0
                    culprit.done += 1
        self._again.extendleft(reversed(orders))
        return answers

    def _note_vain_start(self, worker: WorkerProcess[Ordered]) -> None:
        """Give up, unless perhaps somebody has killed the worker, and the next one may live."""
        self._vain_starts += 1
        if self._vain_starts == _MOST_VAIN_STARTS or not worker.was_killed():
            raise ImgdbError(
                f"a worker process ended at its start ({worker.cause()}): {self._last_words()}"
            )

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")
