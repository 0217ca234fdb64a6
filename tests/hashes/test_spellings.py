"""Any spelling of a hash is taken, and one is given: by SQLAlchemy, by psycopg, by SQL."""

import imagehash
import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from psycopg.rows import scalar_row

import imgdb.psycopg
from imgdb import sqlalchemy as m
from imgdb.hashes.values import any_value

HEX = "e4169b69c6c63ac5"
SIGNED = -2011249304965596475
SPELLINGS = {
    "ImageHash": imagehash.hex_to_hash(HEX),
    "hex": HEX,
    "upper-case hex": HEX.upper(),
    "signed": SIGNED,
    "unsigned": SIGNED + (1 << 64),
    "numpy": np.int64(SIGNED),
    "numpy unsigned": np.uint64(SIGNED + (1 << 64)),
}
NO_HASHES = ["", "cat", HEX[1:], 1 << 64, -(1 << 63) - 1, 1.5, True, b"e4169b69c6c63ac5"]
LONG = imagehash.ImageHash(np.zeros((16, 16), dtype=bool))


@pytest.fixture
def engine(database):
    made = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database), poolclass=sa.NullPool
    )
    yield made
    made.dispose()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_are_one_hash(engine, spelling):
    value = SPELLINGS[spelling]
    own = sa.Table("own", sa.MetaData(), sa.Column("photo", m.Hash, index=True))
    with engine.begin() as conn:
        own.metadata.create_all(conn)
        conn.execute(sa.insert(own).values(photo=value))
        conn.execute(sa.text("SELECT imgdb.track('own', 'photo', 'own')"))
        near = m.within("own", value, 0)
        assert conn.execute(sa.select(near.c.hash)).scalars().all() == [SIGNED]
        [found] = conn.execute(sa.select(own.c.photo).where(own.c.photo == value)).scalars()
        assert type(found) is int
        assert found == SIGNED
        many = m.within_any("own", [value], 0)
        assert conn.execute(sa.select(many.c.query_hash)).scalars().all() == [SIGNED]
        assert conn.execute(sa.select(m.to_hex(value))).scalar() == HEX
        literal = sa.select(own.c.photo).where(own.c.photo == value)
        text = str(literal.compile(engine, compile_kwargs={"literal_binds": True}))
        assert conn.exec_driver_sql(text).scalar() == SIGNED
        assert conn.execute(sa.select(m.distance(value, None))).scalar() is None


@pytest.mark.parametrize("value", [*NO_HASHES, LONG], ids=str)
def test_what_is_no_hash_is_refused(value):
    with pytest.raises(ValueError, match=r"hash|hex|number"):
        any_value(value)


def test_psycopg_sends_an_image_hash(database):
    value = SPELLINGS["ImageHash"]
    with psycopg.connect(database, row_factory=scalar_row) as conn:
        with pytest.raises(psycopg.ProgrammingError, match="cannot adapt"):
            conn.execute("SELECT %s", [value])
        imgdb.psycopg.register(conn)
        for form in ("%s", "%t", "%b"):
            assert conn.execute(f"SELECT {form}", [value]).fetchone() == SIGNED
            asked = f"SELECT pg_typeof({form})::text"
            assert conn.execute(asked, [value]).fetchone() == "bigint"
        assert conn.execute("SELECT %s", [[value, value]]).fetchone() == [SIGNED, SIGNED]
        with pytest.raises(psycopg.DataError, match="256 bits"):
            conn.execute("SELECT %s", [LONG])


def test_registering_is_for_one_connection(database):
    with psycopg.connect(database) as one, psycopg.connect(database) as other:
        imgdb.psycopg.register(one)
        with pytest.raises(psycopg.ProgrammingError, match="cannot adapt"):
            other.execute("SELECT %s", [SPELLINGS["ImageHash"]])


def test_lists_of_hex(conn):
    query = "SELECT imgdb.from_hex_array(%s::text[])"
    given = [HEX, "0" * 16, None, "8" + "0" * 15, HEX]
    expected = [SIGNED, 0, None, -(1 << 63), SIGNED]
    assert conn.execute(query, [given]).fetchone() == (expected,)
    assert conn.execute(query, [[]]).fetchone() == ([],)
    assert conn.execute(query, [None]).fetchone() == (None,)
    with pytest.raises(psycopg.Error, match="is not a hash") as caught:
        conn.execute(query, [[HEX, "cat"]])
    assert caught.value.sqlstate == "IM003"
