"""Bring files and the database in step, batch by batch: walk -> todo -> pool -> store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import psycopg

from imgdb.errors import PictureError
from imgdb.hashes.fingerprint import Fingerprint
from imgdb.ingest import moves, prune, walk
from imgdb.ingest.options import Options
from imgdb.ingest.store import Batch, Failure, Store
from imgdb.ingest.summary import Summary
from imgdb.ingest.task import IngestTask
from imgdb.ingest.todo import Todo, may_be_picture
from imgdb.ingest.walk import WalkItem
from imgdb.paths import absolute, is_too_long, path_from_text
from imgdb.pictures.archives import INSIDE, member_text
from imgdb.pictures.reasons import reason_in_words
from imgdb.stopping import Stopping
from imgdb.workers.messages import Outcome, Recognised
from imgdb.workers.pool import Pool
from imgdb.workers.process import Answer

# Rows stored at once, and the seconds after which fewer are stored.
BATCH_ROWS = 5000
BATCH_SECONDS = 2.0

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
    paths = [absolute(path) for path in paths]
    walk.check_named(paths)
    with options.pool() as pool:
        run = Run(conn, pool, options, stopping or Stopping(), watching)
        run.files(walk.walk(paths, options.exclusion))
        if listed is not None:
            run.files(walk.walk_list(listed, options.exclusion))
        if options.prune:
            run.prune(paths)
    return run.summary


class Run:
    """One run of ingest over one collection, on one connection.

    `todo` decides which files are hashed. `rewrite` stores also what the database holds already.
    """

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        pool: Pool[IngestTask],
        options: Options,
        stopping: Stopping,
        watching: Callable[[int, int], None] = lambda done, failed: None,
        *,
        rewrite: bool = False,
    ) -> None:
        self.summary = Summary()
        self._store = Store(conn, options.collection)
        self._batch = Batch()
        self.todo = Todo(self._store, options, self.summary, self._batch, rewrite=rewrite)
        self._pool = pool
        self._with_prune = options.prune
        self._exclusion = options.exclusion
        self._stopping = stopping
        self._watching = watching
        self._rewrite = rewrite
        self._stored_at = time.monotonic()
        self._again: list[IngestTask] = []

    def files(self, found: Iterator[WalkItem | None]) -> None:
        """Bring what was found in step."""
        self.hash(self.todo.tasks(found))

    def hash(self, tasks: Iterator[IngestTask | None]) -> None:
        """Hash and store; stops early, with all that is done stored, when asked."""
        more: Iterable[IngestTask | None] = tasks
        while more and not self.summary.stopped:
            for answers in self._pool.run(more):
                for answer in answers:
                    self._take(answer)
                due = time.monotonic() - self._stored_at > BATCH_SECONDS
                if len(self._batch) >= BATCH_ROWS or due:
                    self._flush()
                in_batch = len(self._batch.images) + len(self._batch.moves)
                self._watching(self.summary.done + in_batch, self.summary.failed)
                if self._stopping.asked:
                    self.summary.stopped = True
                    break
            self._flush()
            more, self._again = self._again, []

    def prune(self, paths: Iterable[str]) -> None:
        """Mark as missing what is gone from the folders among paths."""
        for folder in prune.folders(paths):
            if self.summary.stopped:
                return
            pruned = prune.prune(self._store, folder, self._exclusion, self._stopping)
            self.summary.missing += pruned.missing
            self.summary.notes += pruned.notes()

    def forget(self, paths: Iterable[str]) -> None:
        """Mark as missing what was at these paths and below."""
        for path in paths:
            self.summary.missing += prune.forget(self._store, path)

    def _take(self, answer: Answer[IngestTask]) -> None:
        task, outcome = answer.task, answer.outcome
        if answer.member is not None:
            self._take_member(task, answer.member, outcome)
        elif task.parts:
            self._take_part(task, outcome)
        elif isinstance(outcome, Recognised):
            if not self._move(task, outcome, whole=True):
                self._hash_after_all(task)
        elif isinstance(outcome, Fingerprint):
            self._move(task, outcome, whole=False)
            self._batch.images[task.spelling] = outcome
        elif isinstance(outcome, PictureError) and _is_quiet(task, outcome):
            self.todo.in_work.discard(task.spelling)
            self.summary.skipped += 1
        elif isinstance(outcome, PictureError):
            self._fail(task.spelling, outcome, task)

    def _move(self, task: IngestTask, found: Recognised | Fingerprint, *, whole: bool) -> bool:
        """Note where a file was before, if it was elsewhere."""
        known = moves.take(task.lost, found.sha256, task.spelling, whole=whole)
        if known is not None:
            self._batch.moves[task.spelling] = known, found.modified_at
        return known is not None

    def _hash_after_all(self, task: IngestTask) -> None:
        """Have a file hashed that is a copy of one that turned out to be where it was."""
        self._again.append(replace(task, lost=[]))

    def _take_member(self, task: IngestTask, name: str, outcome: Outcome | None) -> None:
        spelling = member_text(task.spelling, name)
        if self._exclusion.hides(task.path + INSIDE + name, task.path):
            self.summary.skipped += 1
            return
        if self._with_prune:
            self.todo.archives.see(task.spelling, spelling)
        if isinstance(outcome, Fingerprint) and is_too_long(spelling):
            self._fail(spelling, PictureError("long-path"))
        elif isinstance(outcome, Fingerprint):
            self._batch.images[spelling] = outcome
        elif isinstance(outcome, PictureError):
            if outcome.reason in NO_PICTURE and not walk.looks_like_picture(name):
                self.summary.skipped += 1
            else:
                self._fail(spelling, outcome)

    def _take_part(self, task: IngestTask, outcome: Outcome | None) -> None:
        if isinstance(outcome, PictureError) and self.todo.archives.fail(task.spelling):
            self._fail(task.spelling, outcome, task)
        if read := self.todo.archives.end_part(task.spelling):
            self.todo.in_work.discard(task.spelling)
            if not read.failed:
                file = read.file
                self._batch.archives.append((task.spelling, file.byte_size, file.modified_at))
                if self._with_prune:
                    gone = prune.members_gone(self._store, task.spelling, read.seen)
                    self.summary.missing += gone

    def _fail(self, spelling: str, error: PictureError, task: IngestTask | None = None) -> None:
        words = reason_in_words(error)
        self.summary.fail(spelling, error.reason, words)
        if error.reason == "missing":
            self.todo.in_work.discard(spelling)
        elif not is_too_long(spelling):
            size, time = (task.byte_size, task.modified_at) if task else (None, None)
            if task and task.parts:
                size = self.todo.archives.size(spelling)
            self._batch.failures[spelling] = Failure(spelling, error.reason, words, size, time)

    def _flush(self) -> None:
        batch = self._batch
        if len(batch):
            stored, late = self._store.store(batch, rewrite=self._rewrite)
            for spelling in batch.moves.keys() - batch.images.keys():
                self._count_move(spelling, late)
            for image in batch.images.values():
                self.summary.note_hashed(image.sha256, image.phash)
            self.summary.added += stored.added
            self.summary.updated += stored.updated
            # Somebody else has stored the same in the meantime.
            self.summary.unchanged += len(batch.images) - stored.added - stored.updated
            self.todo.in_work -= batch.images.keys() | batch.failures.keys() | batch.moves.keys()
            batch.clear()
        self._stored_at = time.monotonic()

    def _count_move(self, spelling: str, late: set[str]) -> None:
        known, modified_at = self._batch.moves[spelling]
        if spelling in late:
            task = IngestTask(
                path=path_from_text(spelling),
                spelling=spelling,
                byte_size=known.byte_size,
                modified_at=modified_at,
            )
            self._again.append(task)
        elif spelling == known.path:
            self.summary.updated += 1
        else:
            self.summary.moved += 1


def _is_quiet(task: IngestTask, error: PictureError) -> bool:
    """Tell whether nobody needs to hear of it: no picture, and no sign that it should be."""
    if error.reason == "missing":
        return not task.named
    return error.reason in NO_PICTURE and not may_be_picture(task, known=task.known)
