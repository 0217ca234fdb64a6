CREATE FUNCTION imgdb.untrack(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE t.table_id = relation AND t.column_name = hash_column
    RETURNING t.space_id INTO v_space_id;
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'column "%" of % is not tracked', hash_column, relation USING
            ERRCODE = 'IM009',
            HINT = 'SELECT * FROM imgdb.tracked_column lists the tracked columns.';
    END IF;
    -- A compact that waited for the table, which DROP TRIGGER locks, would hold what a drop_space or
    -- a rebuild later in this transaction waits for.
    PERFORM imgdb._hold_off_compact(v_space_id);
    PERFORM imgdb._drop_append_triggers(relation, hash_column, v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops indexing the hashes of a column. Those that no other column holds go with the next compact.';

CREATE FUNCTION imgdb._forget_dropped()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.table_id);
END
$$;

COMMENT ON FUNCTION imgdb._forget_dropped() IS 'Removes tracked columns whose table is dropped.';
