CREATE FUNCTION imgdb._failures(collection_name text, reason_class text)
RETURNS TABLE (path text, reason text, detail text, collection text, failed_at timestamptz)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT f.path, f.reason, f.detail, c.name, f.failed_at
    FROM imgdb.ingest_failure AS f
    JOIN imgdb.collection AS c ON c.collection_id = f.collection_id
    WHERE
        (v_collection_id IS NULL OR f.collection_id = v_collection_id)
        AND (reason_class IS NULL OR f.reason = reason_class)
    ORDER BY f.path, c.name;
END
$$;

COMMENT ON FUNCTION imgdb._failures(text, text) IS
'The files that could not be ingested, by path; NULL stands for every collection, every reason.';
