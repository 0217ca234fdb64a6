-- All matches stand in the buckets of the probes, because one band at least is within its
-- threshold (imgdb._prepare_probes), or in the fresh level, which is read first: on several nodes
-- the buckets show later what left it. plpgsql keeps the plans, and ROWS 10 lets a join with the
-- caller's table use the index of its hash column. unnest in the select list beats unnest in FROM.
CREATE FUNCTION imgdb.within(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint;
    v_probes bigint[];
    v_fresh bigint[];
BEGIN
    SELECT min(probe.space_id), array_agg((query_hash & probe.band_mask) # probe.flip_mask)
    INTO v_space_id, v_probes
    FROM (
        SELECT p.space_id, p.band_mask, unnest(p.flip_masks) AS flip_mask
        FROM imgdb.probe AS p
        WHERE
            p.space_id = (
                SELECT s.space_id
                FROM imgdb.space AS s
                JOIN imgdb.space_state AS st ON st.space_id = s.space_id
                WHERE s.name = space_name AND st.scan_from > max_distance
            )
            -- PostgreSQL would plan for each distance anew, which takes longer than the probes.
            AND p.from_distance <= (SELECT max_distance)
    ) AS probe;
    IF v_probes IS NULL OR query_hash IS NULL THEN
        RETURN QUERY SELECT * FROM imgdb.scan(space_name, query_hash, max_distance);
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry
    WHERE imgdb.distance(entry.hash, query_hash) <= max_distance;
    IF v_fresh IS NOT NULL THEN
        RETURN QUERY
        SELECT found.hash, imgdb.distance(found.hash, query_hash) FROM unnest(v_fresh) AS found (hash);
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (candidate.hash) candidate.hash, imgdb.distance(candidate.hash, query_hash)
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes)
    ) AS candidate
    WHERE
        imgdb.distance(candidate.hash, query_hash) <= max_distance
        AND (v_fresh IS NULL OR candidate.hash <> ALL (v_fresh))
    ORDER BY candidate.hash;
END
$$;

COMMENT ON FUNCTION imgdb.within(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash: by prefix buckets, or by a scan where '
'that costs less (imgdb.explain tells).';
