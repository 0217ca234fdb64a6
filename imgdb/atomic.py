"""Write a file that is there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from imgdb.errors import UsageError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written: a reader of `path` finds the old one or the whole new one.

    Where `path` is a link, what it leads to is replaced. UsageError where no file can be.
    """
    target = check_replaceable(path)
    part = target.with_name(f".{target.name[:200]}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def check_replaceable(path: Path) -> Path:
    """Return the file that `path` is or leads to; UsageError where no file can be written."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # as root, we would replace even /dev/null
        raise UsageError(f"{path}: not a regular file, which could be replaced")
    if not target.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {target.parent}")
    return target
