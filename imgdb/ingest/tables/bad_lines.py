"""What is wrong with a file that somebody gave, line by line."""

from dataclasses import dataclass, field

from imgdb.errors import ImgdbError

# So many bad lines are told; more are only counted.
TOLD = 20


@dataclass(slots=True)
class Complaints:
    """What is wrong with a file, by line; in Parquet a line is a row, counted from 1."""

    count: int = 0
    _told: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, words: str) -> None:
        """Note a bad line."""
        self.count += 1
        if len(self._told) < TOLD:
            self._told.append((line, words))

    def told(self) -> list[str]:
        """Return the first bad lines in words."""
        return [f"line {line}: {words}" for line, words in sorted(self._told)]


class BadLines(ImgdbError):
    """A file with bad lines; `told` are the first of them. Nothing was written."""

    def __init__(self, file: str, complaints: Complaints) -> None:
        lines = "1 bad line" if complaints.count == 1 else f"{complaints.count:,} bad lines"
        super().__init__(f"{lines} in {file}, so nothing was imported")
        self.told = complaints.told()
