-- Through the collections, because the index of paths begins with them.
CREATE FUNCTION imgdb._note_file(of_path text, of_sha256 bytea, modified timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE imgdb.image AS i
    SET
        missing_since = CASE WHEN modified IS NULL THEN coalesce(i.missing_since, now()) END,
        modified_at = coalesce(modified, i.modified_at)
    FROM imgdb.collection AS c
    WHERE
        i.collection_id = c.collection_id
        AND i.path = of_path
        AND i.sha256 IS NOT NULL
        AND (modified IS NULL OR i.sha256 = of_sha256)
        AND (
            (i.missing_since IS NULL) = (modified IS NULL)
            OR i.modified_at <> modified
        );
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._note_file(text, bytea, timestamptz) IS
'Notes in all collections that a file is gone (modified is NULL), or that these bytes of it are '
'there, written at that time.';
