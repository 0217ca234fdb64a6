-- For roles that may search and see nothing else: SECURITY DEFINER, so that the caller needs no
-- right on any table, and no answer has a hash. Who could ask for any distance would get the hash
-- of every image from some 65 distances, so nobody asks beyond what counts as alike.
CREATE FUNCTION imgdb.find_images(
    space_name text DEFAULT 'phash+dhash',
    query_hash bigint DEFAULT NULL,
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    query_hashes bigint[] DEFAULT NULL
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_most integer := imgdb._default_distance(space_name, collection_name);
BEGIN
    IF max_distance > v_most THEN
        RAISE EXCEPTION 'max_distance is %, more than the % that count as alike', max_distance, v_most
            USING
            ERRCODE = 'IM002',
            HINT = 'imgdb.similar_images takes any distance, from roles that may read.';
    END IF;
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb.similar_images(
        space_name, query_hash, coalesce(max_distance, v_most), collection_name, match_limit,
        query_hashes => query_hashes
    ) AS f;
END
$$;

COMMENT ON FUNCTION imgdb.find_images(text, bigint, integer, text, integer, bigint[]) IS
'As imgdb.similar_images, for roles that may not read: never a hash, never a flat image, and no '
'distance beyond the default of the collection, rule or space (error IM002).';
