"""What commands that take pictures share: stdin, lists of paths, failures and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from imgdb.errors import PictureError, UsageError

if TYPE_CHECKING:
    from imgdb.pictures.images import AnyImage

# The picture itself, on stdin; after --files-from a list of paths.
STDIN = "-"

PICTURES = "Pictures; - is one on stdin."

FilesFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Also take the paths that this file lists, one a line or each ended by NUL; - is "
        "stdin.",
        show_default=False,
    ),
]


def pictures(files: Sequence[str] | None, files_from: str | None) -> list[str]:
    """Return the pictures that are named, and those that a file lists; UsageError for none."""
    named = [*(files or [])]
    if named.count(STDIN) + (files_from == STDIN) > 1:
        raise UsageError("stdin can be read once: as one picture (-), or as --files-from -")
    return [*named, *listed_paths(files_from)] if files_from is not None else named


def listed_paths(file: str) -> Iterator[str]:
    """Yield the paths that a file lists, one a line; `-` is stdin.

    Where it holds a NUL (`find -print0`), paths end with NUL, and may hold line breaks.
    """
    text = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    names = text.split(b"\0") if b"\0" in text else text.splitlines()
    for name in map(os.fsdecode, filter(None, names)):
        # A file of this name is no stdin.
        yield f"./{name}" if name == STDIN else name


def opened(file: str) -> AnyImage:
    """Return what a picture is read from: a path, or stdin."""
    if file != STDIN:
        return file
    if sys.stdin.isatty():
        raise UsageError("no picture comes from a terminal: give a file, or pipe one in")
    return sys.stdin.buffer


def spelled(file: str) -> str:
    """Spell what a picture is read from for a person."""
    from imgdb.paths import path_text

    return path_text(file)


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
