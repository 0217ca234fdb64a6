"""What a worker is given to do: a file, or a share of the members of an archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from imgdb.workers.messages import Errand, Members, Recognise


@dataclass(slots=True, kw_only=True)
class Task:
    """A file to read; `attempts` counts the workers that died of it.

    In an archive, `member` is the name of the one at hand and `done` counts those before it.
    """

    path: str
    byte_size: int = 0
    attempts: int = 0
    member: str | None = None
    done: int = 0

    def message(self) -> str | Members | Recognise | Errand:
        """Return the task as a worker gets it."""
        return self.path


AnyTask = TypeVar("AnyTask", bound=Task)
