"""Files that the database knows and that are gone: marked, not deleted, and never by mistake."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from imgdb.ingest import walk
from imgdb.ingest.exclusion import Exclusion
from imgdb.ingest.store import Store
from imgdb.paths import outermost, path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of
from imgdb.stopping import Stopping
from imgdb.trashes import trash_around

# Folders that are told of by name.
TOLD = 5


@dataclass(slots=True)
class Pruned:
    """How many images are `missing`, and the folders that may be `unmounted`."""

    missing: int = 0
    unmounted: set[str] = field(default_factory=set)

    def notes(self) -> list[str]:
        """Say in words which folders were left alone."""
        folders = outermost(self.unmounted)
        notes = [
            f"nothing was marked as missing in {path_text(folder)}: it is empty or cannot be read, "
            "as if its disk were not mounted (to mark all of it, remove the empty folder, and name "
            "the one above)"
            for folder in folders[:TOLD]
        ]
        if (more := len(folders) - TOLD) > 0:
            notes.append(f"nor in {more:,} more folders that are empty or cannot be read")
        return notes


def folders(paths: Iterable[str]) -> list[str]:
    """Return the folders among paths, each once."""
    return outermost(path for path in paths if Path(path).is_dir())


def prune(store: Store, folder: str, exclusion: Exclusion, stopping: Stopping) -> Pruned:
    """Mark as missing what is gone from a folder and below, or is excluded there.

    An empty folder, and one that cannot be read, is what a disk that is not mounted looks like:
    nothing that was in it is marked.
    """
    prefix = path_text(folder).rstrip("/") + "/"
    pruned = Pruned()
    for page in store.known_below(prefix):
        paths = {known: path_from_text(known) for known in page}
        trash = cache(trash_around)
        left_out = [
            known
            for known, path in paths.items()
            # An archive is not read again while it stays as it is: what was in it stays, too.
            if exclusion.hides(archive_of(path) or path, folder) or trash(os.path.dirname(path))
        ]
        gone = [known for known in page if is_surely_gone(paths[known])]
        # Asked when all of them are known to be gone, not before: a disk may vanish at any time.
        unmounted = cache(unmounted_around)
        doubtful = {known: unmounted(real_folder(paths[known])) for known in gone}
        pruned.unmounted |= {folder for folder in doubtful.values() if folder is not None}
        sure = [known for known in gone if doubtful[known] is None]
        if marked := dict.fromkeys([*left_out, *sure]):
            pruned.missing += store.mark_missing(marked)
        if stopping.asked:
            break
    return pruned


def real_folder(path: str) -> str:
    """Return the folder that holds, or held, what a path leads to."""
    return os.path.dirname(os.path.realpath(path))


def unmounted_around(folder: str) -> str | None:
    """Return the lowest folder that is left, from here upwards, if its disk may not be there."""
    while walk.is_gone(folder):
        folder = os.path.dirname(folder)
    return None if walk.is_readable(folder) else folder


def members_gone(store: Store, spelling: str, seen: set[str]) -> int:
    """Mark as missing the members of an archive that were not seen when it was read."""
    missing = 0
    for page in store.known_below(spelling + INSIDE):
        if gone := [known for known in page if known not in seen]:
            missing += store.mark_missing(gone)
    return missing


def is_surely_gone(path: str) -> bool:
    """Tell whether a file, or an archive with a member in it, surely is no longer there."""
    # Only reading an archive shows what is in it.
    return walk.is_gone(path) and archive_of(path) is None


def forget(store: Store, path: str) -> int:
    """Mark as missing what was at a path and below it, or in it if it was an archive."""
    spelling = path_text(path)
    missing = store.mark_missing([spelling])
    for prefix in (spelling + "/", spelling + INSIDE):
        for page in store.known_below(prefix):
            gone = [known for known in page if is_surely_gone(path_from_text(known))]
            if gone:
                missing += store.mark_missing(gone)
    return missing
