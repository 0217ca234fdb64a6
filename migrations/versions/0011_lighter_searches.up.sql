-- within_any looks few probes up by one array; nearest takes a smaller sample.
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
    -- Arrays in a record stay as they are; as variables they would be copied at every use.
    v_probe record;
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
    -- In parts of about half a million probes, which keeps the memory small.
    v_part := greatest(500000 / v_probe_count, 1);
    FOR v_first IN 1..coalesce(cardinality(v_queries), 0) BY v_part LOOP
        -- In the order of the index, so that each of its pages is fetched once.
        SELECT
            array_agg(probe.prefix) AS prefixes,
            array_agg(probe.query) AS queries,
            count(*) < 50000 AS few
        INTO v_probe
        FROM (
            SELECT (q.query & p.band_mask) # flip_mask AS prefix, q.query
            FROM unnest(v_queries[v_first:v_first + v_part - 1]) AS q (query)
            CROSS JOIN imgdb.probe AS p
            CROSS JOIN unnest(p.flip_masks) AS flip_mask
            WHERE p.space_id = v_space_id AND p.radius = max_distance
            ORDER BY 1
        ) AS probe;
        -- A loop is never run in parallel, which would send each worker the arrays as text.
        FOR query_hash, hash, distance IN
            SELECT DISTINCT ON (candidate.query, candidate.hash)
                candidate.query, candidate.hash, imgdb.distance(candidate.hash, candidate.query)
            FROM (
                SELECT asked.query, unnest(asked.hashes) AS hash
                FROM (
                    SELECT
                        bucket.hashes,
                        unnest(v_probe.queries[
                            -- Behind the last probe of a smaller prefix.
                            CASE
                                WHEN bucket.prefix = -9223372036854775808 THEN 1
                                ELSE width_bucket(bucket.prefix - 1, v_probe.prefixes) + 1
                            END:
                            width_bucket(bucket.prefix, v_probe.prefixes)
                        ]) AS query
                    FROM (
                        -- One of the two is never run: which, is seen before it starts.
                        SELECT b.prefix, b.hashes
                        FROM imgdb.prefix_bucket AS b
                        WHERE
                            v_probe.few
                            AND b.space_id = v_space_id
                            -- Seeing how many these are, PostgreSQL would leave the index alone.
                            AND b.prefix = ANY ((SELECT v_probe.prefixes)::bigint[])
                        UNION ALL
                        SELECT b.prefix, b.hashes
                        FROM imgdb.prefix_bucket AS b
                        WHERE
                            NOT v_probe.few
                            AND b.space_id = v_space_id
                            AND v_probe.prefixes[width_bucket(b.prefix, v_probe.prefixes)]
                            = b.prefix
                    ) AS bucket
                ) AS asked
            ) AS candidate
            WHERE imgdb.distance(candidate.hash, candidate.query) <= max_distance
            ORDER BY candidate.query, candidate.hash
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

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
    v_radius integer;
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF match_limit IS NULL OR match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', coalesce(match_limit::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many of the nearest hashes you want.';
    END IF;
    FOREACH v_radius IN ARRAY ARRAY[3, 7, 11, 64] LOOP
        IF v_radius = 64 THEN
            SELECT max(near.distance)
            INTO v_radius
            FROM (
                SELECT DISTINCT ON (measured.distance, measured.hash) measured.distance
                FROM (
                    SELECT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
                    FROM (
                        SELECT unnest(bucket.hashes) AS hash
                        FROM imgdb.prefix_bucket AS bucket
                        WHERE bucket.space_id = v_space_id
                        LIMIT 1000 + 30 * match_limit::bigint
                    ) AS entry
                ) AS measured
                ORDER BY measured.distance, measured.hash
                LIMIT match_limit
            ) AS near
            HAVING count(*) = match_limit;
        END IF;
        v_radius := least(v_radius, max_distance);
        SELECT array_agg(found.hash ORDER BY found.distance, found.hash)
        INTO v_hashes
        FROM imgdb.within(space_name, query_hash, v_radius) AS found;
        EXIT WHEN v_radius = max_distance OR cardinality(v_hashes) >= match_limit;
    END LOOP;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash)
    FROM unnest(v_hashes[:match_limit]) WITH ORDINALITY AS found (hash, place)
    ORDER BY found.place;
END
$$;
