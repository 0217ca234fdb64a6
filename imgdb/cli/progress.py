"""How far a long run is: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

# Counts files, until the event says that nobody waits for it any more.
Count = Callable[[threading.Event], int]


class Silent:
    """Shows nothing, because nobody would see it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, done: int, failed: int) -> None:
        """Show how many files are done, and how many of them failed."""


class Bar(Silent):
    """A bar with files per second, and with the time left as soon as the files are counted."""

    def __init__(self, count: Count | None, total: int | None, of: str) -> None:
        """Count the files in the background, by a function that stops when it is told to."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=total, files="", rate="")
        self._total = total
        self._of = of
        self._closed = threading.Event()
        if count is not None:
            threading.Thread(target=self._count, args=(count,), daemon=True).start()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._progress.stop()

    def update(self, done: int, failed: int) -> None:
        """Show how many files are done, and how many of them failed."""
        of = f" of {self._total:,}" if self._total is not None else ""
        bad = f", {failed:,} failed" if failed else ""
        speed = self._progress.tasks[0].speed
        self._progress.update(
            self._task,
            completed=done,
            total=self._total,
            files=f"{done:,}{of} {self._of}{bad}",
            rate=f"{speed:,.0f}/s" if speed else "",
        )

    def _count(self, count: Count) -> None:
        total = count(self._closed)
        if not self._closed.is_set():
            self._total = total


def bar(count: Count | None = None, total: int | None = None, of: str = "files") -> Silent:
    """Return a bar where stderr is a terminal that can draw one; `of` says what is counted."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        return Bar(count, total, of)
    return Silent()
