"""imgdb's tables and functions for services that compose queries with SQLAlchemy 2.

    m = imgdb.sqlalchemy.within("phash", query_hash, 8)
    select(image.c.path, m.c.distance).join(m, m.c.hash == image.c.phash)

The tables are there to read from: `imgdb db upgrade` makes them, never `metadata.create_all`.
Hashes come as signed 64-bit integers and may be given in any spelling (see `Hash`), distances are
numbers of bits. Every argument may be a column or
another SQL expression; a function in FROM may refer to the tables before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Double,
    Function,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    TableValuedAlias,
    Text,
    column,
    func,
    literal,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from imgdb.hashes.values import any_value

USUAL_RULE = "phash+dhash"

__all__ = [
    "Hash",
    "collection",
    "colour_difference",
    "distance",
    "duplicate_groups",
    "from_hex",
    "image",
    "image_region",
    "ingest_failure",
    "metadata",
    "nearest",
    "not_duplicate",
    "pairs",
    "same_colours",
    "similar_images",
    "space",
    "to_hex",
    "within",
    "within_any",
]

metadata = MetaData(schema="imgdb")


class Hash(TypeDecorator[int]):
    """A column of hashes, stored as `bigint`.

    Takes an ImageHash, 16 hex digits, or a number, signed or not; always gives a signed int.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> int | None:
        """Return what is stored; ValueError for what is no hash."""
        return None if value is None else any_value(value)

    def process_literal_param(self, value: Any, dialect: Dialect) -> str:
        """Spell what is stored in SQL."""
        return str(self.process_bind_param(value, dialect))


space = Table(
    "space",
    metadata,
    Column("space_id", SmallInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("band_masks", ARRAY(BigInteger), nullable=False),
    Column("default_max_distance", Integer, nullable=False),
    Column("owner_name", Text, nullable=False),
    Column("claimed_by", BigInteger),
    Column("shadow_of", SmallInteger),
)

collection = Table(
    "collection",
    metadata,
    Column("collection_id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
)

image = Table(
    "image",
    metadata,
    Column("image_id", BigInteger, primary_key=True),
    Column("collection_id", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("byte_size", BigInteger),
    Column("modified_at", DateTime(timezone=True)),
    Column("sha256", LargeBinary),
    Column("format", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("frames", Integer),
    Column("ahash", Hash),
    Column("dhash", Hash),
    Column("phash", Hash),
    Column("whash", Hash),
    Column("flat", Boolean, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("ingested_at", DateTime(timezone=True), nullable=False),
    Column("missing_since", DateTime(timezone=True)),
    Column("region_recipe", Text),
    Column("colours", LargeBinary),
)

image_region = Table(
    "image_region",
    metadata,
    Column("image_id", BigInteger, primary_key=True),
    Column("region", SmallInteger, primary_key=True),
    Column("box_left", Integer, nullable=False),
    Column("box_top", Integer, nullable=False),
    Column("box_width", Integer, nullable=False),
    Column("box_height", Integer, nullable=False),
    Column("region_hash", Hash, nullable=False),
)

image_pdq = Table(
    "image_pdq",
    metadata,
    Column("image_id", BigInteger, primary_key=True),
    Column("pdq_1", BigInteger, nullable=False),
    Column("pdq_2", BigInteger, nullable=False),
    Column("pdq_3", BigInteger, nullable=False),
    Column("pdq_4", BigInteger, nullable=False),
    Column("quality", SmallInteger),
    Column("pdq_recipe", Text, nullable=False),
)

ingest_failure = Table(
    "ingest_failure",
    metadata,
    Column("collection_id", Integer, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("byte_size", BigInteger),
    Column("modified_at", DateTime(timezone=True)),
    Column("failed_at", DateTime(timezone=True), nullable=False),
)

not_duplicate = Table(
    "not_duplicate",
    metadata,
    Column("image_id_a", BigInteger, primary_key=True),
    Column("image_id_b", BigInteger, primary_key=True),
    Column("marked_at", DateTime(timezone=True), nullable=False),
)

T = TypeVar("T")
Value: TypeAlias = T | ColumnElement[T]


def distance(a: Value[Any], b: Value[Any]) -> Function[int]:
    """Count the differing bits of two hashes."""
    return func.imgdb.distance(_sent(a, Hash()), _sent(b, Hash()), type_=Integer())


def colour_difference(a: Value[bytes], b: Value[bytes]) -> Function[float]:
    """Measure how far the colours of two images are apart, in hundredths of OKLab."""
    return func.imgdb.colour_difference(
        _sent(a, LargeBinary()), _sent(b, LargeBinary()), type_=Double()
    )


def same_colours(a: Value[bytes], b: Value[bytes]) -> Function[bool]:
    """Tell whether the colours of two images are the same, as far as edits leave them."""
    return func.imgdb.same_colours(
        _sent(a, LargeBinary()), _sent(b, LargeBinary()), type_=Boolean()
    )


def to_hex(hash_value: Value[Any]) -> Function[str]:
    """Spell a hash in 16 hex digits."""
    return func.imgdb.to_hex(_sent(hash_value, Hash()), type_=Text())


def from_hex(hex_digits: Value[str]) -> Function[int]:
    """Turn 16 hex digits into a hash."""
    return func.imgdb.from_hex(_sent(hex_digits, Text()), type_=BigInteger())


def within(
    space_name: Value[str],
    query_hash: Value[Any],
    max_distance: Value[int],
    *,
    name: str = "matches",
) -> TableValuedAlias:
    """Give the hashes of a space within `max_distance` bits: columns `hash`, `distance`."""
    return _table(
        "within",
        [
            _sent(space_name, Text()),
            _sent(query_hash, Hash()),
            _sent(max_distance, Integer()),
        ],
        {"hash": BigInteger(), "distance": Integer()},
        name,
    )


def within_any(
    space_name: Value[str],
    query_hashes: Value[Sequence[Any]],
    max_distance: Value[int],
    *,
    name: str = "matches",
) -> TableValuedAlias:
    """Search many hashes in one pass: columns `query_hash`, `hash`, `distance`."""
    return _table(
        "within_any",
        [
            _sent(space_name, Text()),
            _sent(query_hashes, ARRAY(Hash())),
            _sent(max_distance, Integer()),
        ],
        {"query_hash": BigInteger(), "hash": BigInteger(), "distance": Integer()},
        name,
    )


def nearest(
    space_name: Value[str],
    query_hash: Value[Any],
    match_limit: Value[int],
    max_distance: Value[int] = 64,
    *,
    name: str = "matches",
) -> TableValuedAlias:
    """Give the nearest hashes of a space: columns `hash`, `distance`."""
    return _table(
        "nearest",
        [
            _sent(space_name, Text()),
            _sent(query_hash, Hash()),
            _sent(match_limit, Integer()),
            _sent(max_distance, Integer()),
        ],
        {"hash": BigInteger(), "distance": Integer()},
        name,
    )


def pairs(
    space_name: Value[str], max_distance: Value[int], *, name: str = "pairs"
) -> TableValuedAlias:
    """Give all near pairs of a space: columns `hash_a`, `hash_b`, `distance`."""
    return _table(
        "pairs",
        [_sent(space_name, Text()), _sent(max_distance, Integer())],
        {"hash_a": BigInteger(), "hash_b": BigInteger(), "distance": Integer()},
        name,
    )


def similar_images(
    space_name: Value[str] = USUAL_RULE,
    query_hash: Value[Any] | None = None,
    max_distance: Value[int] | None = None,
    collection_name: Value[str] | None = None,
    match_limit: Value[int] | None = None,
    include_flat: Value[bool] = False,
    query_hashes: Value[Sequence[Any]] | None = None,
    *,
    name: str = "similar",
) -> TableValuedAlias:
    """Give the images that look alike: columns `image_id`, `collection`, `path`, `distance`.

    A space takes `query_hash`, the rule phash+dhash `query_hashes`: the phash, then the dhash.
    """
    return _table(
        "similar_images",
        [
            _sent(space_name, Text()),
            _sent(query_hash, Hash()),
            _sent(max_distance, Integer()),
            _sent(collection_name, Text()),
            _sent(match_limit, Integer()),
            _sent(include_flat, Boolean()),
            _sent(query_hashes, ARRAY(Hash())),
        ],
        {"image_id": BigInteger(), "collection": Text(), "path": Text(), "distance": Integer()},
        name,
    )


def duplicate_groups(
    space_name: Value[str] = USUAL_RULE,
    max_distance: Value[int] | None = None,
    collection_name: Value[str] | None = None,
    *,
    name: str = "duplicates",
) -> TableValuedAlias:
    """Give groups of images that look alike.

    Columns `group_id`, `image_id`, `path`, `distance_to_first`.
    """
    return _table(
        "duplicate_groups",
        [
            _sent(space_name, Text()),
            _sent(max_distance, Integer()),
            _sent(collection_name, Text()),
        ],
        {
            "group_id": BigInteger(),
            "image_id": BigInteger(),
            "path": Text(),
            "distance_to_first": Integer(),
        },
        name,
    )


def _sent(value: Any, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    # Left to itself SQLAlchemy sends a Python int as a 32-bit integer, too small for a hash.
    return value if isinstance(value, ColumnElement) else literal(value, kind)


def _table(
    function: str,
    arguments: Sequence[ColumnElement[Any]],
    columns: dict[str, TypeEngine[Any]],
    name: str,
) -> TableValuedAlias:
    call = getattr(func.imgdb, function)(*arguments)
    shape = [column(label, kind) for label, kind in columns.items()]
    alias: TableValuedAlias = call.table_valued(*shape, name=name)
    return alias
