CREATE FUNCTION imgdb.similar_images(
    space_name text,
    query_hash bigint,
    max_distance integer,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    include_flat boolean DEFAULT FALSE
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb._found_images(
        space_name, ARRAY[query_hash], NULL, max_distance, collection_name, match_limit, NULL,
        include_flat
    ) AS f
    ORDER BY f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.similar_images(text, bigint, integer, text, integer, boolean) IS
'The images within max_distance of query_hash, nearest first, then by path; flat if asked for.';
