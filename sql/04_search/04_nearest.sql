-- A radius that holds match_limit hashes proves that no nearer one is missing. 3, 7 and 11 are the
-- radii at which every band has the same threshold (0, 1, 2): the largest that their probes can
-- answer. Beyond, every hash is read, once: the distances of some of them tell a radius that is
-- large enough, and holds a small part of all.
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

COMMENT ON FUNCTION imgdb.nearest(text, bigint, integer, integer) IS
'The match_limit hashes nearest to query_hash, at most max_distance away; ties by hash.';
