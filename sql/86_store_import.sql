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

-- Hashes that imgdb made from a file are better than what somebody says of them, and stay.
CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        INSERT INTO imgdb.image AS i (
            collection_id, path, ahash, dhash, phash, whash, flat, recipe
        )
        SELECT
            for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
            imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
        FROM pg_temp.fresh_hash AS n
        -- What is to stay is left out here already: a conflict would lock the row, which writes it.
        LEFT JOIN imgdb.image AS known
            ON known.collection_id = for_collection_id AND known.path = n.path
        WHERE
            known.image_id IS NULL
            OR known.sha256 IS NULL
            AND (known.ahash, known.dhash, known.phash, known.whash)
            IS DISTINCT FROM (n.ahash, n.dhash, n.phash, n.whash)
        ORDER BY n.path
        ON CONFLICT ON CONSTRAINT image_collection_id_path_key DO UPDATE SET
            ahash = excluded.ahash,
            dhash = excluded.dhash,
            phash = excluded.phash,
            whash = excluded.whash,
            flat = excluded.flat,
            ingested_at = excluded.ingested_at
        WHERE i.sha256 IS NULL
        -- A row that is new has never been locked by anybody.
        RETURNING i.xmax = 0 AS is_new
    )
    SELECT
        count(*) FILTER (WHERE stored.is_new),
        count(*) FILTER (WHERE NOT stored.is_new)
    FROM stored;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Files the rows of pg_temp.fresh_hash in imgdb.image; rows that were made from a file stay.';
