"""Bring files and the database in step: walk, compare, hash, store, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from imgdb import prune, walk
from imgdb.errors import PictureError, UsageError
from imgdb.fingerprint import Fingerprint
from imgdb.hashing import ALGORITHMS
from imgdb.loader import MAX_PIXELS, Decode, explain, path_text
from imgdb.messages import Settings
from imgdb.pool import Answer, Pool, available_cores
from imgdb.stopping import Stopping
from imgdb.store import Batch, Failure, State, Store
from imgdb.walk import File, Found, Skipped, Unreadable

# Files compared at once, and rows stored at once.
COMPARE_FILES = 1000
BATCH_ROWS = 5000

# Seconds after which what was found is looked at and stored, however little it is.
COMPARE_SECONDS = 0.5
BATCH_SECONDS = 2.0

# An idle worker has half of this resident.
LEAST_MEMORY = 128 << 20

# Reasons that a second look at the same bytes would find again, after as much work. The others
# cost little to try again, or depend on more than the file: rights, options, the disk.
LASTING = frozenset({"truncated", "broken", "crashed", "timeout", "no-memory"})

# What a file is that is no picture at all.
NO_PICTURE = frozenset({"unknown-format", "empty", "not-a-file"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ingest: `memory` in bytes and `timeout` in seconds are for one worker, one picture."""

    collection: str = "default"
    jobs: int | None = None
    decode: Decode = "exact"
    algorithms: tuple[str, ...] = ALGORITHMS
    max_pixels: int = MAX_PIXELS
    memory: int = 2 << 30
    timeout: float = 60
    prune: bool = False
    retry: bool = False

    def __post_init__(self) -> None:
        if unknown := set(self.algorithms) - set(ALGORITHMS):
            known = ", ".join(ALGORITHMS)
            raise UsageError(f"no such hash: {', '.join(sorted(unknown))}; choose from {known}")
        if not self.algorithms:
            raise UsageError("no hash to make; choose from " + ", ".join(ALGORITHMS))
        if not self.collection.strip():
            raise UsageError("a collection needs a name")
        if self.memory < LEAST_MEMORY:
            least = LEAST_MEMORY >> 20
            raise UsageError(f"--worker-memory is at least {least}M: an idle worker takes half")

    def pool(self) -> Pool[Task]:
        """Return the workers for these options."""
        settings = Settings(self.decode, self.algorithms, self.max_pixels, self.memory)
        return Pool(settings, jobs=self.jobs or available_cores(), timeout=self.timeout)


@dataclass(slots=True)
class Task:
    """A file to hash; `known` if the database has heard of it."""

    path: str
    text: str
    byte_size: int
    modified_at: datetime
    named: bool
    known: bool
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A path that failed: the reason in words, and its class as in imgdb.loader.REASONS."""

    path: str
    reason: str
    kind: str


@dataclass(slots=True)
class Summary:
    """What a run did, in files."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    skipped: int = 0
    missing: int = 0
    failures: list[Failed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def done(self) -> int:
        """Files that were dealt with."""
        return self.added + self.updated + self.unchanged + self.failed + self.skipped

    @property
    def succeeded(self) -> int:
        """Files that are searchable."""
        return self.added + self.updated + self.unchanged


def ingest(
    conn: psycopg.Connection[Any],
    paths: Iterable[str],
    *,
    options: Options,
    listed: Iterator[str | None] | None = None,
    stopping: Stopping | None = None,
    watching: Callable[[int, int], None] = lambda done, failed: None,
) -> Summary:
    """Ingest files and folders, and those that `listed` yields (None: nothing more so far).

    Raises UsageError, before anything is done, when there is nothing at one of `paths`.
    `watching` is told several times a second how many files are done, and how many of them failed.
    """
    named = [walk.absolute(path) for path in paths]
    walk.check_named(named)
    with options.pool() as pool:
        run = Run(conn, pool, options, stopping or Stopping(), watching)
        run.files(walk.walk(named))
        if listed is not None:
            run.files(walk.walk_list(listed))
        if options.prune:
            run.prune(named)
    return run.summary


class Run:
    """One run of ingest over one collection, on one connection."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        pool: Pool[Task],
        options: Options,
        stopping: Stopping,
        watching: Callable[[int, int], None] = lambda done, failed: None,
    ) -> None:
        self.summary = Summary()
        self._store = Store(conn, options.collection)
        self._pool = pool
        self._options = options
        self._stopping = stopping
        self._watching = watching
        self._batch = Batch()
        self._stored_at = time.monotonic()
        # Paths that were found and are not stored yet, so that nothing is hashed twice at once.
        self._in_work: set[str] = set()

    def files(self, found: Iterator[Found | None]) -> None:
        """Bring what was found in step; stops early, with all that is done stored, when asked."""
        for answers in self._pool.run(self._tasks(found)):
            for answer in answers:
                self._take(answer)
            due = time.monotonic() - self._stored_at > BATCH_SECONDS
            if len(self._batch) >= BATCH_ROWS or due:
                self._flush()
            self._watching(self.summary.done + len(self._batch.images), self.summary.failed)
            if self._stopping.asked:
                self.summary.stopped = True
                break
        self._flush()

    def prune(self, named: Iterable[str]) -> None:
        """Mark as missing what is gone from the folders among `named`."""
        for folder in prune.folders(named):
            if self.summary.stopped:
                return
            try:
                self.summary.missing += prune.prune(self._store, folder, self._stopping)
            except prune.NotPruned as error:
                self.summary.notes.append(str(error))

    def _tasks(self, found: Iterator[Found | None]) -> Iterator[Task | None]:
        for files in self._gather(found):
            yield from self._compare(files)
            yield None

    def _gather(self, found: Iterator[Found | None]) -> Iterator[list[File]]:
        """Yield the files in batches that neither grow nor wait too long."""
        files: list[File] = []
        begun = time.monotonic()
        for item in found:
            if isinstance(item, File):
                files.append(item)
            elif isinstance(item, Skipped):
                self.summary.skipped += 1
            elif isinstance(item, Unreadable):
                self._unreadable(item)
            waited = item is None or time.monotonic() - begun > COMPARE_SECONDS
            if len(files) >= COMPARE_FILES or waited:
                yield files
                files = []
                begun = time.monotonic()
        yield files

    def _compare(self, files: list[File]) -> Iterator[Task]:
        """Yield a task for each file that must be hashed."""
        by_text = {path_text(file.path): file for file in files}
        texts = [text for text in by_text if text not in self._in_work]
        files = [by_text[text] for text in texts]
        states = self._store.compare(
            texts, [file.byte_size for file in files], [file.modified_at for file in files]
        )
        self.summary.unchanged += len(files) - len(states)
        # Old disks and cold caches read files fastest in the order in which they were written.
        for position in sorted(states, key=lambda position: files[position].inode):
            text, file, state = texts[position], files[position], states[position]
            if state.state == "found":
                self._batch.found.append(text)
                self.summary.updated += 1
            elif self._lasts(state):
                self._fail(text, str(state.reason), str(state.detail))
            elif file.byte_size == 0 and not self._matters(file, known=state.state != "new"):
                self.summary.skipped += 1
            else:
                self._in_work.add(text)
                yield Task(
                    file.path,
                    text,
                    file.byte_size,
                    file.modified_at,
                    file.named,
                    known=state.state != "new",
                )

    def _lasts(self, state: State) -> bool:
        return state.state == "failed" and state.reason in LASTING and not self._options.retry

    def _take(self, answer: Answer[Task]) -> None:
        task, outcome = answer.order, answer.outcome
        if isinstance(outcome, Fingerprint):
            self._batch.images[task.text] = outcome
        elif self._is_quiet(task, outcome):
            self._in_work.discard(task.text)
            self.summary.skipped += 1
        else:
            self._fail(task.text, outcome.reason, explain(outcome))
            if outcome.reason == "missing":
                self._in_work.discard(task.text)
            else:
                self._batch.failures[task.text] = Failure(
                    task.text, outcome.reason, explain(outcome), task.byte_size, task.modified_at
                )

    def _is_quiet(self, task: Task, error: PictureError) -> bool:
        """Tell whether nobody needs to hear of it: no picture, and no sign that it should be."""
        if error.reason == "missing":
            return not task.named
        return error.reason in NO_PICTURE and not self._matters(task, known=task.known)

    @staticmethod
    def _matters(file: File | Task, *, known: bool) -> bool:
        """Tell whether somebody may expect the file to be a picture."""
        return file.named or known or walk.looks_like_picture(file.path)

    def _unreadable(self, item: Unreadable) -> None:
        # Not stored: that table says why a file is not searchable, and this may be a folder.
        if item.error.reason == "missing" and not item.named:
            self.summary.skipped += 1
        else:
            self._fail(path_text(item.path), item.error.reason, explain(item.error))

    def _fail(self, text: str, kind: str, words: str) -> None:
        self.summary.failed += 1
        self.summary.failures.append(Failed(text, words, kind))

    def _flush(self) -> None:
        if len(self._batch):
            batch, self._batch = self._batch, Batch()
            stored = self._store.store(batch)
            self.summary.added += stored.added
            self.summary.updated += stored.updated
            # Somebody else has stored the same in the meantime.
            self.summary.unchanged += len(batch.images) - stored.added - stored.updated
            self._in_work -= batch.images.keys() | batch.failures.keys()
        self._stored_at = time.monotonic()
