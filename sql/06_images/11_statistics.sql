-- Exact counts: they read whole indexes, which takes seconds at tens of millions of images.
CREATE FUNCTION imgdb._statistics()
RETURNS TABLE (
    images bigint,
    flat bigint,
    missing bigint,
    failures bigint,
    failures_by_reason jsonb,
    collections jsonb,
    tables jsonb
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
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
        (
            SELECT
                jsonb_agg(
                    jsonb_build_object(
                        'name', k.relname,
                        'bytes', pg_table_size(k.oid),
                        'indexes', (
                            SELECT
                                coalesce(
                                    jsonb_object_agg(n.relname, pg_relation_size(n.oid)), '{}'
                                )
                            FROM pg_catalog.pg_index AS x
                            JOIN pg_catalog.pg_class AS n ON n.oid = x.indexrelid
                            WHERE x.indrelid = k.oid
                        )
                    )
                    ORDER BY pg_total_relation_size(k.oid) DESC, k.relname
                )
            FROM pg_catalog.pg_class AS k
            WHERE k.relnamespace = 'imgdb'::regnamespace AND k.relkind IN ('r', 'p')
        );
END
$$;

COMMENT ON FUNCTION imgdb._statistics() IS
'How much the schema holds: images, failures, collections, and bytes of tables and indexes.';
