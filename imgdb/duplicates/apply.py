"""Carry out a plan: every file is proved again before it is touched, and nothing is done twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import psycopg

from imgdb.duplicates.companions import is_named_after, others_of_stem
from imgdb.duplicates.folders import Refused, said
from imgdb.duplicates.links import place_of
from imgdb.duplicates.moving import remove
from imgdb.duplicates.plan import Plan, PlannedCompanion, PlannedFile, PlannedGroup
from imgdb.duplicates.proof import Gone, Held, digest, held_in, verified
from imgdb.duplicates.record import Damaged
from imgdb.duplicates.restoring import put_back, taken_by
from imgdb.duplicates.trash import Moving, Trash
from imgdb.paths import modified_at, path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of
from imgdb.trashes import trash_of

NOTE = "SELECT imgdb._note_file(%s, %s, modified => %s)"


class FileOutcome(StrEnum):
    """What became of a file."""

    moved = "moved"
    linked = "linked"
    deleted = "deleted"
    done_before = "done before"
    would_move = "would be moved"
    would_link = "would be linked"
    would_delete = "would be deleted"
    restored = "restored"
    refused = "refused"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a file, and of `refused` why; `line` is that of the plan, or of no plan 0."""

    path: str
    outcome: FileOutcome
    byte_size: int
    line: int = 0
    reason: str = ""


# Called right before a file goes: raises Refused unless what is kept for it is still there.
Look = Callable[[], object]


class Action(Protocol):
    """What is done with a file that is not kept."""

    outcome: FileOutcome
    foreseen: FileOutcome

    def check_plan(self, plan: Plan) -> None:
        """Raise UsageError if the plan as a whole cannot be carried out so."""

    def along(self, entry: PlannedFile) -> Sequence[PlannedCompanion]:
        """Return the files to which it is done as well."""

    def was_done(self, entry: PlannedFile, *, linked: bool) -> bool:
        """Tell whether a former run has done it, to a file that is gone or linked to the keeper."""

    def check(self, entry: PlannedFile, file: Held, keeper: Held, kept: PlannedFile) -> None:
        """Raise Refused if it cannot be done."""

    def do(self, entry: PlannedFile, file: Held, keeper: Held, look: Look) -> None:
        """Do it; raises Refused."""


class MoveToTrash:
    """Move it to a trash folder, `with_companions` also what the plan says belongs to it."""

    outcome, foreseen = FileOutcome.moved, FileOutcome.would_move

    def __init__(self, trash: Trash, *, with_companions: bool = False) -> None:
        self._trash = trash
        self._with_companions = with_companions
        self._going: frozenset[str] = frozenset()

    def check_plan(self, plan: Plan) -> None:
        self._going = frozenset(entry.file for group in plan.groups for entry in group.remove)
        self._trash.check_outside({os.path.split(file)[0] for file in self._going})

    def along(self, entry: PlannedFile) -> Sequence[PlannedCompanion]:
        return entry.companions if self._with_companions else ()

    def was_done(self, entry: PlannedFile, *, linked: bool) -> bool:
        return not linked and self._trash.holds(entry.path, entry.sha256)

    def check(self, entry: PlannedFile, file: Held, keeper: Held, kept: PlannedFile) -> None:
        self._check_shared(entry, file, self._going)
        with ExitStack() as stack:
            list(self._hold_companions(entry, file, stack))

    def do(self, entry: PlannedFile, file: Held, keeper: Held, look: Look) -> None:
        # By now those before it have gone, or were refused and stay.
        self._check_shared(entry, file, frozenset())
        with ExitStack() as stack:
            companions = [
                Moving(one.path, held, digest(held.fd))
                for one, held in self._hold_companions(entry, file, stack)
            ]
            self._trash.take(Moving(entry.path, file, entry.sha256, companions), look)

    def _check_shared(self, entry: PlannedFile, file: Held, going: frozenset[str]) -> None:
        """Raise Refused if a companion belongs to another file as well, which stays."""
        names = [os.path.split(path_from_text(one.path))[1] for one in self.along(entry)]
        if all(is_named_after(name, file.name) for name in names):
            return
        folder = os.path.split(entry.file)[0]
        for other in others_of_stem(file.name, file.folder.files()):
            if f"{folder}{os.sep}{other}" not in going:
                raise Refused(f"its companions belong to {path_text(other)} as well, which stays")

    def _hold_companions(
        self, entry: PlannedFile, file: Held, stack: ExitStack
    ) -> Iterator[tuple[PlannedCompanion, Held]]:
        """Open the companions that are still to be moved; raises Refused."""
        for one in self.along(entry):
            name = os.path.split(path_from_text(one.path))[1]
            try:
                held = stack.enter_context(held_in(file.folder, name, change=True))
                if (held.status.st_size, modified_at(held.status)) != (
                    one.byte_size,
                    one.modified_at,
                ):
                    raise Refused("it was changed since the plan was made")
            except Gone as error:
                # A run that was killed may have moved it already.
                if not self._trash.holds_companion(entry.path, one.path):
                    raise Refused(f"its companion {one.path}: {error}") from error
            except Refused as error:
                raise Refused(f"its companion {one.path}: {error}") from error
            else:
                yield one, held


class Delete:
    """Delete it."""

    outcome, foreseen = FileOutcome.deleted, FileOutcome.would_delete

    def check_plan(self, plan: Plan) -> None:
        pass

    def along(self, entry: PlannedFile) -> Sequence[PlannedCompanion]:
        return ()

    def was_done(self, entry: PlannedFile, *, linked: bool) -> bool:
        return not linked

    def check(self, entry: PlannedFile, file: Held, keeper: Held, kept: PlannedFile) -> None:
        pass

    def do(self, entry: PlannedFile, file: Held, keeper: Held, look: Look) -> None:
        look()
        remove(file)


class HardLink:
    """Make it another name of the kept file."""

    outcome, foreseen = FileOutcome.linked, FileOutcome.would_link

    def check_plan(self, plan: Plan) -> None:
        pass

    def along(self, entry: PlannedFile) -> Sequence[PlannedCompanion]:
        return ()

    def was_done(self, entry: PlannedFile, *, linked: bool) -> bool:
        return linked

    def check(self, entry: PlannedFile, file: Held, keeper: Held, kept: PlannedFile) -> None:
        if entry.sha256 != kept.sha256:
            raise Refused(f"its bytes are not those of {kept.path}: as a link they would be lost")
        if file.status.st_dev != keeper.status.st_dev:
            raise Refused(f"it is on another file system than {kept.path}")

    def do(self, entry: PlannedFile, file: Held, keeper: Held, look: Look) -> None:
        # The name is the same in every run, so that it replaces what a killed run left behind.
        made = f".{entry.sha256.hex()[:16]}.imgdb-link"
        inside = file.folder.fd
        look()
        file.check_still()
        try:
            with suppress(FileNotFoundError):
                os.unlink(made, dir_fd=inside)
            os.link(
                keeper.name,
                made,
                src_dir_fd=keeper.folder.fd,
                dst_dir_fd=inside,
                follow_symlinks=False,
            )
            os.rename(made, file.name, src_dir_fd=inside, dst_dir_fd=inside)
        except OSError as error:
            with suppress(OSError):
                os.unlink(made, dir_fd=inside)
            raise Refused(f"it cannot be linked: {said(error)}") from error


def apply(
    conn: psycopg.Connection[Any], plan: Plan, action: Action, *, dry_run: bool = False
) -> Iterator[Done]:
    """Carry out a plan, and yield what becomes of each file that it removes.

    Run again after it was killed, it does the rest. The database is told of each file when it is
    done; the connection must be outside of a transaction.
    """
    action.check_plan(plan)
    for refusal in plan.refused:
        yield Done(refusal.path, FileOutcome.refused, 0, refusal.line, refusal.reason)
    kept_files = _kept_files(plan)
    for group in plan.groups:
        with _Keepers(group, plan.links) as keepers:
            for entry in group.remove:
                try:
                    outcome = _carry_out(conn, entry, keepers, kept_files, action, dry_run)
                    yield Done(entry.path, outcome, entry.byte_size, entry.line)
                    yield from _done_along(entry, action, outcome)
                except (Refused, OSError) as error:
                    reason = said(error) if isinstance(error, OSError) else str(error)
                    yield Done(entry.path, FileOutcome.refused, entry.byte_size, entry.line, reason)


def _kept_files(plan: Plan) -> dict[tuple[int, int], str]:
    """Return which files (device and number) are kept under any name, in any group."""
    found = {}
    for entry in (entry for group in plan.groups for entry in group.keep):
        with suppress(OSError):
            status = os.lstat(entry.file)
            found[status.st_dev, status.st_ino] = entry.path
    return found


class _Keepers:
    """The kept files of a group, each proved once and then held."""

    def __init__(self, group: PlannedGroup, links: dict[str, str]) -> None:
        self._entries = group.keep
        self._links = links
        self._held: dict[int, Held] = {}
        self._stack = ExitStack()

    def __enter__(self) -> _Keepers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def choose(self, entry: PlannedFile) -> tuple[PlannedFile, Held]:
        """Return the file that is kept for another one: of the same bytes, if there is one."""
        same = [kept for kept in self._entries if kept.sha256 == entry.sha256]
        kept = (same or self._entries)[0]
        try:
            if kept.line not in self._held:
                opened = verified(self.place(kept), kept.sha256, kept.byte_size, change=False)
                self._held[kept.line] = self._stack.enter_context(opened)
            self._held[kept.line].check_still()
        except Refused as error:
            raise Refused(f"{kept.path} is to be kept for it, but {error}") from error
        return kept, self._held[kept.line]

    def place(self, entry: PlannedFile) -> str:
        """Return where a file really is; raises Refused, also for what lies in a trash."""
        place = place_of(entry.file, self._links)
        if (trash := trash_of(place)) is not None:
            raise Refused(f"it is in the trash {path_text(trash)}")
        return place


def _carry_out(
    conn: psycopg.Connection[Any],
    entry: PlannedFile,
    keepers: _Keepers,
    kept_files: dict[tuple[int, int], str],
    action: Action,
    dry_run: bool,
) -> FileOutcome:
    if INSIDE in entry.path and archive_of(entry.file):
        raise Refused("it is in an archive")
    place = keepers.place(entry)
    kept, keeper = keepers.choose(entry)
    linked = keeper.is_at(place)
    try:
        if linked:
            if not action.was_done(entry, linked=True):
                raise Refused(f"it is the same file as {kept.path}, by another name")
            outcome = FileOutcome.done_before
        else:
            with verified(place, entry.sha256, entry.byte_size, change=True) as file:
                other = kept_files.get((file.status.st_dev, file.status.st_ino))
                if other is not None:
                    raise Refused(f"it is the same file as {other}, which is kept")
                action.check(entry, file, keeper, kept)
                if dry_run:
                    return action.foreseen
                action.do(entry, file, keeper, partial(keepers.choose, entry))
            outcome = action.outcome
    except Gone:
        if not action.was_done(entry, linked=False):
            raise
        outcome = FileOutcome.done_before
    if not dry_run:
        there = modified_at(keeper.status) if isinstance(action, HardLink) else None
        _note(conn, entry.path, entry.sha256, there)
        for one in action.along(entry):  # a few of them are images: THM
            if not os.path.lexists(path_from_text(one.path)):
                _note(conn, one.path, b"", None)
    return outcome


def _done_along(entry: PlannedFile, action: Action, outcome: FileOutcome) -> Iterator[Done]:
    for one in action.along(entry):
        before = outcome is FileOutcome.done_before
        if before and os.path.lexists(path_from_text(one.path)):
            reason = f"{entry.path} went before, without it"
            yield Done(one.path, FileOutcome.refused, one.byte_size, one.line, reason)
        else:
            yield Done(one.path, outcome, one.byte_size, one.line)


def _note(conn: psycopg.Connection[Any], path: str, sha256: bytes, there: datetime | None) -> None:
    conn.execute(NOTE, (path, sha256, there))


def restore(conn: psycopg.Connection[Any], folder: str | os.PathLike[str]) -> Iterator[Done]:
    """Put back what a trash folder has taken, the last one first; yield what becomes of each."""
    for taken in reversed(taken_by(folder)):
        if isinstance(taken, Damaged):
            yield Done(taken.path, FileOutcome.refused, 0, reason=taken.reason)
            continue
        try:
            parts = put_back(folder, taken)
            for part in parts:
                there = modified_at(os.lstat(path_from_text(part.place)))
                _note(conn, part.path, part.sha256, there)
                yield Done(part.path, FileOutcome.restored, part.byte_size)
        except (Refused, OSError) as error:
            reason = said(error) if isinstance(error, OSError) else str(error)
            yield Done(taken.path, FileOutcome.refused, taken.byte_size, reason=reason)
