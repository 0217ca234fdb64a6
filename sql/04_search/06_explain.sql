CREATE FUNCTION imgdb.explain(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (strategy text, probes integer, candidates bigint, matches bigint)
LANGUAGE plpgsql STABLE ROWS 1
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_probes bigint[];
    v_strategy text := 'prefix buckets';
    v_candidates bigint;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg((query_hash & p.band_mask) # flip_mask)
    INTO v_probes
    FROM imgdb.probe AS p
    CROSS JOIN unnest(p.flip_masks) AS flip_mask
    WHERE p.space_id = v_space_id AND p.radius = max_distance;
    IF v_probes IS NULL THEN
        v_strategy := 'scan';
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE
            bucket.space_id = v_space_id
            AND bucket.prefix & v_mask = bucket.prefix;
    ELSE
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes);
    END IF;
    RETURN QUERY
    SELECT v_strategy, coalesce(cardinality(v_probes), 0), v_candidates, count(*)
    FROM imgdb.within(space_name, query_hash, max_distance);
END
$$;

COMMENT ON FUNCTION imgdb.explain(text, bigint, integer) IS
'What within does for a query: its strategy (prefix buckets or scan), probes, candidates, matches.';
