-- The content that the hashes were made of is no longer at that path.
CREATE FUNCTION imgdb._store_failures(
    for_collection_id integer,
    paths text[],
    reasons text[],
    details text[],
    sizes bigint[],
    times timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = now()
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path AND i.missing_since IS NULL;
    INSERT INTO imgdb.ingest_failure AS f (
        collection_id, path, reason, detail, byte_size, modified_at
    )
    SELECT
        for_collection_id, given.path, given.reason, given.detail, given.byte_size,
        given.modified_at
    FROM unnest(paths, reasons, details, sizes, times)
        AS given (path, reason, detail, byte_size, modified_at)
    ORDER BY given.path COLLATE "C"
    ON CONFLICT ON CONSTRAINT ingest_failure_pkey DO UPDATE SET
        reason = excluded.reason,
        detail = excluded.detail,
        byte_size = excluded.byte_size,
        modified_at = excluded.modified_at,
        failed_at = excluded.failed_at
    WHERE
        (f.reason, f.detail, f.byte_size, f.modified_at)
        IS DISTINCT FROM
        (excluded.reason, excluded.detail, excluded.byte_size, excluded.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._store_failures(
    integer, text[], text[], text[], bigint[], timestamptz[]
) IS 'Notes why files cannot be hashed; the images that were at these paths count as missing.';
