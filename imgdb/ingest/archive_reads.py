"""Archives that are being read: which parts are still out, and what was found in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgdb.ingest.walk import File


@dataclass(slots=True)
class ArchiveRead:
    """One archive; `seen` are the spellings of its members, where they are wanted."""

    file: File
    parts_left: int
    failed: bool = False
    seen: set[str] = field(default_factory=set)


class ArchiveReads:
    """The archives in work, by their spellings."""

    def __init__(self) -> None:
        self._reads: dict[str, ArchiveRead] = {}

    def begin(self, spelling: str, file: File, parts: int) -> None:
        """Note that an archive is given out in parts."""
        self._reads[spelling] = ArchiveRead(file, parts)

    def see(self, spelling: str, member: str) -> None:
        """Note a member by its spelling."""
        self._reads[spelling].seen.add(member)

    def size(self, spelling: str) -> int:
        """Return the size of an archive in work, in bytes."""
        return self._reads[spelling].file.byte_size

    def fail(self, spelling: str) -> bool:
        """Note that a part failed; return whether it is the first one of its archive."""
        read = self._reads[spelling]
        first = not read.failed
        read.failed = True
        return first

    def end_part(self, spelling: str) -> ArchiveRead | None:
        """Note that a part has ended; return the archive if it was the last one."""
        read = self._reads[spelling]
        read.parts_left -= 1
        return self._reads.pop(spelling) if read.parts_left == 0 else None
