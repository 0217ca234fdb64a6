CREATE FUNCTION imgdb._bucket_rows(of_space_id smallint)
RETURNS TABLE (row_count bigint, needed_count bigint, bucket_count bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 100000
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        coalesce(sum(bucket.row_count), 0)::bigint,
        coalesce(sum(ceil(bucket.hash_count / 200.0)), 0)::bigint,
        count(*)
    FROM (
        -- The ordered aggregate makes PostgreSQL sort (imgdb._append_buckets says why).
        SELECT count(*) AS row_count, sum(cardinality(b.hashes) ORDER BY b.prefix) AS hash_count
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id
        GROUP BY b.prefix
    ) AS bucket;
END
$$;

COMMENT ON FUNCTION imgdb._bucket_rows(smallint) IS
'How many rows the buckets of a space have, how many they would need, and how many buckets it has.';

CREATE FUNCTION imgdb._fragmented_spaces(
    least_rows bigint, least_fragmentation double precision
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
BEGIN
    RETURN QUERY
    SELECT s.name
    FROM imgdb.space AS s
    CROSS JOIN LATERAL imgdb._bucket_rows(s.space_id) AS filled
    WHERE
        filled.row_count >= least_rows
        AND filled.row_count >= least_fragmentation * filled.needed_count
    ORDER BY s.space_id;
END
$$;

COMMENT ON FUNCTION imgdb._fragmented_spaces(bigint, double precision) IS
'The spaces of at least so many bucket rows, and so many for each that is needed.';

CREATE FUNCTION imgdb.space_statistics(space_name text)
RETURNS TABLE (
    distinct_hashes bigint,
    bucket_rows bigint,
    buckets bigint,
    fragmentation double precision,
    bytes bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    RETURN QUERY
    SELECT
        coalesce(cardinality(imgdb._indexed_hashes(v_space_id, 0)), 0)::bigint,
        filled.row_count,
        filled.bucket_count,
        coalesce(filled.row_count / nullif(filled.needed_count, 0)::double precision, 1),
        (
            pg_total_relation_size('imgdb.prefix_bucket')
            * coalesce(
                filled.row_count::double precision
                / nullif((SELECT count(*) FROM imgdb.prefix_bucket), 0),
                0
            )
        )::bigint
    FROM imgdb._bucket_rows(v_space_id) AS filled;
END
$$;

COMMENT ON FUNCTION imgdb.space_statistics(text) IS
'Distinct hashes, bucket rows, buckets, fragmentation (rows per row needed; 1 is compact) and '
'bytes of a space: its share, by rows, of the table and index that all spaces share.';

CREATE FUNCTION imgdb.fullest_buckets(space_name text, bucket_limit integer)
RETURNS TABLE (bucket_prefix bigint, hash_count bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    RETURN QUERY
    SELECT b.prefix, sum(cardinality(b.hashes) ORDER BY b.prefix)
    FROM imgdb.prefix_bucket AS b
    WHERE b.space_id = v_space_id
    GROUP BY b.prefix
    ORDER BY 2 DESC, 1
    LIMIT bucket_limit;
END
$$;

COMMENT ON FUNCTION imgdb.fullest_buckets(text, integer) IS
'The buckets that hold most hashes: what makes searches slow, if anything does.';
