CREATE FUNCTION imgdb.similar_images(
    space_name text DEFAULT 'phash+dhash',
    query_hash bigint DEFAULT NULL,
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    include_flat boolean DEFAULT FALSE,
    query_hashes bigint[] DEFAULT NULL
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_hashes);
    v_given bigint[] := coalesce(query_hashes, ARRAY[query_hash]);
BEGIN
    IF pg_catalog.cardinality(v_given) <> v_count
        OR pg_catalog.num_nonnulls(VARIADIC v_given) = 0
        OR pg_catalog.num_nonnulls(query_hash, query_hashes) > 1 THEN
        RAISE EXCEPTION '% takes % of a picture', space_name,
            CASE v_count WHEN 1 THEN 'one hash' ELSE v_count || ' hashes' END USING
            ERRCODE = 'IM012',
            HINT = CASE
                WHEN v_count = 1 THEN 'Give query_hash.'
                ELSE 'Give query_hashes => ARRAY['
                    || pg_catalog.array_to_string(v_hashes, ', ') || '].'
            END;
    END IF;
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb._found_images(
        space_name, v_given[:1], v_given[2:2], NULL,
        coalesce(max_distance, imgdb._default_distance(space_name, collection_name)),
        collection_name, match_limit, NULL, include_flat, true
    ) AS f
    ORDER BY f.missing, f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.similar_images(
    text, bigint, integer, text, integer, boolean, bigint[]
) IS
'The images within max_distance of a picture, nearest first, then by path, those whose files are '
'gone last; flat ones if asked for. '
'A space is asked with query_hash, rule phash+dhash with query_hashes: the phash, then the dhash. '
'Without a distance that of the collection counts, else that of the rule or space.';
