-- Exact counts: they read whole indexes, which takes seconds at tens of millions of images.
CREATE FUNCTION imgdb._statistics()
RETURNS TABLE (
    images bigint,
    flat bigint,
    missing bigint,
    failures bigint,
    failures_by_reason jsonb,
    collections jsonb,
    relations jsonb
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
BEGIN
    RETURN QUERY
    SELECT
        (SELECT count(*) FROM imgdb.image),
        (SELECT count(*) FROM imgdb.image AS i WHERE i.flat),
        (SELECT count(*) FROM imgdb.image AS i WHERE i.missing_since IS NOT NULL),
        (SELECT count(*) FROM imgdb.ingest_failure),
        (
            SELECT coalesce(jsonb_object_agg(f.reason, f.reason_count), '{}')
            FROM (
                SELECT
                    g.reason,
                    count(*) AS reason_count
                FROM imgdb.ingest_failure AS g
                GROUP BY g.reason
            ) AS f
        ),
        (
            SELECT
                coalesce(
                    jsonb_agg(
                        jsonb_build_object('name', c.name, 'images', c.image_count)
                        ORDER BY c.name
                    ),
                    '[]'
                )
            FROM (
                SELECT
                    d.name,
                    (
                        SELECT count(*)
                        FROM imgdb.image AS i
                        WHERE i.collection_id = d.collection_id
                    ) AS image_count
                FROM imgdb.collection AS d
            ) AS c
        ),
        -- A table without its indexes, TOAST included, and each index by itself: they add up.
        (
            SELECT
                jsonb_agg(
                    jsonb_build_object('name', r.relname, 'kind', r.kind, 'bytes', r.bytes)
                    ORDER BY r.bytes DESC, r.relname
                )
            FROM (
                SELECT
                    k.relname,
                    CASE k.relkind WHEN 'i' THEN 'index' ELSE 'table' END AS kind,
                    CASE k.relkind
                        WHEN 'i' THEN pg_relation_size(k.oid)
                        ELSE pg_table_size(k.oid)
                    END AS bytes
                FROM pg_catalog.pg_class AS k
                WHERE k.relnamespace = 'imgdb'::regnamespace AND k.relkind IN ('r', 'm', 'i')
            ) AS r
        );
END
$$;

COMMENT ON FUNCTION imgdb._statistics() IS
'How much the schema holds: images, failures, collections, and bytes of tables and indexes.';
