-- One pass over the buckets of all queries' probes. The unnest keeps the inner select from being
-- flattened, so that each probe is one index lookup: a hash join on prefixes would collide
-- (40_file_hashes.sql).
CREATE FUNCTION imgdb.within_any(space_name text, query_hashes bigint[], max_distance integer)
RETURNS TABLE (query_hash bigint, hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 100 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_queries bigint[] := (
        SELECT array_agg(DISTINCT q.query)
        FROM unnest(query_hashes) AS q (query)
        WHERE q.query IS NOT NULL
    );
    v_probe_count integer;
    v_part integer;
    v_prefixes bigint[];
    v_owners bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT sum(cardinality(p.flip_masks))
    INTO v_probe_count
    FROM imgdb.probe AS p
    WHERE p.space_id = v_space_id AND p.radius = max_distance;
    IF v_probe_count IS NULL THEN
        RETURN QUERY
        SELECT q.query, found.hash, found.distance
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN imgdb.scan(space_name, q.query, max_distance) AS found;
        RETURN;
    END IF;
    -- In parts of about two million probes, which an array holds easily.
    v_part := greatest(2000000 / v_probe_count, 1);
    FOR v_first IN 1..coalesce(cardinality(v_queries), 0) BY v_part LOOP
        -- In the order of the index, so that each of its pages is fetched once.
        SELECT array_agg(probe.prefix), array_agg(probe.query)
        INTO v_prefixes, v_owners
        FROM (
            SELECT (q.query & p.band_mask) # flip_mask AS prefix, q.query
            FROM unnest(v_queries[v_first:v_first + v_part - 1]) AS q (query)
            CROSS JOIN imgdb.probe AS p
            CROSS JOIN unnest(p.flip_masks) AS flip_mask
            WHERE p.space_id = v_space_id AND p.radius = max_distance
            ORDER BY 1
        ) AS probe;
        RETURN QUERY
        SELECT DISTINCT ON (candidate.query, candidate.hash)
            candidate.query, candidate.hash, imgdb.distance(candidate.hash, candidate.query)
        FROM (
            SELECT probe.query, entry.hash
            FROM unnest(v_prefixes, v_owners) AS probe (prefix, query)
            CROSS JOIN LATERAL (
                SELECT unnest(bucket.hashes) AS hash
                FROM imgdb.prefix_bucket AS bucket
                WHERE bucket.space_id = v_space_id AND bucket.prefix = probe.prefix
            ) AS entry
        ) AS candidate
        WHERE imgdb.distance(candidate.hash, candidate.query) <= max_distance
        ORDER BY candidate.query, candidate.hash;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.within_any(text, bigint[], integer) IS
'For each of many query hashes all hashes of a space within max_distance, in one pass.';
