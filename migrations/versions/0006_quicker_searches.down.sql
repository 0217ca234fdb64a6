-- As they were before.
CREATE OR REPLACE FUNCTION imgdb.within(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint;
    v_probes bigint[];
BEGIN
    SELECT s.space_id, array_agg((query_hash & p.band_mask) # flip_mask)
    INTO v_space_id, v_probes
    FROM imgdb.space AS s
    JOIN imgdb.probe AS p ON p.space_id = s.space_id
    CROSS JOIN unnest(p.flip_masks) AS flip_mask
    WHERE s.name = space_name AND p.radius = max_distance
    GROUP BY s.space_id;
    IF v_probes IS NULL THEN
        RETURN QUERY SELECT * FROM imgdb.scan(space_name, query_hash, max_distance);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (candidate.hash) candidate.hash, imgdb.distance(candidate.hash, query_hash)
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes)
    ) AS candidate
    WHERE imgdb.distance(candidate.hash, query_hash) <= max_distance
    ORDER BY candidate.hash;
END
$$;

COMMENT ON FUNCTION imgdb.within(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash, by prefix buckets up to distance 12.';

CREATE OR REPLACE FUNCTION imgdb.within_any(
    space_name text,
    query_hashes bigint[],
    max_distance integer
)
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

CREATE OR REPLACE FUNCTION imgdb.nearest(
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
