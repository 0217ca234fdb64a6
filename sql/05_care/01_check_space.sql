CREATE FUNCTION imgdb.check_space(space_name text, sample_count integer, max_distance integer)
RETURNS TABLE (sampled integer, mismatches bigint)
LANGUAGE plpgsql VOLATILE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_queries bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF sample_count IS NULL OR sample_count < 1 THEN
        RAISE EXCEPTION 'sample_count is %, not 1 or more', coalesce(sample_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many hashes to try; 100 is a good start.';
    END IF;
    -- Some bits of each are turned, up to max_distance of them, for a query seldom is a hash itself.
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
            FROM imgdb.scan(space_name, 0, 64) AS s
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
            -- A hash that nothing holds may be gone from some bands already: compact is at work.
            WHERE
                fast.hashes IS DISTINCT FROM twin.hashes
                AND imgdb._held(
                    v_space_id,
                    imgdb._difference(fast.hashes, twin.hashes)
                    || imgdb._difference(twin.hashes, fast.hashes)
                ) IS NOT NULL
        );
END
$$;

COMMENT ON FUNCTION imgdb.check_space(text, integer, integer) IS
'Compares within and scan on queries drawn from the space: how many were tried, how many differed.';

CREATE FUNCTION imgdb.missing_hashes(space_name text)
RETURNS TABLE (hash bigint, band integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_bands integer := (
        SELECT cardinality(s.band_masks) FROM imgdb.space AS s WHERE s.space_id = v_space_id
    );
    v_tracked bigint[] := imgdb._tracked_hashes(v_space_id);
BEGIN
    FOR v_band IN 0..v_bands - 1 LOOP
        RETURN QUERY
        SELECT missing.hash, v_band
        FROM unnest(
            imgdb._difference(v_tracked, imgdb._indexed_hashes(v_space_id, v_band))
        ) AS missing (hash);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.missing_hashes(text) IS
'Hashes that a tracked column holds and a band (from 0) lacks: none, or imgdb.rebuild is due.';
