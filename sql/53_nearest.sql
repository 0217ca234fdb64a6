-- 3, 7 and 11 are the radii at which every band has the same threshold (0, 1, 2): the largest that
-- their probes can answer; 12 is the last with probes. A radius that holds match_limit hashes
-- proves that no nearer one is missing. Beyond, every hash is read, but only the nearest are kept.
CREATE FUNCTION imgdb.nearest(
    space_name text,
    query_hash bigint,
    match_limit integer,
    max_distance integer DEFAULT 64
)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_radius integer;
    v_limit bigint := match_limit;
    v_entries bigint;
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF match_limit IS NULL OR match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', coalesce(match_limit::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many of the nearest hashes you want.';
    END IF;
    FOREACH v_radius IN ARRAY ARRAY[3, 7, 11, 12] LOOP
        v_radius := least(v_radius, max_distance);
        SELECT array_agg(m.hash ORDER BY m.distance, m.hash)
        INTO v_hashes
        FROM imgdb.within(space_name, query_hash, v_radius) AS m;
        EXIT WHEN v_radius = max_distance OR cardinality(v_hashes) >= match_limit;
    END LOOP;
    -- Doubles of fragmented buckets take places among the nearest: then more of them are read.
    WHILE max_distance > 12 AND (v_hashes IS NULL OR cardinality(v_hashes) < match_limit) LOOP
        SELECT array_agg(top.hash ORDER BY top.distance, top.hash) FILTER (WHERE top.first), count(*)
        INTO v_hashes, v_entries
        FROM (
            SELECT
                entry.hash,
                entry.distance,
                row_number() OVER (PARTITION BY entry.distance, entry.hash) = 1 AS first
            FROM (
                SELECT read.hash, imgdb.distance(read.hash, query_hash) AS distance
                FROM (
                    SELECT bucket.prefix, unnest(bucket.hashes) AS hash
                    FROM imgdb.prefix_bucket AS bucket
                    WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
                ) AS read
                WHERE
                    read.hash & v_mask = read.prefix
                    AND imgdb.distance(read.hash, query_hash) <= max_distance
                ORDER BY distance, read.hash
                LIMIT v_limit
            ) AS entry
        ) AS top;
        EXIT WHEN v_entries < v_limit;
        v_limit := v_limit * 2;
    END LOOP;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash)
    FROM unnest(v_hashes[:match_limit]) WITH ORDINALITY AS found (hash, place)
    ORDER BY found.place;
END
$$;

COMMENT ON FUNCTION imgdb.nearest(text, bigint, integer, integer) IS
'The match_limit hashes nearest to query_hash, at most max_distance away; ties by hash.';
