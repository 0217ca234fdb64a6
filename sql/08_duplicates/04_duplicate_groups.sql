CREATE FUNCTION imgdb.duplicate_groups(
    space_name text DEFAULT 'phash+dhash',
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_rule_hashes name[] := imgdb._rule_hashes(space_name);
    v_is_sum boolean := pg_catalog.cardinality(v_rule_hashes) > 1;
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_max_distance integer := coalesce(
        max_distance, imgdb._default_distance(space_name, collection_name)
    );
    v_images bigint[];
    v_hashes bigint[];
    v_seconds bigint[];
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_rule_distance(pg_catalog.cardinality(v_rule_hashes), v_max_distance);
    SELECT pg_catalog.array_agg(d.image_id_a), pg_catalog.array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb.not_duplicate AS d;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.array_agg(i.image_id), pg_catalog.array_agg(i.%1$I), '
        'pg_catalog.array_agg(i.%2$I) FILTER (WHERE $2) FROM imgdb.image AS i '
        'WHERE pg_catalog.num_nonnulls(i.%1$I, i.%2$I) > 0 '
        'AND NOT i.flat AND i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = $1)',
        v_rule_hashes[1], coalesce(v_rule_hashes[2], v_rule_hashes[1])
    ) INTO v_images, v_hashes, v_seconds USING v_collection_id, v_is_sum;
    RETURN QUERY
    WITH hashed AS MATERIALIZED (
        SELECT h.image_id, h.hash, h.second
        FROM unnest(v_images, v_hashes, v_seconds) AS h (image_id, hash, second)
    )
    SELECT
        member.first_image_id, member.image_id, i.path,
        imgdb._rule_distance(h.hash, h.second, first.hash, first.second, v_is_sum)
    FROM imgdb._connected_images(
        v_images, v_hashes, v_seconds, v_max_distance, v_different_a, v_different_b
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    JOIN hashed AS h ON h.image_id = member.image_id
    JOIN hashed AS first ON first.image_id = member.first_image_id
    ORDER BY 1, 4, 3;
END
$$;

COMMENT ON FUNCTION imgdb.duplicate_groups(text, integer, text) IS
'Groups of images connected by distances of at most max_distance, less pairs in not_duplicate. A '
'group has the image_id of its first image; flat and missing images are in none. Without a '
'distance that of the collection counts, else that of the rule or space.';
