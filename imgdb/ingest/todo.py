"""Which files must be hashed: what a walk found, compared with what the database knows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from imgdb.errors import PictureError
from imgdb.hashes.fingerprint import recipes
from imgdb.ingest import walk
from imgdb.ingest.archive_reads import ArchiveReads
from imgdb.ingest.moves import Moves
from imgdb.ingest.options import Options
from imgdb.ingest.store import Batch, KnownFile, State, Store
from imgdb.ingest.summary import Summary
from imgdb.ingest.task import IngestTask, archive_tasks, picture_task
from imgdb.ingest.walk import File, Skipped, TrashFolder, Unreadable, WalkItem
from imgdb.paths import is_too_long, path_text
from imgdb.pictures.archives import is_archive
from imgdb.pictures.reasons import reason_in_words

# Files compared at once, and the seconds after which fewer are compared.
COMPARE_FILES = 1000
COMPARE_SECONDS = 0.5

# Reasons that a second look at the same bytes would find again, after as much work. The others
# cost little to try again, or depend on more than the file: rights, options, the disk.
LASTING = frozenset({"truncated", "broken", "crashed", "timeout", "no-memory", "encrypted", "bomb"})


class Todo:
    """What is left to do of one run; what needs no hashing is counted in `summary` at once.

    `in_work` are the spellings of files that were found and are not stored yet, so that nothing is
    hashed twice at once. `archives` are those of them that are archives.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        summary: Summary,
        batch: Batch,
        *,
        rewrite: bool = False,
    ) -> None:
        self._store = store
        self._options = options
        self._summary = summary
        self._batch = batch
        self._rewrite = rewrite
        self.in_work: set[str] = set()
        self.archives = ArchiveReads()
        self._moves = Moves(store, options)

    def tasks(self, found: Iterator[WalkItem | None]) -> Iterator[IngestTask | None]:
        """Yield a task for each file that must be hashed; None: nothing more so far."""
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
                self._summary.skipped += 1
            elif isinstance(item, Unreadable):
                self.give_up(item)
            elif isinstance(item, TrashFolder) and item.path not in self._summary.trashes:
                self._summary.trashes.append(item.path)
            waited = item is None or time.monotonic() - begun > COMPARE_SECONDS
            if len(files) >= COMPARE_FILES or waited:
                yield files
                files = []
                begun = time.monotonic()
        yield files

    def give_up(self, item: Unreadable) -> None:
        """Count what cannot be looked at."""
        # Not stored: that table says why a file is not searchable, and this may be a folder.
        if item.error.reason == "missing" and not item.named:
            self._summary.skipped += 1
        else:
            self._fail(path_text(item.path), item.error)

    def _compare(self, files: list[File]) -> Iterator[IngestTask]:
        by_spelling = {path_text(file.path): file for file in files}
        for spelling in [*filter(is_too_long, by_spelling)]:
            if may_be_picture(by_spelling.pop(spelling), known=False):
                self._fail(spelling, PictureError("long-path"))
            else:
                self._summary.skipped += 1
        spellings = [spelling for spelling in by_spelling if spelling not in self.in_work]
        files = [by_spelling[spelling] for spelling in spellings]
        states = self._store.compare(
            spellings,
            [file.byte_size for file in files],
            [file.modified_at for file in files],
            recipes(self._options.decode),
            self._options.region_recipe,
            self._options.pdq,
        )
        self._summary.unchanged += len(files) - len(states)
        asked = [files[at] for at, state in states.items() if state.state in ("new", "changed")]
        lost = self._moves.lost(asked) if asked else {}
        # Old disks and cold caches read files fastest in the order in which they were written.
        for position in sorted(states, key=lambda position: files[position].inode):
            file = files[position]
            yield from self._decide(
                spellings[position], file, states[position], lost.get(file.byte_size, [])
            )

    def _decide(
        self, spelling: str, file: File, state: State, lost: list[KnownFile]
    ) -> Iterator[IngestTask]:
        known = state.state != "new"
        if state.state == "found":
            self._batch.found.append(spelling)
            self._summary.updated += 1
        elif state.state == "outdated":
            self._summary.unchanged += 1
            self._summary.outdated += 1
        elif self._lasts(state):
            self._summary.fail(spelling, str(state.reason), str(state.detail))
        elif self._options.archives and is_archive(file.path):
            yield from self.archive(spelling, file)
        elif file.byte_size == 0 and not may_be_picture(file, known=known):
            self._summary.skipped += 1
        else:
            self.in_work.add(spelling)
            yield picture_task(file, spelling, known=known, lost=lost)

    def _lasts(self, state: State) -> bool:
        return state.state == "failed" and state.reason in LASTING and not self._options.retry

    def archive(self, spelling: str, file: File) -> Iterator[IngestTask]:
        """Yield the tasks for an archive, unless it was read and has not changed."""
        known = None
        if not self._options.retry and not self._rewrite:
            known = self._store.known_members(
                spelling,
                file.byte_size,
                file.modified_at,
                self._options.region_recipe,
                self._options.pdq,
            )
        if known is None:
            tasks = list(archive_tasks(file, spelling, self._options.workers))
            self.archives.begin(spelling, file, len(tasks))
            self.in_work.add(spelling)
            yield from tasks
            return
        self._summary.unchanged += known.images
        for failed in zip(
            known.failed_paths, known.failed_reasons, known.failed_details, strict=True
        ):
            self._summary.fail(*failed)

    def _fail(self, spelling: str, error: PictureError) -> None:
        self._summary.fail(spelling, error.reason, reason_in_words(error))


def may_be_picture(file: File | IngestTask, *, known: bool) -> bool:
    """Tell whether somebody may expect a file to be a picture."""
    return file.named or known or walk.looks_like_picture(file.path)
