CREATE FUNCTION imgdb.explain(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (strategy text, probes integer, candidates bigint, matches bigint, reason text)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_state record;
    v_probes bigint[];
    v_strategy text;
    v_candidates bigint;
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    SELECT st.hash_count, st.scan_from <= max_distance AS to_scan, c.probe_cost, c.scan_cost
    INTO v_state
    FROM imgdb.space_state AS st
    CROSS JOIN LATERAL imgdb._cost(st.space_id, max_distance, st.hash_count) AS c
    WHERE st.space_id = v_space_id;
    IF v_state.to_scan THEN
        v_strategy := 'scan';
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix;
    ELSE
        v_strategy := 'prefix buckets';
        SELECT array_agg((query_hash & p.band_mask) # flip_mask)
        INTO v_probes
        FROM imgdb.probe AS p
        CROSS JOIN unnest(p.flip_masks) AS flip_mask
        WHERE p.space_id = v_space_id AND p.from_distance <= max_distance;
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes);
    END IF;
    RETURN QUERY
    SELECT
        v_strategy,
        coalesce(cardinality(v_probes), 0),
        v_candidates + (
            SELECT coalesce(sum(cardinality(f.hashes)), 0)
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = v_space_id
        ),
        (SELECT count(*) FROM imgdb.within(space_name, query_hash, max_distance)),
        format(
            'of %s hashes: probes %s ms, scan %s ms',
            v_state.hash_count,
            CASE
                WHEN v_state.probe_cost = 'infinity' THEN 'far more'
                ELSE to_char(v_state.probe_cost / 1000, 'FM999999990.0')
            END,
            to_char(v_state.scan_cost / 1000, 'FM999999990.0')
        );
END
$$;

COMMENT ON FUNCTION imgdb.explain(text, bigint, integer) IS
'What within does for a query: its strategy (prefix buckets or scan), probes, candidates, matches, '
'and the reason: what both would cost by estimate.';
