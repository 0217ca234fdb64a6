-- Reads the catalogs only, so everybody may ask, and nothing of a tracked table runs.
CREATE FUNCTION imgdb.tracking_problems()
RETURNS TABLE (relation text, problem text)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    -- A trigger that is wanted and not there.
    SELECT member.table_id::regclass::text, format('has no %s trigger that is on and up to date', e.event)
    FROM (
        SELECT DISTINCT f.member AS table_id
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        CROSS JOIN LATERAL imgdb._table_family(t.table_id) AS f (member)
    ) AS member
    JOIN pg_class AS c ON c.oid = member.table_id AND c.relkind IN ('r', 'p')
    CROSS JOIN unnest(ARRAY['insert', 'update']) AS e (event)
    WHERE
        cardinality(imgdb._wanted_keys(member.table_id)) > 0
        AND NOT EXISTS (
            SELECT FROM imgdb._append_triggers() AS t
            WHERE
                t.on_table = member.table_id AND t.event = e.event AND t.is_on
                AND t.track_keys = imgdb._wanted_keys(member.table_id)
        )
    UNION ALL
    -- One that is there and not wanted.
    SELECT t.on_table::text, format('has trigger %s, which nothing asks for', t.trigger_name)
    FROM imgdb._append_triggers() AS t
    WHERE
        cardinality(imgdb._wanted_keys(t.on_table)) = 0 OR t.trigger_name <> 'imgdb_' || t.event
    UNION ALL
    -- A table or a column that is not what was tracked.
    SELECT
        t.table_id::text,
        CASE
            WHEN c.oid IS NULL THEN 'is tracked, but dropped'
            WHEN c.relkind NOT IN ('r', 'p') THEN 'is tracked, but no table any more'
            WHEN a.attnum IS NULL
                THEN format('column "%s" is tracked, but dropped, renamed or no bigint', t.column_name)
            ELSE format('column "%s" is tracked, but exchanged for another one', t.column_name)
        END
    FROM imgdb.tracked_column AS t
    LEFT JOIN pg_class AS c ON c.oid = t.table_id
    LEFT JOIN pg_attribute AS a ON
        a.attrelid = c.oid AND a.attname = t.column_name AND NOT a.attisdropped
        AND a.atttypid = 'int8'::regtype
    WHERE
        c.oid IS NULL OR c.relkind NOT IN ('r', 'p') OR a.attnum IS NULL
        OR (t.table_number = t.table_id AND a.attnum <> t.column_number)
    UNION ALL
    SELECT member.table_id::regclass::text, 'cannot have triggers, and is below a tracked table'
    FROM (
        SELECT DISTINCT f.member AS table_id
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        CROSS JOIN LATERAL imgdb._table_family(t.table_id) AS f (member)
    ) AS member
    JOIN pg_class AS c ON c.oid = member.table_id AND c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT format('space "%s"', s.name), 'is left from a rebuild that was stopped: run it again'
    FROM imgdb.space AS s
    WHERE s.shadow_of IS NOT NULL;
    -- One after the other, since buckets may be on several nodes. Identities are given in a row.
    FOR v_id IN 1..(SELECT max(s.space_id) + 100 FROM imgdb.space AS s) LOOP
        IF NOT EXISTS (SELECT 1 FROM imgdb.space AS s WHERE s.space_id = v_id) THEN
            PERFORM 1 FROM imgdb.prefix_bucket AS p WHERE p.space_id = v_id LIMIT 1;
            IF FOUND THEN
                RETURN QUERY SELECT format('space %s', v_id), 'has hashes, but is no space';
            END IF;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.tracking_problems() IS
'Where triggers, tables and spaces differ from what imgdb.tracked_column asks for: rows that are '
'in a table may not be found. imgdb.catch_up mends triggers.';
