CREATE FUNCTION imgdb.scan(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    -- Every hash stands in every band, so one band is enough to read.
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
BEGIN
    PERFORM imgdb._check_distance(max_distance);
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
    ORDER BY entry.hash;
END
$$;

COMMENT ON FUNCTION imgdb.scan(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash, by reading every one: twin of within.';
