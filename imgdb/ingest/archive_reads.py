"""Archives that are being read: which parts are still out, and what was found in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgdb.ingest.walk import File


@dataclass(slots=True)
class ArchiveRead:
    """One archive; `seen` are the spelled paths of its members, where they are wanted."""

    file: File
    parts_left: int
    failed: bool = False
    seen: set[str] = field(default_factory=set)


class ArchiveReads:
    """The archives in work, by the spelling of their paths."""

    def __init__(self) -> None:
        self._readings: dict[str, ArchiveRead] = {}

    def begin(self, text: str, file: File, parts: int) -> None:
        """Note that an archive is given out in parts."""
        self._readings[text] = ArchiveRead(file, parts)

    def see(self, text: str, member: str) -> None:
        """Note a member."""
        self._readings[text].seen.add(member)

    def size(self, text: str) -> int:
        """Return the size of an archive in work, in bytes."""
        return self._readings[text].file.byte_size

    def fail(self, text: str) -> bool:
        """Note that a part failed; return whether it is the first one of its archive."""
        reading = self._readings[text]
        first = not reading.failed
        reading.failed = True
        return first

    def end_part(self, text: str) -> ArchiveRead | None:
        """Note that a part has ended; return the archive if it was the last one."""
        reading = self._readings[text]
        reading.parts_left -= 1
        return self._readings.pop(text) if reading.parts_left == 0 else None
