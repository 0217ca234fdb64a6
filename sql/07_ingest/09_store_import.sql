CREATE FUNCTION imgdb._stage_import()
RETURNS void
LANGUAGE plpgsql VOLATILE
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

CREATE FUNCTION imgdb._any_stored(for_collection_id integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    ANALYZE pg_temp.fresh_hash;
    RETURN EXISTS (
        SELECT FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    );
END
$$;

COMMENT ON FUNCTION imgdb._any_stored(integer) IS
'Whether a path of pg_temp.fresh_hash, which is analyzed, is in imgdb.image already.';

-- Hashes that imgdb made from a file are better than what somebody says of them, and stay. Rows
-- that are the same are not touched. INSERT ... ON CONFLICT would do both in one statement, and
-- take as long again; here another writer of the same path, or a path that is staged twice, is a
-- unique violation.
CREATE FUNCTION imgdb._store_import(for_collection_id integer, are_indexed boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_role text := current_setting('session_replication_role');
BEGIN
    updated := 0;
    IF are_indexed THEN
        PERFORM imgdb._hold_collection(for_collection_id);
        PERFORM set_config('session_replication_role', 'replica', true);
    ELSE
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
        -- An insert would notice; an update takes one of the two, whichever it meets.
        IF updated > 0 AND EXISTS (
            SELECT FROM pg_temp.fresh_hash AS n GROUP BY n.path HAVING count(*) > 1
        ) THEN
            RAISE EXCEPTION 'a path is staged twice' USING ERRCODE = 'unique_violation';
        END IF;
        DELETE FROM pg_temp.fresh_hash AS n
        USING imgdb.image AS i
        WHERE i.collection_id = for_collection_id AND i.path = n.path;
    END IF;
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF are_indexed THEN
        PERFORM set_config('session_replication_role', v_role, true);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are indexed, which needs _hold_indexing, none is there yet, and no trigger runs.';
