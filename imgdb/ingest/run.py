"""Bring files and the database in step: walk, compare, hash, store, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg

from imgdb.errors import PictureError
from imgdb.hashes.fingerprint import RECIPES, Fingerprint
from imgdb.ingest import prune, walk
from imgdb.ingest.archive_reads import ArchiveReads
from imgdb.ingest.options import Options
from imgdb.ingest.store import Batch, Failure, State, Store
from imgdb.ingest.summary import Summary
from imgdb.ingest.task import Task, archive_tasks, picture_task
from imgdb.ingest.walk import File, Skipped, Unreadable, WalkItem
from imgdb.paths import absolute, is_too_long, path_text
from imgdb.pictures.archives import is_archive, member_text
from imgdb.pictures.reasons import reason_in_words
from imgdb.stopping import Stopping
from imgdb.workers.messages import Outcome
from imgdb.workers.pool import Pool
from imgdb.workers.process import Answer

# Files compared at once, and rows stored at once.
COMPARE_FILES = 1000
BATCH_ROWS = 5000

# Seconds after which what was found is looked at and stored, however little it is.
COMPARE_SECONDS = 0.5
BATCH_SECONDS = 2.0

# Reasons that a second look at the same bytes would find again, after as much work. The others
# cost little to try again, or depend on more than the file: rights, options, the disk.
LASTING = frozenset({"truncated", "broken", "crashed", "timeout", "no-memory", "encrypted", "bomb"})

# What a file is that is no picture at all.
NO_PICTURE = frozenset({"unknown-format", "empty", "not-a-file"})


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
    named = [absolute(path) for path in paths]
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
        *,
        rewrite: bool = False,
    ) -> None:
        self.summary = Summary()
        self._store = Store(conn, options.collection)
        self._pool = pool
        self._options = options
        self._stopping = stopping
        self._watching = watching
        self._rewrite = rewrite
        self._archives = ArchiveReads()
        self._batch = Batch()
        self._stored_at = time.monotonic()
        # Paths that were found and are not stored yet, so that nothing is hashed twice at once.
        self._in_work: set[str] = set()

    def files(self, found: Iterator[WalkItem | None]) -> None:
        """Bring what was found in step."""
        self.hash(self._tasks(found))

    def hash(self, tasks: Iterator[Task | None]) -> None:
        """Hash and store; stops early, with all that is done stored, when asked."""
        for answers in self._pool.run(tasks):
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

    def forget(self, gone: Iterable[str]) -> None:
        """Mark as missing what was at these paths and below."""
        for path in gone:
            self.summary.missing += prune.forget(self._store, path)

    def _tasks(self, found: Iterator[WalkItem | None]) -> Iterator[Task | None]:
        for files in self._gather(found):
            yield from self._compare(files)
            yield None

    def _gather(self, found: Iterator[WalkItem | None]) -> Iterator[list[File]]:
        """Yield the files in batches that neither grow nor wait too long."""
        files: list[File] = []
        begun = time.monotonic()
        for item in found:
            if isinstance(item, File):
                files.append(item)
            elif isinstance(item, Skipped):
                self.summary.skipped += 1
            elif isinstance(item, Unreadable):
                self.give_up(item)
            waited = item is None or time.monotonic() - begun > COMPARE_SECONDS
            if len(files) >= COMPARE_FILES or waited:
                yield files
                files = []
                begun = time.monotonic()
        yield files

    def _compare(self, files: list[File]) -> Iterator[Task]:
        """Yield a task for each file that must be hashed."""
        by_text = {path_text(file.path): file for file in files}
        for text in [*filter(is_too_long, by_text)]:
            file = by_text.pop(text)
            if self._matters(file, known=False):
                self._fail(text, PictureError("long-path"))
            else:
                self.summary.skipped += 1
        texts = [text for text in by_text if text not in self._in_work]
        files = [by_text[text] for text in texts]
        states = self._store.compare(
            texts,
            [file.byte_size for file in files],
            [file.modified_at for file in files],
            RECIPES[self._options.decode],
            self._options.region_recipe,
        )
        self.summary.unchanged += len(files) - len(states)
        # Old disks and cold caches read files fastest in the order in which they were written.
        for position in sorted(states, key=lambda position: files[position].inode):
            yield from self._sort(texts[position], files[position], states[position])

    def _sort(self, text: str, file: File, state: State) -> Iterator[Task]:
        known = state.state != "new"
        if state.state == "found":
            self._batch.found.append(text)
            self.summary.updated += 1
        elif state.state == "outdated":
            self.summary.unchanged += 1
            self.summary.outdated += 1
        elif self._lasts(state):
            self.summary.fail(text, str(state.reason), str(state.detail))
        elif self._options.archives and is_archive(file.path):
            yield from self.archive(text, file)
        elif file.byte_size == 0 and not self._matters(file, known=known):
            self.summary.skipped += 1
        else:
            self._in_work.add(text)
            yield picture_task(file, text, known=known)

    def archive(self, text: str, file: File) -> Iterator[Task]:
        """Yield the tasks for an archive, unless it was read and has not changed."""
        known = None
        if not self._options.retry and not self._rewrite:
            known = self._store.known_members(
                text, file.byte_size, file.modified_at, self._options.region_recipe
            )
        if known is None:
            tasks = list(archive_tasks(file, text, self._options.workers))
            self._archives.begin(text, file, len(tasks))
            self._in_work.add(text)
            yield from tasks
            return
        self.summary.unchanged += known.images
        for failed in zip(
            known.failed_paths, known.failed_reasons, known.failed_details, strict=True
        ):
            self.summary.fail(*failed)

    def _lasts(self, state: State) -> bool:
        return state.state == "failed" and state.reason in LASTING and not self._options.retry

    def _take(self, answer: Answer[Task]) -> None:
        task, outcome = answer.order, answer.outcome
        if answer.member is not None:
            self._take_member(task, answer.member, outcome)
        elif task.parts:
            self._take_part(task, outcome)
        elif isinstance(outcome, Fingerprint):
            self._batch.images[task.text] = outcome
        elif isinstance(outcome, PictureError) and self._is_quiet(task, outcome):
            self._in_work.discard(task.text)
            self.summary.skipped += 1
        elif isinstance(outcome, PictureError):
            self._fail(task.text, outcome, task)

    def _take_member(self, task: Task, name: str, outcome: Outcome | None) -> None:
        text = member_text(task.text, name)
        if self._options.prune:
            self._archives.see(task.text, text)
        if isinstance(outcome, Fingerprint) and is_too_long(text):
            self._fail(text, PictureError("long-path"))
        elif isinstance(outcome, Fingerprint):
            self._batch.images[text] = outcome
        elif isinstance(outcome, PictureError):
            if outcome.reason in NO_PICTURE and not walk.looks_like_picture(name):
                self.summary.skipped += 1
            else:
                self._fail(text, outcome)

    def _take_part(self, task: Task, outcome: Outcome | None) -> None:
        if isinstance(outcome, PictureError) and self._archives.fail(task.text):
            self._fail(task.text, outcome, task)
        if read := self._archives.end_part(task.text):
            self._in_work.discard(task.text)
            if not read.failed:
                file = read.file
                self._batch.archives.append((task.text, file.byte_size, file.modified_at))
                if self._options.prune:
                    gone = prune.members_gone(self._store, task.text, read.seen)
                    self.summary.missing += gone

    def _is_quiet(self, task: Task, error: PictureError) -> bool:
        """Tell whether nobody needs to hear of it: no picture, and no sign that it should be."""
        if error.reason == "missing":
            return not task.named
        return error.reason in NO_PICTURE and not self._matters(task, known=task.known)

    @staticmethod
    def _matters(file: File | Task, *, known: bool) -> bool:
        """Tell whether somebody may expect the file to be a picture."""
        return file.named or known or walk.looks_like_picture(file.path)

    def give_up(self, item: Unreadable) -> None:
        """Count what cannot be looked at."""
        # Not stored: that table says why a file is not searchable, and this may be a folder.
        if item.error.reason == "missing" and not item.named:
            self.summary.skipped += 1
        else:
            self.summary.fail(path_text(item.path), item.error.reason, reason_in_words(item.error))

    def _fail(self, text: str, error: PictureError, task: Task | None = None) -> None:
        words = reason_in_words(error)
        self.summary.fail(text, error.reason, words)
        if error.reason == "missing":
            self._in_work.discard(text)
        elif not is_too_long(text):
            size, time = (task.byte_size, task.modified_at) if task else (None, None)
            if task and task.parts:
                size = self._archives.size(text)
            self._batch.failures[text] = Failure(text, error.reason, words, size, time)

    def _flush(self) -> None:
        if len(self._batch):
            batch, self._batch = self._batch, Batch()
            stored = self._store.store(batch, rewrite=self._rewrite)
            self.summary.added += stored.added
            self.summary.updated += stored.updated
            # Somebody else has stored the same in the meantime.
            self.summary.unchanged += len(batch.images) - stored.added - stored.updated
            self._in_work -= batch.images.keys() | batch.failures.keys()
        self._stored_at = time.monotonic()
