"""What is left out of folders: what systems and programs put there, and what a person names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import translate

from imgdb.errors import UsageError

# Resource forks of macOS, thumbnails of file servers and desktops, repositories, and trashes.
USUAL_PATTERNS = (
    "._*",
    "@eaDir",
    ".@__thumb",
    ".thumbnails",
    ".git",
    ".Trash",
    ".Trash-*",
    ".Trashes",
    ".local/share/Trash",
    "$RECYCLE.BIN",
    "#recycle",
)


class Exclusion:
    """The usual patterns and some more; upper and lower case are the same.

    A pattern says what a file or a folder is called. One with a slash in it says how its path ends,
    or the whole path if it begins with one; `*` takes slashes, too.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        given = [pattern.rstrip("/") for pattern in patterns]
        if "" in given:
            raise UsageError("--exclude takes a pattern, such as '*.tmp'")
        all_patterns = [*USUAL_PATTERNS, *given]
        self._names = _either(one for one in all_patterns if "/" not in one)
        self._paths = _either(
            one if one.startswith("/") else f"*/{one}" for one in all_patterns if "/" in one
        )

    def excludes(self, path: str) -> bool:
        """Tell whether a file or folder is left out for its own sake."""
        name = path[path.rfind(os.sep) + 1 :]
        return bool(self._names.match(name) or self._paths.match(path))

    def hides(self, path: str, folder: str) -> bool:
        """Tell whether a walk through a folder would not come upon a path in it."""
        end = len(folder.rstrip(os.sep))
        while (end := path.find(os.sep, end + 1)) >= 0:
            if self.excludes(path[:end]):
                return True
        return path != folder and self.excludes(path)


def _either(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)


USUAL = Exclusion()
