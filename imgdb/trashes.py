"""Which folders are trashes: what they hold was taken away, and is no picture of anybody's."""

from __future__ import annotations

import os
from pathlib import Path

# What `imgdb apply --trash` writes of each file that it takes, and `imgdb restore` reads. A folder
# that holds it is a trash, whatever it is called.
RECORD = "imgdb-trash.jsonl"


def is_trash(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a folder holds the record of `imgdb apply --trash`."""
    return os.path.lexists(Path(folder, RECORD))


def trash_of(path: str | os.PathLike[str]) -> str | None:
    """Return the outermost trash that an absolute path is in, if it is in one."""
    return next((str(folder) for folder in reversed(Path(path).parents) if is_trash(folder)), None)


def trash_around(folder: str | os.PathLike[str]) -> str | None:
    """Return the outermost trash that an absolute folder is, or is in."""
    return trash_of(Path(folder, RECORD))
