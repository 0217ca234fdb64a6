"""A file that ingest wants hashed, from its discovery until it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from imgdb.ingest.walk import File
from imgdb.pictures.archives import is_zip
from imgdb.workers.messages import Members


@dataclass(slots=True)
class Task:
    """A file to hash, or a share of an archive's members; an `imgdb.workers.pool` order.

    `text` is the spelling of the path; `known` if the database has heard of it; `parts` is 0
    except for archives.
    """

    path: str
    text: str
    byte_size: int
    modified_at: datetime
    named: bool
    known: bool
    part: int = 0
    parts: int = 0
    attempts: int = 0
    member: str | None = None
    done: int = 0

    def message(self) -> object:
        """Return the order as a worker gets it."""
        return Members(self.path, self.part, self.parts, self.done) if self.parts else self.path


def picture_task(file: File, text: str, *, known: bool) -> Task:
    """Return the task for one file."""
    return Task(file.path, text, file.byte_size, file.modified_at, file.named, known)


def archive_tasks(file: File, text: str, jobs: int) -> Iterator[Task]:
    """Yield the tasks that share an archive: one for a tar, which is read from end to end."""
    parts = jobs if is_zip(file.path) else 1
    for part in range(parts):
        yield Task(
            file.path, text, file.byte_size // parts, file.modified_at, True, True, part, parts
        )
