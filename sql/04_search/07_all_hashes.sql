-- For a program that searches thousands of hashes at once in its own memory. No hash is looked at
-- twice to see whether it came before: the program sorts them anyway.
CREATE FUNCTION imgdb._all_hashes(space_name text)
RETURNS TABLE (hash bigint)
LANGUAGE plpgsql STABLE ROWS 1000000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
BEGIN
    RETURN QUERY
    SELECT unnest(f.hashes) FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id;
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    RETURN QUERY
    SELECT entry.hash
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE entry.hash & v_mask = entry.prefix;
END
$$;

COMMENT ON FUNCTION imgdb._all_hashes(text) IS 'All hashes of a space, some of them several times.';

CREATE FUNCTION imgdb._search_cost(space_name text, max_distance integer)
RETURNS TABLE (hash_count bigint, query_cost double precision)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    RETURN QUERY
    SELECT st.hash_count, least(c.probe_cost, c.scan_cost)
    FROM imgdb.space_state AS st
    CROSS JOIN LATERAL imgdb._cost(v_space_id, max_distance, st.hash_count) AS c
    WHERE st.space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._search_cost(text, integer) IS
'Nearly how many hashes are in the buckets of a space, and what one search costs, in microseconds.';
