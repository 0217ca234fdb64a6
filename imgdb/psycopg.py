"""Adapter for psycopg 3: an ImageHash is sent as the bigint that stores it.

import imgdb.psycopg
imgdb.psycopg.register(conn)
conn.execute("INSERT INTO shop.product VALUES (%s, %s)", ["CAT-1", imagehash.phash(picture)])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from imgdb.hashes.values import any_value

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, Buffer

__all__ = ["register"]


class HashDumper(Int8Dumper):
    """Send an ImageHash of 64 bits as text."""

    def dump(self, obj: Any) -> Buffer | None:
        """Return the number that stores the hash; DataError for another size."""
        return super().dump(_number(obj))


class HashBinaryDumper(Int8BinaryDumper):
    """Send an ImageHash of 64 bits in binary form."""

    def dump(self, obj: Any) -> Buffer | None:
        """Return the number that stores the hash; DataError for another size."""
        return super().dump(_number(obj))


def register(context: AdaptContext | None = None) -> None:
    """Send each ImageHash as a bigint: on a connection, a cursor, or by default everywhere."""
    adapters = context.adapters if context is not None else psycopg.adapters
    # By name: imagehash is not loaded for it.
    adapters.register_dumper("imagehash.ImageHash", HashDumper)
    adapters.register_dumper("imagehash.ImageHash", HashBinaryDumper)


def _number(value: object) -> int:
    try:
        return any_value(value)
    except ValueError as error:
        raise psycopg.DataError(str(error)) from None
