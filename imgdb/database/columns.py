"""Columns of many rows, fetched as arrays: a tenth of the time that rows of Python take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, LiteralString

import numpy as np

if TYPE_CHECKING:
    import psycopg
    from numpy.typing import NDArray

HEADER, TRAILER = 19, 2
BLOCK = 64_000_000


def copied_columns(
    conn: psycopg.Connection[Any],
    query: LiteralString,
    columns: Mapping[str, Any],
    arguments: Mapping[str, Any] | None = None,
    *,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the columns of a query without NULLs, by their names and types of numpy.

    `kept` are those types that are smaller in memory than in PostgreSQL.
    """
    kept = {**columns, **(kept or {})}
    # Each row says how many columns it has, and each value how many bytes.
    row = np.dtype(
        [("columns", ">i2")]
        + [
            (f"{name}_length", ">i4")
            if of == "length"
            else (name, np.dtype(kind).newbyteorder(">"))
            for name, kind in columns.items()
            for of in ("length", "value")
        ]
    )
    blocks: list[dict[str, NDArray[Any]]] = []
    rows, skip = bytearray(), HEADER

    def take() -> int:
        whole = (len(rows) - skip - TRAILER) // row.itemsize
        some = np.frombuffer(bytes(rows), row, count=whole, offset=skip)
        blocks.append({name: some[name].astype(kept[name]) for name in columns})
        return skip + whole * row.itemsize

    with conn.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT binary)", arguments) as copy:
        for some in copy:
            rows += some
            if len(rows) >= BLOCK:
                rows, skip = rows[take() :], 0
    take()
    return {name: np.concatenate([block[name] for block in blocks]) for name in columns}
