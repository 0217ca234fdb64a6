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
        coalesce(cardinality(imgdb._filed_hashes(v_space_id, 0)), 0)::bigint,
        coalesce(sum(bucket.row_count), 0)::bigint,
        count(*),
        coalesce(sum(bucket.row_count) / nullif(sum(ceil(bucket.hash_count / 200.0)), 0), 1)::double precision,
        (
            pg_total_relation_size('imgdb.prefix_bucket')
            * coalesce(
                sum(bucket.row_count) / nullif((SELECT count(*) FROM imgdb.prefix_bucket), 0), 0
            )
        )::bigint
    FROM (
        -- The ordered aggregate makes PostgreSQL sort (40_file_hashes.sql).
        SELECT count(*) AS row_count, sum(cardinality(b.hashes) ORDER BY b.prefix) AS hash_count
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = v_space_id
        GROUP BY b.prefix
    ) AS bucket;
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
