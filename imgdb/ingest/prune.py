"""Files that the database knows and that are gone: marked, not deleted, and never by mistake."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imgdb.errors import ImgdbError
from imgdb.ingest import walk
from imgdb.ingest.store import Store
from imgdb.paths import outermost, path_from_text, path_text
from imgdb.pictures.archives import INSIDE, archive_of
from imgdb.stopping import Stopping


class NotPruned(ImgdbError):
    """A folder that cannot be told from one whose disk is not there."""


def folders(paths: Iterable[str]) -> list[str]:
    """Return the folders among paths, each once."""
    return outermost(path for path in paths if Path(path).is_dir())


def prune(store: Store, folder: str, stopping: Stopping) -> int:
    """Mark as missing what is gone from a folder and below; return how many images.

    Raises NotPruned when the folder is empty or cannot be read: that is what a disk that is not
    mounted looks like.
    """
    prefix = path_text(folder).rstrip("/") + "/"
    missing = 0
    for page in store.known_below(prefix):
        if not walk.is_readable(folder):
            raise NotPruned(
                f"nothing was marked as missing in {path_text(folder)}: it is empty or cannot be "
                "read, as if its disk were not mounted (to mark all of it, name the folder above)"
            )
        gone = [known for known in page if is_surely_gone(path_from_text(known))]
        if gone:
            missing += store.mark_missing(gone)
        if stopping.asked:
            break
    return missing


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
