"""A file that ingest wants hashed, from its discovery until it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from imgdb.ingest.store import KnownFile
from imgdb.ingest.walk import File
from imgdb.pictures.archives import is_zip
from imgdb.workers.messages import Members, Recognise
from imgdb.workers.task import Task

# Files of one size that a worker can tell a file from; one that it does not know is decoded.
MOST_DIGESTS = 1000


@dataclass(slots=True, kw_only=True)
class IngestTask(Task):
    """A file to hash, or a share of an archive's members.

    `spelling` is that of the path, `named` is as in File, and `known` says whether the database
    has heard of it. `lost` are files of its size that are not where they were: it may be one of
    them. `parts` is 0 except for archives.
    """

    spelling: str
    modified_at: datetime
    named: bool = True
    known: bool = True
    lost: list[KnownFile] = field(default_factory=list)
    part: int = 0
    parts: int = 0

    def message(self) -> str | Members | Recognise:
        if self.parts:
            return Members(self.path, self.part, self.parts, self.done)
        # Those of the same time are the likely ones, if there are many.
        likely = sorted(self.lost, key=lambda lost: lost.modified_at != self.modified_at)
        digests = frozenset(lost.sha256 for lost in likely[:MOST_DIGESTS] if lost.complete)
        return Recognise(self.path, digests) if digests else self.path


def picture_task(
    file: File, spelling: str, *, known: bool, lost: list[KnownFile] | None = None
) -> IngestTask:
    """Return the task for one file."""
    return IngestTask(
        path=file.path,
        spelling=spelling,
        byte_size=file.byte_size,
        modified_at=file.modified_at,
        named=file.named,
        known=known,
        lost=lost or [],
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
