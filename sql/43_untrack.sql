CREATE FUNCTION imgdb.untrack(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE t.table_id = relation AND t.column_name = hash_column;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of % is not tracked', hash_column, relation USING
            ERRCODE = 'IM009',
            HINT = 'SELECT * FROM imgdb.tracked_column lists the tracked columns.';
    END IF;
    PERFORM imgdb._drop_append_triggers(relation, hash_column);
END
$$;

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops filing the hashes of a column. Those that no other column holds go with the next compact.';

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
