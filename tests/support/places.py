"""Where each hash of a space stands, as one snapshot shows it: read without imgdb's functions."""

import psycopg

PLACES = """
WITH chosen AS (
    SELECT space_id, band_masks FROM imgdb.space WHERE name = %(name)s
),
entry AS (
    SELECT unnest(f.hashes) AS hash, 0 AS band
    FROM imgdb.fresh_hashes AS f JOIN chosen AS c ON c.space_id = f.space_id
    UNION ALL
    SELECT e.hash, m.band
    FROM (
        SELECT b.prefix, unnest(b.hashes) AS hash
        FROM imgdb.prefix_bucket AS b JOIN chosen AS c ON c.space_id = b.space_id
    ) AS e
    CROSS JOIN chosen AS c
    -- What is in the bucket of prefix 0 stands there for every band that it has no bit of.
    JOIN unnest(c.band_masks) WITH ORDINALITY AS m (mask, band) ON e.hash & m.mask = e.prefix
)
SELECT hash, array_agg(band ORDER BY band)::integer[] FROM entry GROUP BY hash
"""
BANDS = "SELECT cardinality(band_masks) FROM imgdb.space WHERE name = %s"
HELD = "SELECT hash FROM hashes WHERE hash IS NOT NULL"


def assert_each_in_one_place(conn: psycopg.Connection, name: str) -> set[int]:
    """Assert that each hash of the table is fresh once, or once in every band; return them.

    To be asked in one snapshot, of hashes that come once only.
    """
    held = {value for (value,) in conn.execute(HELD).fetchall()}
    ((bands,),) = conn.execute(BANDS, [name]).fetchall()
    places = dict(conn.execute(PLACES, {"name": name}).fetchall())
    ways = ([0], list(range(1, bands + 1)))
    wrong = {value: places.get(value) for value in held if places.get(value) not in ways}
    assert wrong == {}, wrong
    return held
