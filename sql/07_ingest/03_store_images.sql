CREATE FUNCTION imgdb._stage_images()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_image') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_image (
            path text COLLATE "C" NOT NULL,
            byte_size bigint NOT NULL,
            modified_at timestamptz NOT NULL,
            sha256 bytea NOT NULL,
            format text NOT NULL,
            width integer NOT NULL,
            height integer NOT NULL,
            frames integer NOT NULL,
            ahash bigint,
            dhash bigint,
            phash bigint,
            whash bigint,
            flat boolean NOT NULL,
            recipe text NOT NULL,
            colours bytea NOT NULL,
            region_recipe text
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_images() IS
'Makes the session''s table pg_temp.fresh_image, which is copied into and then stored.';

-- In the order of the paths, so that two sessions that store the same files wait for each other
-- instead of deadlocking. Rows that say what is there already are not written again.
CREATE FUNCTION imgdb._store_images(for_collection_id integer, rewrite boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        INSERT INTO imgdb.image AS i (
            collection_id, path, byte_size, modified_at, sha256, format, width, height, frames,
            ahash, dhash, phash, whash, flat, recipe, colours, region_recipe
        )
        SELECT
            for_collection_id, n.path, n.byte_size, n.modified_at, n.sha256, n.format, n.width,
            n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash, n.flat, n.recipe,
            n.colours, n.region_recipe
        FROM pg_temp.fresh_image AS n
        ORDER BY n.path
        ON CONFLICT ON CONSTRAINT image_collection_id_path_key DO UPDATE SET
            byte_size = excluded.byte_size,
            modified_at = excluded.modified_at,
            sha256 = excluded.sha256,
            format = excluded.format,
            width = excluded.width,
            height = excluded.height,
            frames = excluded.frames,
            ahash = excluded.ahash,
            dhash = excluded.dhash,
            phash = excluded.phash,
            whash = excluded.whash,
            flat = excluded.flat,
            recipe = excluded.recipe,
            colours = excluded.colours,
            ingested_at = excluded.ingested_at,
            missing_since = NULL,
            -- Regions that were not asked for this time stay, if they are of the same bytes.
            region_recipe = CASE
                WHEN excluded.region_recipe IS NULL AND i.sha256 = excluded.sha256
                    THEN i.region_recipe
                ELSE excluded.region_recipe
            END
        WHERE
            rewrite
            OR i.missing_since IS NOT NULL
            OR (
                i.byte_size, i.modified_at, i.sha256, i.recipe, i.colours, i.ahash, i.dhash, i.phash,
                i.whash
            )
            IS DISTINCT FROM (
                excluded.byte_size, excluded.modified_at, excluded.sha256, excluded.recipe,
                excluded.colours, excluded.ahash, excluded.dhash, excluded.phash, excluded.whash
            )
            OR i.region_recipe IS DISTINCT FROM coalesce(excluded.region_recipe, i.region_recipe)
        -- A row that is new has never been locked by anybody.
        RETURNING i.xmax = 0 AS is_new
    )
    SELECT
        count(*) FILTER (WHERE stored.is_new),
        count(*) FILTER (WHERE NOT stored.is_new)
    FROM stored;
    DELETE FROM imgdb.ingest_failure AS f
    USING pg_temp.fresh_image AS n
    WHERE f.collection_id = for_collection_id AND f.path = n.path;
END
$$;

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Stores the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';
