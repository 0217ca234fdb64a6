CREATE FUNCTION imgdb._stage_pdq()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_pdq') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_pdq (
            path text COLLATE "C" NOT NULL,
            words bigint[] NOT NULL,
            quality smallint NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_pdq() IS
'Makes the session''s table pg_temp.fresh_pdq, which is copied into and then stored.';

-- After _store_images, which locks the rows of the same files.
CREATE FUNCTION imgdb._store_pdq(for_collection_id integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO imgdb.image_pdq AS p (image_id, pdq_1, pdq_2, pdq_3, pdq_4, quality, pdq_recipe)
    SELECT
        i.image_id, n.words[1], n.words[2], n.words[3], n.words[4], n.quality, i.recipe
    FROM pg_temp.fresh_pdq AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    ORDER BY i.image_id
    ON CONFLICT ON CONSTRAINT image_pdq_pkey DO UPDATE SET
        pdq_1 = excluded.pdq_1,
        pdq_2 = excluded.pdq_2,
        pdq_3 = excluded.pdq_3,
        pdq_4 = excluded.pdq_4,
        quality = excluded.quality,
        pdq_recipe = excluded.pdq_recipe
    WHERE
        (p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4, p.quality, p.pdq_recipe)
        IS DISTINCT FROM (
            excluded.pdq_1, excluded.pdq_2, excluded.pdq_3, excluded.pdq_4, excluded.quality,
            excluded.pdq_recipe
        );
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._store_pdq(integer) IS
'Stores the PDQ hashes of the images in pg_temp.fresh_pdq, and returns how many are new or '
'other ones.';
