CREATE FUNCTION imgdb.duplicate_groups(
    space_name text,
    max_distance integer,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_images bigint[];
    v_hashes bigint[];
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb.not_duplicate AS d;
    EXECUTE format(
        'SELECT array_agg(i.image_id), array_agg(i.%1$I) FROM imgdb.image AS i '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat AND i.missing_since IS NULL '
        'AND ($1 IS NULL OR i.collection_id = $1)',
        v_column
    ) INTO v_images, v_hashes USING v_collection_id;
    RETURN QUERY
    SELECT
        member.first_image_id, member.image_id, i.path,
        imgdb.distance(h.hash, first.hash)
    FROM imgdb._connected_images(
        v_images, v_hashes, NULL, NULL, max_distance, NULL, NULL, v_different_a, v_different_b
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS h (image_id, hash) ON h.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS first (image_id, hash)
        ON first.image_id = member.first_image_id
    ORDER BY 1, 4, 3;
END
$$;

COMMENT ON FUNCTION imgdb.duplicate_groups(text, integer, text) IS
'Groups of images connected by distances of at most max_distance, less pairs in not_duplicate. A '
'group has the image_id of its first image; flat and missing images are in none.';
