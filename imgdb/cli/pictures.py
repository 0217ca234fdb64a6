"""What commands that take pictures share: lists of paths, failures and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import typer

from imgdb.errors import PictureError

STDIN = "-"


def listed_paths(arguments: Iterable[str], stdin: IO[bytes] | None = None) -> Iterator[str]:
    """Yield the paths that are named; `-` stands for those on stdin, one a line.

    Where stdin holds a NUL (`find -print0`), paths end with NUL, and may hold line breaks.
    """
    for argument in arguments:
        if argument == STDIN:
            yield from _read_paths(stdin or sys.stdin.buffer)
        else:
            yield argument


def _read_paths(stdin: IO[bytes]) -> Iterator[str]:
    import os

    text = stdin.read()
    names = text.split(b"\0") if b"\0" in text else text.splitlines()
    yield from (os.fsdecode(name) for name in names if name)


def near_path(path: str) -> str:
    """Spell a path below the working directory as a person there would."""
    from imgdb.paths import path_text

    return path.removeprefix(path_text(Path.cwd()).rstrip("/") + "/")


class Failures:
    """Files that could not be read: each one line on stderr, and an exit code in the end."""

    def __init__(self) -> None:
        self.count = 0

    def report(self, name: str, error: PictureError) -> None:
        from imgdb.pictures.reasons import reason_in_words

        self.count += 1
        typer.echo(f"imgdb: {name}: {reason_in_words(error)}", err=True)

    def exit(self, done: int) -> None:
        """End the command with 1 if nothing was done, 3 if only a part; else return."""
        if self.count:
            raise typer.Exit(3 if done else 1)
