"""The file that is imported, opened: plain or by gzip, from the disk or from stdin."""

from __future__ import annotations

import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from imgdb.errors import UsageError

STDIN = "-"

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"


@contextlib.contextmanager
def open_table(file: str) -> Iterator[IO[bytes]]:
    """Open what is imported, and unpack it if gzip packed it; it can be peeked at, not sought."""
    with contextlib.ExitStack() as stack:
        if file == STDIN:
            opened = cast(io.BufferedReader, sys.stdin.buffer)
        else:
            opened = stack.enter_context(Path(file).open("rb"))
        if opened.peek(2)[:2] == _GZIP:
            # It can be peeked at, too.
            opened = cast(io.BufferedReader, stack.enter_context(gzip.GzipFile(fileobj=opened)))
        try:
            yield opened
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(f"{file} is damaged, so nothing was imported: {error}") from error


def is_parquet(opened: IO[bytes]) -> bool:
    """Tell by its first bytes whether a table is Parquet."""
    return bool(cast(io.BufferedReader, opened).peek(4)[:4] == _PARQUET)


def is_json(opened: IO[bytes]) -> bool:
    """Tell by its first bytes whether a table is JSON: an object a line, or a list of them."""
    start = cast(io.BufferedReader, opened).peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return start[:1] in (b"{", b"[")
