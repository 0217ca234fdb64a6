CREATE FUNCTION imgdb.check_space(space_name text, sample_count integer, max_distance integer)
RETURNS TABLE (sampled integer, mismatches bigint)
LANGUAGE plpgsql VOLATILE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_count bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = v_space_id);
    v_queries bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF sample_count IS NULL OR sample_count < 1 THEN
        RAISE EXCEPTION 'sample_count is %, not 1 or more', coalesce(sample_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many hashes to try; 100 is a good start.';
    END IF;
    -- Some bits of each are turned, up to max_distance of them, for a query seldom is a hash
    -- itself.
    SELECT array_agg(chosen.hash # chosen.turned)
    INTO v_queries
    FROM (
        SELECT
            drawn.hash,
            (
                SELECT coalesce(bit_or(1::bigint << floor(random() * 64)::integer), 0)
                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
            ) AS turned
        FROM (
            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM (
                SELECT entry.hash
                FROM (
                    SELECT b.prefix, unnest(b.hashes) AS hash
                    FROM imgdb.prefix_bucket AS b
                    WHERE b.space_id = v_space_id AND b.prefix & v_mask = b.prefix
                ) AS entry
                -- So that only some are sorted.
                WHERE entry.hash & v_mask = entry.prefix AND random() * v_count < 10 * sample_count
                UNION ALL
                SELECT unnest(f.hashes) FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
            ) AS s
            ORDER BY random()
            LIMIT sample_count
        ) AS drawn
    ) AS chosen;
    RETURN QUERY
    SELECT
        coalesce(cardinality(v_queries), 0),
        (
            SELECT count(*)
            FROM unnest(v_queries) AS q (query)
            CROSS JOIN LATERAL (
                SELECT array_agg(m.hash ORDER BY m.hash) AS hashes
                FROM imgdb.within(space_name, q.query, max_distance) AS m
            ) AS fast
            CROSS JOIN LATERAL (
                SELECT array_agg(m.hash ORDER BY m.hash) AS hashes
                FROM imgdb.scan(space_name, q.query, max_distance) AS m
            ) AS twin
            WHERE fast.hashes IS DISTINCT FROM twin.hashes
        );
END
$$;

COMMENT ON FUNCTION imgdb.check_space(text, integer, integer) IS
'Compares within and scan on queries drawn from the space: how many were tried, how many differed.';

-- Reads the tracked tables, so it is for their owner. No array holds more than a range of a band.
CREATE FUNCTION imgdb.missing_hashes(space_name text)
RETURNS TABLE (hash bigint, band integer)
LANGUAGE plpgsql VOLATILE ROWS 10 COST 1000000
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_source text := imgdb._source_query(v_space_id);
    v_fresh bigint[] := (
        SELECT array_agg(DISTINCT entry.hash)
        FROM (
            SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
        ) AS entry
    );
    v_part bigint[];
    v_missing bigint[];
BEGIN
    FOR v_band IN 1..cardinality(v_masks) LOOP
        FOR v_part IN EXECUTE imgdb._ordered_parts_query(v_source, v_masks[v_band]) LOOP
            v_missing := imgdb._difference(v_part, v_fresh);
            v_missing := imgdb._difference(
                v_missing, imgdb._indexed_among(v_space_id, v_masks[v_band], v_missing)
            );
            RETURN QUERY SELECT m.hash, v_band - 1 FROM unnest(v_missing) AS m (hash);
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.missing_hashes(text) IS
'Hashes that a tracked column holds and a band (from 0) lacks: none, or imgdb.catch_up is due.';
