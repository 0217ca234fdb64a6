"""Rows in COPY's binary format, many at once.

Made by numpy and one join: one by one they take Python longer than they take PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

Bytes = NDArray[np.uint8]


def numbers(fields: Sequence[tuple[str, Any]], count: int) -> Bytes:
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
