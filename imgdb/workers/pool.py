"""Worker processes that read files: all of them busy, none of them trusted.

A picture may crash, hang or bloat the process that decodes it. So each worker does its tasks one
by one, and keeps a bookmark: whatever ends it, the task at hand is the culprit, and those that it
has not answered go to the next worker. A pool of `concurrent.futures` would break as a whole, and
it could not say which file broke it.
"""

from __future__ import annotations

import os
import selectors
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import Generic, Self

from imgdb.errors import ImgdbError, PictureError
from imgdb.workers.process import Answer, WorkerProcess
from imgdb.workers.read_ahead import read_ahead
from imgdb.workers.task import AnyTask
from imgdb.workers.work import Work

# Seconds between two looks at the clock.
TICK = 0.1

# Seconds to wait for killed workers; one that waits for a dead disk does not even die.
_PATIENCE = 2

# Workers that end before they have begun, one after the other: then it is no accident.
_MOST_VAIN_STARTS = 3

# Seconds for a picture: a worker that is quicker than this waits for no disk.
_SLOW = 0.001


class _Fed(Enum):
    """Why no more tasks are handed out: all hands are full, none just now, or none ever again."""

    FULL = auto()
    PAUSE = auto()
    END = auto()


class Pool(Generic[AnyTask]):
    """`jobs` worker processes; a process is ended after more than `timeout` seconds on one file.

    Without `ahead` a worker is given a task when it has none: no task waits behind a slow one.
    What comes through the pipe `bell` says that there are tasks again where there were none.
    """

    def __init__(
        self,
        work: Work,
        *,
        jobs: int,
        timeout: float,
        ahead: bool = True,
        bell: int | None = None,
    ) -> None:
        self._work = work
        self._jobs = jobs
        self._timeout = timeout
        self._workers: list[WorkerProcess[AnyTask]] = []
        self._ended: list[WorkerProcess[AnyTask]] = []
        self._again: deque[AnyTask] = deque()
        self._vain_starts = 0
        self._ahead = ahead
        self._bell = bell
        self._selector = selectors.DefaultSelector()
        if bell is not None:
            self._selector.register(bell, selectors.EVENT_READ)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        given_up = time.monotonic() + _PATIENCE
        for worker in self._ended + self._workers:
            worker.reap(max(0, given_up - time.monotonic()))
        self._selector.close()
        self._stderr.close()

    def run(self, tasks: Iterable[AnyTask | None]) -> Iterator[list[Answer[AnyTask]]]:
        """Do `tasks`; yield answers as they come, an empty list now and then.

        `tasks` is read only as far ahead as the workers need. None in it means: nothing just now.
        """
        source = iter(tasks)
        more = True
        while True:
            state = self._feed(source if more else iter(()))
            more = more and state is not _Fed.END
            if not more and not self._again and not any(w.tasks for w in self._workers):
                return
            yield self._collect(self._patience(state))

    def _patience(self, state: _Fed) -> float | None:
        """Return how many seconds to wait for answers, None for as long as it takes."""
        if state is not _Fed.PAUSE:
            return TICK
        if self._bell is None:
            return 0
        return TICK if any(worker.tasks for worker in self._workers) else None

    def _feed(self, source: Iterator[AnyTask | None]) -> _Fed:
        """Hand out tasks until every worker has enough, or there are none."""
        while worker := self._hungriest():
            if self._again:
                worker.give(self._again.popleft())
                continue
            try:
                task = next(source)
            except StopIteration:
                return _Fed.END
            if task is None:
                return _Fed.PAUSE
            if worker.pace > _SLOW:
                read_ahead(task)
            worker.give(task)
        return _Fed.FULL

    def _hungriest(self) -> WorkerProcess[AnyTask] | None:
        """Return the worker that runs dry first, None if all have enough."""
        if len(self._workers) < self._jobs and all(w.tasks for w in self._workers):
            self._start()
        worker = min(self._workers, key=lambda w: len(w.tasks))
        wants = worker.wants_more() if self._ahead else not worker.tasks
        return worker if wants else None

    def _start(self) -> None:
        worker: WorkerProcess[AnyTask] = WorkerProcess(self._work, self._stderr)
        self._workers.append(worker)
        self._selector.register(worker.answers, selectors.EVENT_READ, worker)

    def _collect(self, wait: float | None) -> list[Answer[AnyTask]]:
        answers: list[Answer[AnyTask]] = []
        for worker in self._workers:
            worker.flush()
        for key, _ in self._selector.select(wait):
            worker = key.data
            if worker is None:
                os.read(key.fd, 1 << 12)
                continue
            began = worker.ready
            answers += worker.receive()
            if worker.ready and not began:
                self._vain_starts = 0
            if worker.gone:
                answers += self._replace(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            # It may have answered meanwhile: that is read first.
            if worker.late(now, self._timeout) and not worker.readable():
                answers += self._replace(worker, PictureError("timeout", f"{self._timeout:g} s"))
        return answers

    def _replace(
        self, worker: WorkerProcess[AnyTask], error: PictureError | None = None
    ) -> list[Answer[AnyTask]]:
        """Take a dead or late worker out; return the answer for the task that it died of."""
        self._selector.unregister(worker.answers)
        self._workers.remove(worker)
        self._ended = [other for other in self._ended if not other.reap()] + [worker]
        tasks = list(worker.tasks)
        at_hand = worker.at_hand
        worker.end()
        if not worker.ready and error is None:
            self._note_vain_start(worker)
        answers = []
        if tasks and worker.ready:
            culprit = tasks[at_hand]
            culprit.attempts += 1
            # The first time, somebody may have killed the worker, and the picture is innocent.
            if error is not None or culprit.attempts >= 2:
                error = error or PictureError("crashed", worker.cause())
                answers.append(Answer(culprit, error, culprit.member))
                if culprit.member is None:
                    del tasks[at_hand]
                else:
                    # The rest of the archive is innocent too.
                    culprit.member = None
                    culprit.attempts = 0
                    culprit.done += 1
        self._again.extendleft(reversed(tasks))
        return answers

    def _note_vain_start(self, worker: WorkerProcess[AnyTask]) -> None:
        """Give up, unless somebody may have killed the worker: then the next one may live."""
        self._vain_starts += 1
        if self._vain_starts == _MOST_VAIN_STARTS or not worker.was_killed():
            raise ImgdbError(
                f"a worker process ended at its start ({worker.cause()}): {self._last_words()}"
            )

    def _last_words(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")
