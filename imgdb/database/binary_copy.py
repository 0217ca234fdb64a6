"""Rows in COPY's binary format, many at once.

Made by numpy and one join: one by one they take Python longer than they take PostgreSQL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.sql import Composed

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# Parts that the server has not taken yet; so much memory at most.
MOST_WAITING = 200

Bytes = NDArray[np.uint8]
# The numpy type of each field, and an array or the value of all rows.
Fields = Sequence[tuple[str, Any]]


@contextmanager
def copying(
    session: psycopg.Connection[Any], statement: LiteralString | Composed
) -> Iterator[Callable[[bytes], None]]:
    """Copy in what the given function is called with: some rows each time.

    It does not wait: the next rows are made while the server takes these.
    """
    waiting: deque[Future[None]] = deque()
    # The library's own queued writer hangs before psycopg 3.3.9 when the server gives up.
    with session.cursor().copy(statement) as copy, ThreadPoolExecutor(1) as thread:

        def write(rows: bytes) -> None:
            if len(waiting) == MOST_WAITING:
                waiting.popleft().result()
            waiting.append(thread.submit(copy.write, rows))

        try:
            write(HEADER)
            yield write
            write(TRAILER)
            for one in waiting:
                one.result()
        except BaseException:
            thread.shutdown(cancel_futures=True)
            raise


def numbers(fields: Fields, count: int) -> Bytes:
    """Lay out rows of (numpy type, an array or one value) as bytes: count x width."""
    rows = np.empty(count, [(str(place), kind) for place, (kind, _) in enumerate(fields)])
    for place, (_, values) in enumerate(fields):
        rows[str(place)] = values
    return rows.view(np.uint8).reshape(count, rows.itemsize)


def parts(rows: Bytes, kept: NDArray[np.bool_] | None = None) -> list[bytes]:
    """Return the bytes of each row, or those that are kept of it."""
    if kept is None:
        whole: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
        return whole
    content = rows[kept].tobytes()
    ends = np.cumsum(kept.sum(axis=1)).tolist()
    return [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def together(*columns: Iterable[bytes | memoryview]) -> bytes:
    """Put rows together from columns of parts."""
    return b"".join(chain.from_iterable(zip(*columns, strict=True)))
