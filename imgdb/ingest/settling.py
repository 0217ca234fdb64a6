"""Files that are still being written: what has just changed is read when it has been quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from imgdb.ingest.walk import File, WalkItem

# Seconds in which a file must not change. Who copies a file writes several times a second.
QUIET = 1.0


@dataclass(frozen=True, slots=True)
class _Look:
    """A file as it was seen, and since when, in seconds of a clock that only goes forward."""

    file: File
    since: float


class Settling:
    """The files that wait until they are quiet."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: dict[str, _Look] = {}

    def changed(self, found: Iterator[WalkItem]) -> Iterator[WalkItem]:
        """Let files that have just changed wait; yield all else."""
        return self._pass(found, lambda file: True)

    def quiet(self, found: Iterator[WalkItem]) -> Iterator[WalkItem]:
        """Let files wait that are younger than QUIET; yield all else."""
        now = datetime.now(UTC)
        return self._pass(found, lambda file: 0 <= (now - file.modified_at).total_seconds() < QUIET)

    def waited(self, look_at: Callable[[str], Iterator[WalkItem]]) -> Iterator[WalkItem]:
        """Look again at files that have waited, and yield those that have not changed."""
        now = self._clock()
        due = [look for look in self._looks.values() if now - look.since >= QUIET]
        for look in due:
            del self._looks[look.file.path]
            yield from self._pass(look_at(look.file.path), look.file.__ne__)

    def _pass(self, found: Iterator[WalkItem], waits: Callable[[File], bool]) -> Iterator[WalkItem]:
        for item in found:
            if isinstance(item, File) and waits(item):
                look = self._looks.get(item.path)
                if look is None or look.file != item:
                    self._looks[item.path] = _Look(item, self._clock())
            else:
                yield item
