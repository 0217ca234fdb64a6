"""Keep folders and the database in step, change by change, until somebody says stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import watchfiles
from watchfiles import Change

from imgdb.errors import ImgdbError
from imgdb.ingest import prune, walk
from imgdb.ingest.options import Options
from imgdb.ingest.run import Run
from imgdb.ingest.settling import Settling
from imgdb.ingest.summary import Summary
from imgdb.ingest.task import IngestTask
from imgdb.ingest.walk import WalkItem
from imgdb.paths import absolute, is_below, path_text
from imgdb.stopping import Stopping
from imgdb.trashes import trash_of
from imgdb.workers.pool import Pool

# Milliseconds: changes that come in one go are looked at together, but none waits longer than that.
TOGETHER, STEP = 800, 50

# Milliseconds until a watch that has nothing to tell comes back to see whether it should stop.
IDLE = 500

# The kernel drops changes when too many come at once. Beyond this everything is compared.
MANY = 1000

Changes = set[tuple[Change, str]]


class Watch:
    """Folders and files that are followed; `told` gets the summary of everything that happens."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        paths: Iterable[str],
        options: Options,
        stopping: Stopping,
        told: Callable[[Summary], None],
    ) -> None:
        self._conn = conn
        self._paths = [absolute(path) for path in paths]
        walk.check_named(self._paths)
        self._options = options
        self._stopping = stopping
        self._told = told
        self._summary = Summary()
        self._settling = Settling()

    def run(self) -> Summary:
        """Follow the changes until asked to stop; return what was done in all."""
        lost: set[str] = set()
        with self._options.pool() as pool:
            while not self._stopping.asked:
                there = [path for path in self._paths if Path(path).exists()]
                self._tell_lost(set(self._paths) - set(there), lost)
                if there:
                    self._follow(there, pool)
                else:
                    time.sleep(IDLE / 1000)
        return self._summary

    def _tell_lost(self, now: set[str], before: set[str]) -> None:
        for path in sorted(now - before):
            self._tell_note(
                f"{path_text(path)} is gone; its images stay as they are until it is back"
            )
        for path in sorted(before - now):
            self._tell_note(f"{path_text(path)} is back")
        before.clear()
        before.update(now)

    def _tell_note(self, words: str) -> None:
        self._told(Summary(notes=[words]))

    def _follow(self, there: list[str], pool: Pool[IngestTask]) -> None:
        """Follow paths as long as the same ones are there."""
        batches = self._batches(there)
        # Watch first and compare then, so that no change falls in between.
        next(batches, None)
        self._compare(pool, there)
        for changes in batches:
            if [path for path in self._paths if Path(path).exists()] != there:
                return
            if len(changes) > MANY:
                self._compare(pool, there)
                continue
            waited = self._settling.waited(self._look_again)
            changed = self._settling.changed(self._found(changes, there))
            found = [*waited, *changed]
            if found or changes:
                self._do(pool, iter(found), [], _gone(changes))

    def _compare(self, pool: Pool[IngestTask], there: list[str]) -> None:
        """Bring all in step, whatever happened."""
        found = walk.walk(there, self._options.exclusion)
        self._do(pool, self._settling.quiet(found), there)

    def _batches(self, there: list[str]) -> Iterator[Changes]:
        try:
            yield from watchfiles.watch(
                *there,
                watch_filter=None,
                debounce=TOGETHER,
                step=STEP,
                rust_timeout=IDLE,
                yield_on_timeout=True,
                stop_event=self._stopping,
                raise_interrupt=False,
            )
        except FileNotFoundError:
            # Gone since it was looked for.
            return
        except (OSError, RuntimeError) as error:
            # The library cannot say which path it was: everything is compared.
            if str(error).startswith("Unable to decode path"):
                return
            raise ImgdbError(f"cannot watch: {error}") from error

    def _do(
        self,
        pool: Pool[IngestTask],
        found: Iterator[WalkItem],
        folders: Iterable[str],
        gone: Iterable[str] = (),
    ) -> None:
        run = Run(self._conn, pool, self._options, self._stopping)
        run.files(found)
        run.prune(folders)
        run.forget(gone)
        self._summary.add(run.summary)
        # The next round does the rest, if there is one.
        self._summary.stopped = False
        self._told(run.summary)

    def _found(self, changes: Changes, there: list[str]) -> Iterator[WalkItem]:
        """Yield what is at the paths that changed; new folders with all that is in them."""
        exclusion = self._options.exclusion
        for kind, path in sorted(changes, key=lambda change: change[1]):
            roots = [root for root in there if is_below(path, root)]
            hidden = roots and all(exclusion.hides(path, root) for root in roots)
            if not hidden and not trash_of(path) and not _behind_link(path, roots):
                yield from walk.spot(path, exclusion, folders=kind is Change.added)

    def _look_again(self, path: str) -> Iterator[WalkItem]:
        return walk.spot(path, self._options.exclusion, folders=False)


def _gone(changes: Changes) -> list[str]:
    return sorted(path for _, path in changes if prune.is_surely_gone(path))


def _behind_link(path: str, roots: list[str]) -> bool:
    """Tell whether the way to a path from each of the roots leads through a linked folder.

    A walk would not follow it.
    """
    return bool(roots) and not any(
        all(not parent.is_symlink() for parent in Path(path).parents if root in parent.parents)
        for root in map(Path, roots)
    )
