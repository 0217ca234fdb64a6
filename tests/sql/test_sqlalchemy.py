"""imgdb.sqlalchemy: its tables are those of the database, its functions find what SQL finds."""

import psycopg
import pytest
import sqlalchemy as sa
from library import add, shelf

from imgdb import sqlalchemy as imgdb
from imgdb.search.images import query_by_file


@pytest.fixture
def connection(database, tmp_path):
    folder = shelf(tmp_path / "shelf")
    add(database, *sorted(folder.iterdir()))
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def lake(tmp_path, connection):
    return query_by_file(tmp_path / "shelf" / "lake.png").hashes.phash


def by_sql(connection, statement, **values):
    return connection.execute(sa.text(statement), values).all()


@pytest.mark.parametrize("name", imgdb.metadata.tables)
def test_tables_are_those_of_the_database(connection, name):
    ours = imgdb.metadata.tables[name]
    there = sa.Table(ours.name, sa.MetaData(), schema="imgdb", autoload_with=connection)
    dialect = connection.dialect

    def shape(table):
        return {
            c.name: (c.type.compile(dialect).split(" COLLATE")[0], c.nullable, c.primary_key)
            for c in table.columns
        }

    assert shape(ours) == shape(there)


def test_a_service_joins_its_own_table(connection, lake):
    """The search of the design: product photos like the one given, nearest first."""
    metadata = sa.MetaData()
    product = sa.Table(
        "product",
        metadata,
        sa.Column("sku", sa.Text, primary_key=True),
        sa.Column("photo_phash", sa.BigInteger, index=True),
        schema="shop",
    )
    connection.execute(sa.schema.CreateSchema("shop"))
    metadata.create_all(connection)
    by_sql(connection, "SELECT imgdb.track('shop.product', 'photo_phash', 'product_photo')")
    connection.execute(
        product.insert(),
        [
            {"sku": "exact", "photo_phash": lake},
            {"sku": "near", "photo_phash": lake ^ 0b111},
            {"sku": "far", "photo_phash": ~lake},
        ],
    )
    matches = imgdb.within("product_photo", lake, 8)
    found = connection.execute(
        sa.select(product.c.sku, matches.c.distance)
        .join(matches, matches.c.hash == product.c.photo_phash)
        .order_by(matches.c.distance)
    )
    assert found.all() == [("exact", 0), ("near", 3)]


def test_a_function_takes_columns_of_the_tables_before_it(connection):
    matches = imgdb.within("phash", imgdb.image.c.phash, sa.literal(4))
    found = connection.execute(
        sa.select(imgdb.image.c.image_id, matches.c.distance).join(matches, sa.true())
    )
    expected = by_sql(
        connection,
        "SELECT i.image_id, m.distance FROM imgdb.image AS i, imgdb.within('phash', i.phash, 4) m",
    )
    assert sorted(found) == sorted(expected) != []


CALLS = {
    "within('phash', :h, 8)": lambda h: imgdb.within("phash", h, 8),
    "within_any('phash', ARRAY[:h, 0], 8)": lambda h: imgdb.within_any("phash", [h, 0], 8),
    "nearest('phash', :h, 3)": lambda h: imgdb.nearest("phash", h, 3),
    "pairs('phash', 64)": lambda h: imgdb.pairs("phash", 64),
    "similar_images('phash', :h, 8, match_limit => 2)": lambda h: imgdb.similar_images(
        "phash", h, 8, match_limit=2
    ),
    "similar_images('phash', :h, 64, 'default', include_flat => true)": lambda h: (
        imgdb.similar_images("phash", h, 64, "default", include_flat=True)
    ),
    "duplicate_groups('phash', 8)": lambda h: imgdb.duplicate_groups("phash", 8),
}


@pytest.mark.parametrize("call", CALLS)
def test_functions_find_what_sql_finds(connection, lake, call):
    values = {"h": lake} if ":h" in call else {}
    expected = by_sql(connection, f"SELECT * FROM imgdb.{call}", **values)
    alias = CALLS[call](lake)
    found = connection.execute(sa.select(alias))
    assert tuple(found.keys()) == tuple(alias.c.keys())
    assert found.all() == expected != []


def test_scalars(connection, lake):
    row = connection.execute(
        sa.select(
            imgdb.to_hex(lake), imgdb.from_hex("00000000000000ff"), imgdb.distance(lake, ~lake)
        )
    ).one()
    assert row == (f"{lake % 2**64:016x}", 255, 64)
