"""The schema says whom it serves: a client of an older revision finds all that it calls."""

import psycopg

from imgdb import schema

# What a client may call: functions by names and types of their arguments, columns by their types.
CALLABLE = """
SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') ' || p.prokind::text || ' '
    || coalesce(pg_get_function_result(p.oid), '')
FROM pg_proc AS p
WHERE p.pronamespace = 'imgdb'::regnamespace AND p.prorettype <> 'trigger'::regtype
UNION ALL
SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
FROM pg_attribute AS a INNER JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p', 'v')
    AND a.attnum > 0 AND NOT a.attisdropped
"""


def test_the_schema_serves_whom_it_says(database, empty_database):
    with psycopg.connect(database) as conn:
        offered = {text for (text,) in conn.execute(CALLABLE)}
        row = conn.execute("SELECT imgdb._revision(), imgdb._compatible_since()").fetchone()
    assert row is not None
    assert row[0] == schema.head()
    assert row[1] in schema.revisions()
    for revision in schema.revisions():
        schema.upgrade(empty_database, revision)
        with psycopg.connect(empty_database) as conn:
            called = {text for (text,) in conn.execute(CALLABLE)}
        # What is dropped or called otherwise is no longer there for a client of that revision.
        if revision >= row[1]:
            assert called - offered == set(), f"imgdb._compatible_since() is too old: {revision}"
