CREATE FUNCTION imgdb._check_pdq(pdq_words bigint[], max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF num_nulls(pdq_words[1], pdq_words[2], pdq_words[3], pdq_words[4]) > 0
        OR cardinality(pdq_words) <> 4
    THEN
        RAISE EXCEPTION 'a PDQ hash is four words, not %', coalesce(pdq_words::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'imgdb.pdq_from_hex makes them of 64 hex digits.';
    END IF;
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 256 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 256',
            coalesce(max_distance::text, 'NULL') USING
            ERRCODE = 'IM002',
            HINT = 'It counts the differing bits of two PDQ hashes; 31 is the usual choice.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_pdq(bigint[], integer) IS
'Error IM012 unless it is a PDQ hash, IM002 unless 0 <= max_distance <= 256.';

CREATE FUNCTION imgdb.scan_pdq(query_pdq bigint[], max_distance integer)
RETURNS TABLE (image_id bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._check_pdq(query_pdq, max_distance);
    RETURN QUERY
    SELECT near.image_id, near.distance
    FROM (
        SELECT
            p.image_id,
            imgdb.distance(p.pdq_1, query_pdq[1]) + imgdb.distance(p.pdq_2, query_pdq[2])
            + imgdb.distance(p.pdq_3, query_pdq[3]) + imgdb.distance(p.pdq_4, query_pdq[4])
            AS distance
        FROM imgdb.image_pdq AS p
    ) AS near
    WHERE near.distance <= max_distance
    ORDER BY near.distance, near.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.scan_pdq(bigint[], integer) IS
'All images whose PDQ hash is within max_distance (0 to 256) of query_pdq, nearest first, by '
'reading every one: twin of within_pdq.';
