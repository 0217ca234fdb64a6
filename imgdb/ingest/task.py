"""A file that ingest wants hashed, from its discovery until it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from imgdb.ingest.walk import File
from imgdb.pictures.archives import is_zip
from imgdb.workers.messages import Members
from imgdb.workers.task import Task


@dataclass(slots=True, kw_only=True)
class IngestTask(Task):
    """A file to hash, or a share of an archive's members.

    `spelling` is that of the path, `named` is as in File, and `known` says whether the database
    has heard of it. `parts` is 0 except for archives.
    """

    spelling: str
    modified_at: datetime
    named: bool = True
    known: bool = True
    part: int = 0
    parts: int = 0

    def message(self) -> str | Members:
        return Members(self.path, self.part, self.parts, self.done) if self.parts else self.path


def picture_task(file: File, spelling: str, *, known: bool) -> IngestTask:
    """Return the task for one file."""
    return IngestTask(
        path=file.path,
        spelling=spelling,
        byte_size=file.byte_size,
        modified_at=file.modified_at,
        named=file.named,
        known=known,
    )


def archive_tasks(file: File, spelling: str, jobs: int) -> Iterator[IngestTask]:
    """Yield the tasks that share an archive: one for a tar, which is read from end to end."""
    parts = jobs if is_zip(file.path) else 1
    for part in range(parts):
        yield IngestTask(
            path=file.path,
            spelling=spelling,
            byte_size=file.byte_size // parts,
            modified_at=file.modified_at,
            part=part,
            parts=parts,
        )
