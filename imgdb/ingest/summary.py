"""What a run of ingest did, in numbers and in failures."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

# Of more files than these, copies are looked for among all images.
FEW = 10_000


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that failed: the spelling of its path, the reason in words, and its kind (REASONS)."""

    path: str
    reason: str
    kind: str


@dataclass(slots=True)
class Summary:
    """Files (and members of archives) by what became of them.

    `moved` ones were known at another path, `missing` ones were there once, `outdated` ones are
    among the unchanged and of another recipe.
    """

    added: int = 0
    updated: int = 0
    moved: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    missing: int = 0
    outdated: int = 0
    failures: list[Failed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # Folders that were left out because they hold what was taken away.
    trashes: list[str] = field(default_factory=list)
    stopped: bool = False
    # Of what was hashed, as long as it is little: the SHA-256 and the phash.
    digests: list[bytes] = field(default_factory=list)
    phashes: list[int] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Files that were dealt with."""
        return self.succeeded + self.failed + self.skipped

    @property
    def succeeded(self) -> int:
        """Files that are searchable."""
        return self.added + self.updated + self.moved + self.unchanged

    def note_hashed(self, sha256: bytes, phash: int | None) -> None:
        """Note what a file is, to look for its copies."""
        if len(self.digests) <= FEW:
            self.digests.append(sha256)
            if phash is not None:
                self.phashes.append(phash)

    def fail(self, path: str, kind: str, words: str) -> None:
        """Count a failure."""
        self.failed += 1
        self.failures.append(Failed(path, words, kind))

    def add(self, part: Summary) -> None:
        """Add what another run did."""
        for column in fields(Summary):
            both = getattr(self, column.name) + getattr(part, column.name)
            setattr(self, column.name, both)
        self.stopped = bool(self.stopped)
