CREATE FUNCTION imgdb._stage_regions()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_region') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_region (
            path text COLLATE "C" NOT NULL,
            -- Left, top, width and height of the first region, of the second, ...
            boxes integer[] NOT NULL,
            hashes bigint[] NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_regions() IS
'Makes the session''s table pg_temp.fresh_region, which is copied into and then stored.';

-- After _store_images, which locks the rows of the same files.
CREATE FUNCTION imgdb._store_regions(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    DELETE FROM imgdb.image_region AS r
    USING pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    WHERE r.image_id = i.image_id;
    INSERT INTO imgdb.image_region (
        image_id, region, box_left, box_top, box_width, box_height, region_hash
    )
    SELECT
        i.image_id, found.region, n.boxes[4 * found.region - 3], n.boxes[4 * found.region - 2],
        n.boxes[4 * found.region - 1], n.boxes[4 * found.region], found.region_hash
    FROM pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    CROSS JOIN LATERAL unnest(n.hashes) WITH ORDINALITY AS found (region_hash, region)
    ORDER BY i.image_id, found.region;
END
$$;

COMMENT ON FUNCTION imgdb._store_regions(integer) IS
'Replaces the regions of the images in pg_temp.fresh_region.';
