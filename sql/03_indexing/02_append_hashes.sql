-- The text of a query, because only the trigger itself can read its transition tables. A statement
-- may bring more hashes than one array holds, so they come in parts of a million.
CREATE FUNCTION imgdb._hash_parts_query(source_query text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(
    'SELECT array_agg(numbered.hash ORDER BY numbered.hash) '
    'FROM (SELECT fresh.hash, (row_number() OVER (ORDER BY fresh.hash) - 1) / 1000000 AS part '
    'FROM (SELECT DISTINCT ON (source.hash) source.hash, source.indexed '
    'FROM (%s) AS source (hash, indexed) WHERE source.hash IS NOT NULL '
    'ORDER BY source.hash, source.indexed DESC) AS fresh '
    'WHERE NOT fresh.indexed) AS numbered '
    'GROUP BY numbered.part',
    source_query
);

COMMENT ON FUNCTION imgdb._hash_parts_query(text) IS
'SQL that gives the distinct hashes of (hash, indexed) rows as arrays, less the indexed ones.';

-- SECURITY DEFINER, because it runs for every writer of the tracked table, and writers need no
-- rights on the buckets. The transition table is read into an array first and the buckets are
-- written from the array: one statement that does both cannot run on a distributed PostgreSQL.
-- The band masks are an argument of the trigger, because a trigger is always seen as it is now: a
-- REPEATABLE READ writer would look up masks that were changed since, or a space not yet made.
CREATE FUNCTION imgdb._append_hashes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := tg_argv[0];
    v_column name := tg_argv[1];
    v_masks bigint[] := tg_argv[2];
    v_source text := format('SELECT %I, false FROM new_rows', v_column);
    v_hashes bigint[];
BEGIN
    -- Another type would bring casts of its own, which must not run with the definer's rights.
    IF NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE
            a.attrelid = tg_relid AND a.attname = v_column AND NOT a.attisdropped
            AND a.atttypid = 'pg_catalog.int8'::regtype
    ) THEN
        RAISE EXCEPTION 'imgdb tracks column "%" of %: dropped, renamed or no bigint any more',
            v_column, tg_relid::regclass USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    IF tg_op = 'UPDATE' THEN
        -- What an old row held is in its buckets already.
        v_source := v_source || format(' UNION ALL SELECT %I, true FROM old_rows', v_column);
    END IF;
    FOR v_hashes IN EXECUTE imgdb._hash_parts_query(v_source) LOOP
        PERFORM imgdb._index_hashes(v_space_id, v_masks, v_hashes);
    END LOOP;
    RETURN NULL;
END
$$;

-- A role that may run this in a trigger of its own may index hashes in any space.
REVOKE EXECUTE ON FUNCTION imgdb._append_hashes() FROM public;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (space_id, column, masks): indexes the hashes that a statement brought into the column.';
