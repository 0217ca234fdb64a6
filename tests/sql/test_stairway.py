"""Up one revision at a time, then down: each step leads to the same place from both sides."""

import psycopg
from catalog import fingerprint

from imgdb import schema


def test_stairway(empty_database):
    def fingerprint_now():
        with psycopg.connect(empty_database) as conn:
            return fingerprint(conn)

    with psycopg.connect(empty_database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA imgdb")
    steps = {"base": fingerprint_now()}
    for revision in schema.revisions():
        schema.upgrade(empty_database, revision)
        steps[revision] = fingerprint_now()
    assert len({str(step) for step in steps.values()}) == len(steps)

    for revision in [*reversed(schema.revisions()[:-1]), "base"]:
        schema.downgrade(empty_database, revision)
        assert fingerprint_now() == steps[revision]

    schema.upgrade(empty_database)
    assert fingerprint_now() == steps[schema.head()]
