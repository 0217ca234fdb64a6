"""Files that were moved or renamed: known bytes at a path that is not where they were."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

from imgdb.ingest import prune, walk
from imgdb.ingest.options import Options
from imgdb.ingest.store import KnownFile, Store
from imgdb.ingest.walk import File
from imgdb.paths import modified_at, path_from_text
from imgdb.pictures.archives import archive_of

# Sizes whose lost files are remembered; a file takes its place in memory, not the library.
SIZES = 20_000


class Moves:
    """The images whose files are not where they were, by size, as far as a run has asked for them.

    Images that the run itself stores are none of them.
    """

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._newest: int | None = None
        self._by_size: dict[int, list[KnownFile]] = {}
        self._begun = False

    def lost(self, files: Iterable[File]) -> dict[int, list[KnownFile]]:
        """Return the lost files of each size that new or changed files have."""
        if not self._begun:
            self._newest, self._begun = self._store.newest(), True
        if self._newest is None:
            return {}
        entries: dict[tuple[int, int], str] = {}
        for file in files:
            entries[file.byte_size, file.inode] = file.path
        sizes = {size for size, _ in entries}
        if len(self._by_size) > SIZES:
            self._by_size = {}
        if unasked := sizes - self._by_size.keys():
            found: defaultdict[int, list[KnownFile]] = defaultdict(list)
            needs = (self._options.region_recipe, self._options.pdq)
            unmounted = cache(prune.unmounted_around)
            for known in self._store.of_sizes(self._newest, list(unasked), *needs):
                if _is_lost(known, entries):
                    path = path_from_text(known.path)
                    doubtful = walk.is_gone(path) and unmounted(prune.real_folder(path)) is not None
                    found[known.byte_size].append(replace(known, unmounted=doubtful))
            self._by_size |= {size: found[size] for size in unasked}
        return {size: self._by_size[size] for size in sizes}


def take(lost: list[KnownFile], sha256: bytes, spelling: str, *, whole: bool) -> KnownFile | None:
    """Take the file that a file with this SHA-256 was before out of those that are lost.

    With `whole` only one whose image is complete. None if there is none: its bytes are new, or
    those of a file that is still where it was.
    """
    name = os.path.basename(spelling)
    matching = [one for one in lost if one.sha256 == sha256 and (one.complete or not whole)]
    # Of several files of the same bytes, the one that has stayed, then one that surely is gone (the
    # others may be on a disk that comes back), then one that has kept its name.
    matching.sort(
        key=lambda one: (
            one.path != spelling,
            one.unmounted,
            os.path.basename(one.path) != name,
        )
    )
    for known in matching:
        if known.path == spelling or _has_left(known, path_from_text(spelling)):
            lost.remove(known)
            return known
    return None


def _is_lost(known: KnownFile, entries: dict[tuple[int, int], str]) -> bool:
    """Tell whether an image's file seems not to be at its path, without reading what is there.

    `entries` are paths that are in question, by size and inode.
    """
    path = path_from_text(known.path)
    try:
        status = os.stat(path)
    except OSError:
        return walk.is_gone(path) and archive_of(path) is None
    if (status.st_size, modified_at(status)) != (known.byte_size, known.modified_at):
        return True
    other = entries.get((status.st_size, status.st_ino))
    return other is not None and _is_one_entry(path, other)


def _has_left(known: KnownFile, now_at: str) -> bool:
    """Tell whether an image's file, which now is elsewhere, is surely not at its path as well."""
    path = path_from_text(known.path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != known.byte_size:
            return True
        if _is_one_entry(path, now_at):
            return True
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() != known.sha256
    except OSError:
        return walk.is_gone(path) and archive_of(path) is None


def _is_one_entry(path: str, other: str) -> bool:
    """Tell whether two paths are two spellings of one name, as where case makes no difference."""
    if path == other or os.path.dirname(path) != os.path.dirname(other):
        return False
    try:
        one, two = os.lstat(path), os.lstat(other)
    except OSError:
        return False
    # A file of one name only, which is found under two.
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino) and one.st_nlink == 1
