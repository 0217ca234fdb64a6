-- Where imgdb is an extension, a dump has the rows of its tables and not their triggers: those of
-- tracked tables of imgdb's own carry keys that come with the rows. pg_dump begins each dump with
-- row_security = off.
CREATE FUNCTION imgdb._finish_restore()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._sync_triggers(t.table_id)
    FROM imgdb.tracked_column AS t
    JOIN pg_class AS c ON c.oid = t.table_id
    WHERE c.relnamespace = 'imgdb'::regnamespace;
    -- Else each search would read all hashes until the next compact.
    PERFORM imgdb._count_anew(s.space_id) FROM imgdb.space_state AS s WHERE s.hash_count = 0;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._finish_restore() IS
'Trigger: when tracked columns are restored, makes the triggers of imgdb''s own tables and counts.';

CREATE TRIGGER tracked_column_finish_restore
AFTER INSERT ON imgdb.tracked_column
FOR EACH STATEMENT
WHEN (current_setting('row_security') = 'off')
EXECUTE FUNCTION imgdb._finish_restore();
