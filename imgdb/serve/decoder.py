"""Pictures that requests bring or ask for, decoded by worker processes and by nothing else.

One thread runs a pool of them. A request hands in what is to be done with a file, and waits for its
future; a picture that crashes, hangs or bloats its worker costs only itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from imgdb.cores import available_cores
from imgdb.errors import ImgdbError, PictureError, UsageError
from imgdb.paths import path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of
from imgdb.pictures.limits import MAX_PIXELS
from imgdb.workers.limits import PICTURE_SECONDS, WORKER_MEMORY
from imgdb.workers.messages import Errand, Made, Members, Outcome
from imgdb.workers.pool import Pool
from imgdb.workers.process import Answer
from imgdb.workers.task import Task
from imgdb.workers.work import HashFiles, Work

PREFIX = "imgdb-serve-"


@dataclass(slots=True, kw_only=True)
class _Errand(Task):
    """A file, or an archive of which one member is wanted, and what is to be done with it."""

    work: Work
    inside: str | None = None
    future: Future[Any] = field(default_factory=Future)

    def message(self) -> Errand:
        if self.inside is None:
            return Errand(self.path, self.work)
        members = Members(self.path, 0, 1, self.done, frozenset([self.inside]))
        return Errand(members, self.work)


class Decoder:
    """`jobs` worker processes for all requests, from the beginning of the block to its end.

    A picture fails after `timeout` seconds, with more than `max_pixels`, or where a worker needs
    more than `memory` bytes for it. `folder` is private, for what is uploaded.
    """

    def __init__(
        self,
        *,
        jobs: int | None = None,
        timeout: float = PICTURE_SECONDS,
        max_pixels: int = MAX_PIXELS,
        memory: int = WORKER_MEMORY,
    ) -> None:
        self._jobs = jobs or available_cores()
        self._timeout = timeout
        self._max_pixels = max_pixels
        self._memory = memory
        self._mutex = threading.Condition()
        self._waiting: deque[_Errand] = deque()
        self._begun: set[Future[Any]] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="imgdb-decoder")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX)))
        self._heard, self._bell = os.pipe()
        self._stack.callback(os.close, self._heard)
        self._stack.callback(os.close, self._bell)
        os.set_blocking(self._bell, False)
        # A worker takes most of a second to start: they have begun before the first picture comes.
        for _ in range(self._jobs):
            self.do(HashFiles(), os.devnull)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._mutex:
            self._closed = True
            self._mutex.notify()
        self._ring()
        self._thread.join()
        self._stack.close()

    def do(self, work: Work, path: str | os.PathLike[str]) -> Future[Any]:
        """Have work done with a file; the future has what came of it, or the PictureError."""
        return self._add(_Errand(path=os.fspath(path), work=work))

    def do_stored(self, work: Work, spelling: str) -> Future[Any]:
        """Do as `do` with a picture of the database, given by the spelling of its path.

        Only of an absolute path there is a file: all others are names that somebody made up.
        """
        try:
            path = path_from_text(spelling)
        except UsageError:  # imported, by whatever rules
            path = ""
        if not Path(path).is_absolute():
            return _failed(PictureError("missing", "no file is kept of it"))
        archive = archive_of(path)
        if archive is None:
            return self.do(work, path)
        inside = spelling.removeprefix(path_text(archive) + INSIDE)
        return self._add(_Errand(path=archive, work=work, inside=inside))

    def _add(self, errand: _Errand) -> Future[Any]:
        errand.work = replace(errand.work, max_pixels=self._max_pixels, memory=self._memory)
        with self._mutex:
            if self._closed:
                return _failed(ImgdbError("the server is stopping"))
            self._waiting.append(errand)
            self._mutex.notify()
        self._ring()
        return errand.future

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it rings already
            os.write(self._bell, b"!")

    # -- in the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            with self._mutex:
                self._mutex.wait_for(lambda: self._waiting or self._closed)
            try:
                self._run_pool()
            except Exception as error:  # no worker can be started: what waits is told, and told why
                self._fail_all(error)
        self._fail_all(ImgdbError("the server is stopping"))

    def _run_pool(self) -> None:
        first = HashFiles(max_pixels=self._max_pixels, memory=self._memory)
        with Pool[_Errand](
            first, jobs=self._jobs, timeout=self._timeout, ahead=False, bell=self._heard
        ) as pool:
            for answers in pool.run(self._errands()):
                if self._closed:
                    return
                for answer in answers:
                    self._take(answer)

    def _errands(self) -> Iterator[_Errand | None]:
        while True:
            with self._mutex:
                errand = self._waiting.popleft() if self._waiting else None
            if errand is None:
                yield None
            elif errand.future.set_running_or_notify_cancel():  # who asked may have gone
                self._begun.add(errand.future)
                yield errand

    def _take(self, answer: Answer[_Errand]) -> None:
        errand, outcome = answer.task, answer.outcome
        if answer.member is not None and outcome is not None:
            _settle(errand.future, outcome)
            return
        self._begun.discard(errand.future)
        gone = PictureError("missing", "the archive holds no such file")
        _settle(errand.future, outcome or gone)

    def _fail_all(self, error: Exception) -> None:
        with self._mutex:
            waiting, begun = list(self._waiting), list(self._begun)
            self._waiting.clear()
            self._begun.clear()
        for future in begun:
            if not future.done():
                future.set_exception(error)
        for errand in waiting:
            if errand.future.set_running_or_notify_cancel():
                errand.future.set_exception(error)


def _settle(future: Future[Any], outcome: Outcome) -> None:
    if future.done():  # a member of an archive, or the second one of that name
        return
    if isinstance(outcome, PictureError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome.value if isinstance(outcome, Made) else outcome)


def _failed(error: Exception) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
