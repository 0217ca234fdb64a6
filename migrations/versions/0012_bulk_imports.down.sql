-- The functions of the revision before.
CREATE OR REPLACE FUNCTION imgdb.space_statistics(space_name text)
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

DROP FUNCTION imgdb._store_import(integer, boolean);

CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    ANALYZE pg_temp.fresh_hash;
    UPDATE imgdb.image AS i
    SET
        ahash = n.ahash,
        dhash = n.dhash,
        phash = n.phash,
        whash = n.whash,
        flat = imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash),
        ingested_at = now()
    FROM pg_temp.fresh_hash AS n
    WHERE
        i.collection_id = for_collection_id AND i.path = n.path AND i.sha256 IS NULL
        AND (i.ahash, i.dhash, i.phash, i.whash)
        IS DISTINCT FROM (n.ahash, n.dhash, n.phash, n.whash);
    GET DIAGNOSTICS updated = ROW_COUNT;
    -- An insert would notice; an update takes one of the two, whichever it meets.
    IF updated > 0 AND EXISTS (
        SELECT FROM pg_temp.fresh_hash AS n GROUP BY n.path HAVING count(*) > 1
    ) THEN
        RAISE EXCEPTION 'a path is staged twice' USING ERRCODE = 'unique_violation';
    END IF;
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    WHERE
        NOT EXISTS (
            SELECT FROM imgdb.image AS i
            WHERE i.collection_id = for_collection_id AND i.path = n.path
        )
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Files the rows of pg_temp.fresh_hash in imgdb.image; rows that were made from a file stay.';

DROP FUNCTION imgdb._take_hashes(smallint, bigint);
DROP FUNCTION imgdb._begin_merge(text);
DROP FUNCTION imgdb._empty_buckets();
DROP FUNCTION imgdb._end_first_import(text[]);
DROP FUNCTION imgdb._begin_first_import(name[]);
DROP FUNCTION imgdb._may_empty(regclass);
DROP FUNCTION imgdb._hold_collection(integer);
DROP FUNCTION imgdb._hold_filing(name[]);
DROP FUNCTION imgdb._may_file();
DROP FUNCTION imgdb._fed_spaces(regclass, name[]);
DROP FUNCTION imgdb._any_stored(integer);
DROP FUNCTION imgdb._fragmented_spaces(bigint, double precision);
DROP FUNCTION imgdb._bucket_rows(smallint);
DROP FUNCTION imgdb._hold_off_compact_together(smallint);
