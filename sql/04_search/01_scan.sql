CREATE FUNCTION imgdb.scan(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    -- Every hash stands in every band, so one band is enough to read.
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry
    WHERE imgdb.distance(entry.hash, query_hash) <= max_distance;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash) FROM unnest(v_fresh) AS found (hash);
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    RETURN QUERY
    SELECT DISTINCT ON (entry.hash) entry.hash, imgdb.distance(entry.hash, query_hash)
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE
        entry.hash & v_mask = entry.prefix
        AND imgdb.distance(entry.hash, query_hash) <= max_distance
        AND (v_fresh IS NULL OR entry.hash <> ALL (v_fresh))
    ORDER BY entry.hash;
END
$$;

COMMENT ON FUNCTION imgdb.scan(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash, by reading every one: twin of within.';
