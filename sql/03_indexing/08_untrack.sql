CREATE FUNCTION imgdb._forget_tracked(relation regclass, hash_column name, of_space_id smallint)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    DELETE FROM imgdb.tracked_column AS t
    WHERE t.table_id = relation AND t.column_name = hash_column AND t.space_id = of_space_id
    RETURNING t.track_key::text INTO v_key;
    RETURN v_key;
END
$$;

COMMENT ON FUNCTION imgdb._forget_tracked(regclass, name, smallint) IS
'Removes a row of imgdb.tracked_column, for a claimed space, and returns its key.';

CREATE FUNCTION imgdb.untrack(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space record;
    v_keys text[] := '{}';
BEGIN
    FOR v_space IN
        SELECT s.space_id, s.name
        FROM imgdb.tracked_column AS t JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE t.table_id = relation AND t.column_name = hash_column
        ORDER BY s.space_id
    LOOP
        PERFORM imgdb._claim_space(v_space.name);
        v_keys := v_keys || imgdb._forget_tracked(relation, hash_column, v_space.space_id);
        PERFORM imgdb._release_space(v_space.space_id);
    END LOOP;
    IF cardinality(v_keys) = 0 THEN
        RAISE EXCEPTION 'column "%" of % is not tracked', hash_column, relation USING
            ERRCODE = 'IM009',
            HINT = 'SELECT * FROM imgdb.tracked_column lists the tracked columns.';
    END IF;
    PERFORM imgdb._sync_triggers(relation, v_keys);
END
$$;

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops indexing the hashes of a column. Those that no other column holds go with the next '
'imgdb.drop_stale.';
