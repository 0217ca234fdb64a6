-- The pigeonhole of bands once more, one level up: if every word k of four had more than t_k
-- differing bits, all of them had sum(t_k + 1) at least. So with a sum of max_distance + 1 one word
-- at least is within its threshold, and the space of words finds it. All four columns feed that one
-- space: the join tells whose word a match is. OFFSET 0 keeps it one look into the index for each
-- match also where a table has no statistics yet.
CREATE FUNCTION imgdb.within_pdq(query_pdq bigint[], max_distance integer)
RETURNS TABLE (image_id bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 4000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_most integer := max_distance / 4;
    -- The words behind the rest of that division are one bit nearer; none is nearer than 0.
    v_least integer[] := ARRAY(
        SELECT greatest(CASE WHEN word <= max_distance % 4 THEN v_most ELSE v_most - 1 END, 0)
        FROM generate_series(0, 3) AS word
    );
BEGIN
    PERFORM imgdb._check_pdq(query_pdq, max_distance);
    -- Beyond, a search of words reads them all, and most match.
    IF v_most > 12 THEN
        RETURN QUERY SELECT * FROM imgdb.scan_pdq(query_pdq, max_distance);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT near.image_id, near.distance
    FROM (
        SELECT
            p.image_id,
            imgdb.distance(p.pdq_1, query_pdq[1]) + imgdb.distance(p.pdq_2, query_pdq[2])
            + imgdb.distance(p.pdq_3, query_pdq[3]) + imgdb.distance(p.pdq_4, query_pdq[4])
            AS distance
        FROM (
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[1], v_least[1]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_1 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[2], v_least[2]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_2 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[3], v_least[3]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_3 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[4], v_least[4]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_4 = m.hash OFFSET 0
            ) AS p
        ) AS p
    ) AS near
    WHERE near.distance <= max_distance
    ORDER BY near.distance, near.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.within_pdq(bigint[], integer) IS
'All images whose PDQ hash is within max_distance (0 to 256) of query_pdq, nearest first: by the '
'prefix buckets of its words up to distance 51, by reading every one beyond.';
