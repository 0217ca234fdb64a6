CREATE FUNCTION imgdb._bucket_rows(of_space_id smallint)
RETURNS TABLE (row_count bigint, needed_count bigint, bucket_count bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        coalesce(sum(bucket.row_count), 0)::bigint,
        coalesce(sum(ceil(bucket.hash_count / 200.0)), 0)::bigint,
        count(*)
    FROM (
        -- The ordered aggregate makes PostgreSQL sort (imgdb._add_rows says why).
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
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT s.name
    FROM imgdb.space AS s
    CROSS JOIN LATERAL imgdb._bucket_rows(s.space_id) AS filled
    WHERE
        filled.row_count >= least_rows
        AND filled.row_count >= least_fragmentation * filled.needed_count
        OR (
            SELECT count(*) > 500 OR sum(cardinality(f.hashes)) > 2000
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = s.space_id
        )
    ORDER BY s.space_id;
END
$$;

COMMENT ON FUNCTION imgdb._fragmented_spaces(bigint, double precision) IS
'The spaces of at least so many bucket rows, and so many for each that is needed, and those with '
'many fresh hashes.';

-- Distributed buckets have their size on the nodes; the table here is an empty shell.
CREATE FUNCTION imgdb._bucket_bytes()
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bigint;
BEGIN
    IF imgdb._is_distributed() THEN
        EXECUTE 'SELECT pg_catalog.citus_total_relation_size(''imgdb.prefix_bucket'')' INTO v_bytes;
    ELSE
        v_bytes := pg_total_relation_size('imgdb.prefix_bucket');
    END IF;
    RETURN v_bytes;
END
$$;

COMMENT ON FUNCTION imgdb._bucket_bytes() IS
'Bytes of the buckets of all spaces, with their index.';

CREATE FUNCTION imgdb.space_statistics(space_name text)
RETURNS TABLE (
    distinct_hashes bigint,
    fresh_hashes bigint,
    bucket_rows bigint,
    buckets bigint,
    fragmentation double precision,
    bytes bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
    v_fresh_count bigint;
    v_row_count bigint := (SELECT count(*) FROM imgdb.prefix_bucket);
BEGIN
    SELECT array_agg(DISTINCT entry.hash), count(*)
    INTO v_fresh, v_fresh_count
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    v_fresh := imgdb._difference(v_fresh, imgdb._indexed_among(v_space_id, v_mask, v_fresh));
    RETURN QUERY
    SELECT
        coalesce(cardinality(v_fresh), 0) + (
            -- Sorted on disk where there are many.
            SELECT count(DISTINCT entry.hash)
            FROM (
                SELECT bucket.prefix, unnest(bucket.hashes) AS hash
                FROM imgdb.prefix_bucket AS bucket
                WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
            ) AS entry
            WHERE entry.hash & v_mask = entry.prefix
        ),
        v_fresh_count,
        filled.row_count,
        filled.bucket_count,
        coalesce(filled.row_count / nullif(filled.needed_count, 0)::double precision, 1),
        (
            imgdb._bucket_bytes()
            * coalesce(filled.row_count::double precision / nullif(v_row_count, 0), 0)
        )::bigint
    FROM imgdb._bucket_rows(v_space_id) AS filled;
END
$$;

COMMENT ON FUNCTION imgdb.space_statistics(text) IS
'Distinct hashes, fresh ones (a hash may be fresh several times), bucket rows, buckets, '
'fragmentation (rows per row needed) and bytes of a space: its share, by rows, of the table and '
'index that all spaces share. Reads all buckets; imgdb.space_health does not.';

CREATE FUNCTION imgdb.fullest_buckets(space_name text, bucket_limit integer)
RETURNS TABLE (bucket_prefix bigint, hash_count bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
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
