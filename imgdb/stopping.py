"""Ctrl-C and SIGTERM as a wish: what is at hand is finished and stored first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Within the block, the first signal only sets `asked`; the second does what it always did."""

    def __init__(self) -> None:
        self.asked = False
        self.signum: int | None = None
        self._before: dict[int, object] = {}

    def is_set(self) -> bool:
        """Tell what `asked` does, as an Event would."""
        return self.asked

    def refuse(self) -> None:
        """End what cannot be left half done as Ctrl-C would; raises KeyboardInterrupt if asked."""
        if self.asked:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                self._before[signum] = signal.signal(signum, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True
        self.signum = signum
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signum, handler = self._before.popitem()
            signal.signal(signum, handler)  # type: ignore[arg-type]
