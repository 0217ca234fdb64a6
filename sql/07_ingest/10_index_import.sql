CREATE FUNCTION imgdb._fed_spaces(relation regclass, hash_columns name[])
RETURNS smallint[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT t.space_id
        FROM imgdb.tracked_column AS t
        WHERE t.table_id = relation AND t.column_name = ANY (hash_columns)
        ORDER BY t.space_id
    );
END
$$;

COMMENT ON FUNCTION imgdb._fed_spaces(regclass, name[]) IS
'The spaces that columns of a table feed, in order.';

-- Triggers sort in the server, and the foreign key is checked row by row, with a lock that sessions
-- at work on the same collection share. An import sorts for itself, in a fraction of the time,
-- indexes by COPY and looks for the collection once: then it stores without triggers and foreign
-- key, as roles do that restore dumps so.
CREATE FUNCTION imgdb._may_index()
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_before text := current_setting('session_replication_role');
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    PERFORM set_config('session_replication_role', v_before, true);
    RETURN has_table_privilege('imgdb.prefix_bucket', 'INSERT')
        AND has_table_privilege('imgdb.space', 'UPDATE');
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN false;
END
$$;

COMMENT ON FUNCTION imgdb._may_index() IS
'Whether this role may index the hashes of an import by COPY, and store it without triggers.';

-- The hashes are indexed in a transaction of their own, which commits before those that bring the
-- rows. Who sees a row then finds its hashes indexed, and if the rows do not come after all, the
-- hashes are stale. Until they have come:
-- * compact must not look whether the hashes are held;
-- * the bands of the spaces, and which space a column feeds, must not change. Rebuild and track
--   lock the space first and the table then, and so does this;
-- * nobody may add a trigger or a foreign key to the table, and nobody has.
-- For a READ COMMITTED transaction: an older snapshot does not see what locks were waited for.
CREATE FUNCTION imgdb._hold_indexing(hash_columns name[])
RETURNS TABLE (hash_column name, space_id smallint, band_masks bigint[])
LANGUAGE plpgsql VOLATILE ROWS 4
AS $$
#variable_conflict use_column
DECLARE
    v_fed smallint[] := imgdb._fed_spaces('imgdb.image', hash_columns);
    v_space_id smallint;
BEGIN
    FOREACH v_space_id IN ARRAY v_fed LOOP
        PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR SHARE;
        PERFORM imgdb._hold_off_compact_together(v_space_id);
    END LOOP;
    LOCK TABLE imgdb.image IN ROW EXCLUSIVE MODE;
    IF
        imgdb._fed_spaces('imgdb.image', hash_columns) <> v_fed
        OR EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE
                t.tgrelid = 'imgdb.image'::regclass AND NOT t.tgisinternal
                AND t.tgtype & 4 <> 0 -- INSERT
                AND t.tgfoid <> 'imgdb._append_hashes'::regproc
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS c
            WHERE
                c.conrelid = 'imgdb.image'::regclass AND c.contype = 'f'
                AND c.conname <> 'image_collection_id_fkey'
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = 'imgdb.image'::regclass
        )
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.column_name, s.space_id, s.band_masks
    FROM imgdb.tracked_column AS t
    JOIN imgdb.space AS s ON s.space_id = t.space_id
    WHERE t.table_id = 'imgdb.image'::regclass AND t.column_name = ANY (hash_columns);
END
$$;

COMMENT ON FUNCTION imgdb._hold_indexing(name[]) IS
'Where hashes of imgdb.image are indexed, and by which bands: held so until the transaction ends. '
'Nothing if that is left to the triggers, because the table has others than its own.';

CREATE FUNCTION imgdb._hold_collection(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM FROM imgdb.collection AS c WHERE c.collection_id = for_collection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', for_collection_id USING
            ERRCODE = 'foreign_key_violation',
            CONSTRAINT = 'image_collection_id_fkey';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._hold_collection(integer) IS
'Does once what the foreign key of imgdb.image does for each row: the collection is there, and '
'stays until the transaction ends.';
