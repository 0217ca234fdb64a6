-- Few probes are looked up in the index. Many are in a good part of the buckets, and it costs less
-- to read all of them. Either way the probes of a part lie sorted in an array, in which
-- width_bucket finds those of a bucket's prefix by halving: no join on prefixes, which PostgreSQL
-- might do by hashing, where prefixes collide (imgdb._add_rows says why).
CREATE FUNCTION imgdb.within_any(
    space_name text,
    query_hashes bigint[],
    max_distance integer
)
RETURNS TABLE (query_hash bigint, hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 100 COST 100000
SET search_path = pg_catalog, pg_temp
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
    v_fresh record;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF query_hashes IS NULL THEN
        RAISE EXCEPTION 'query_hashes is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give an array of hashes; NULL inside of it asks nothing.';
    END IF;
    SELECT sum(cardinality(p.flip_masks))
    INTO v_probe_count
    FROM imgdb.probe AS p
    JOIN imgdb.space_state AS st ON st.space_id = p.space_id
    WHERE
        p.space_id = v_space_id AND p.from_distance <= max_distance AND st.scan_from > max_distance;
    IF v_probe_count IS NULL THEN
        RETURN QUERY
        SELECT q.query, found.hash, found.distance
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN imgdb.scan(space_name, q.query, max_distance) AS found;
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT entry.hash) AS hashes
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    FOR query_hash, hash, distance IN
        SELECT q.query, entry.hash, imgdb.distance(entry.hash, q.query)
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN unnest(v_fresh.hashes) AS entry (hash)
        WHERE imgdb.distance(entry.hash, q.query) <= max_distance
    LOOP
        RETURN NEXT;
    END LOOP;
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
            WHERE p.space_id = v_space_id AND p.from_distance <= max_distance
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
            WHERE
                imgdb.distance(candidate.hash, candidate.query) <= max_distance
                AND v_fresh.hashes[width_bucket(candidate.hash, v_fresh.hashes)]
                IS DISTINCT FROM candidate.hash
            ORDER BY candidate.query, candidate.hash
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.within_any(text, bigint[], integer) IS
'For each of many query hashes all hashes of a space within max_distance, in one pass.';
