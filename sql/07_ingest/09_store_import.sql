CREATE FUNCTION imgdb._stage_import()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CREATE TEMPORARY TABLE fresh_hash (
        line bigint NOT NULL,
        path text COLLATE "C" NOT NULL,
        ahash bigint,
        dhash bigint,
        phash bigint,
        whash bigint
    ) ON COMMIT DROP;
END
$$;

COMMENT ON FUNCTION imgdb._stage_import() IS
'Makes the transaction''s table pg_temp.fresh_hash, which is copied into and then stored.';

CREATE FUNCTION imgdb._repeated_imports(line_limit integer)
RETURNS TABLE (line bigint, first_line bigint, line_count bigint)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT numbered.line, numbered.first_line, count(*) OVER ()
    FROM (
        SELECT n.line, min(n.line) OVER (PARTITION BY n.path) AS first_line
        FROM pg_temp.fresh_hash AS n
    ) AS numbered
    WHERE numbered.line > numbered.first_line
    ORDER BY numbered.line
    LIMIT line_limit;
END
$$;

COMMENT ON FUNCTION imgdb._repeated_imports(integer) IS
'The first lines whose path stands in an earlier line, and how many there are.';

-- Hashes that imgdb made from a file are better than what somebody says of them, and stay. Rows
-- that are the same are not touched. INSERT ... ON CONFLICT would do both in one statement, and
-- take longer; here another writer of the same path is a unique violation. No plan_cache_mode is
-- set: custom plans would be forced on the check of the foreign key, too, once for each row.
CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE imgdb.image AS i
    SET
        ahash = n.ahash,
        dhash = n.dhash,
        phash = n.phash,
        whash = n.whash,
        flat = imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash),
        ingested_at = now()
    FROM pg_temp.fresh_hash AS n
    WHERE
        i.collection_id = for_collection_id AND i.path = n.path AND i.sha256 IS NULL
        AND (i.ahash, i.dhash, i.phash, i.whash)
        IS DISTINCT FROM (n.ahash, n.dhash, n.phash, n.whash);
    GET DIAGNOSTICS updated = ROW_COUNT;
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    WHERE NOT EXISTS (
        SELECT FROM imgdb.image AS i
        WHERE i.collection_id = for_collection_id AND i.path = n.path
    )
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Puts the rows of pg_temp.fresh_hash, each path once, into imgdb.image; rows that were made from a '
'file stay as they are.';
