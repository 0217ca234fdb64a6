CREATE OR REPLACE FUNCTION imgdb._store_import(for_collection_id integer)
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
