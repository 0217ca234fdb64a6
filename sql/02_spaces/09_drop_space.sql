CREATE FUNCTION imgdb.drop_space(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Holds off a track into this space until this transaction ends.
    v_space_id smallint := imgdb._claim_space(space_name);
    v_tracked text;
BEGIN
    PERFORM imgdb._forget_dropped();
    SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id, t.column_name)
    INTO v_tracked
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_space_id;
    IF v_tracked IS NOT NULL THEN
        RAISE EXCEPTION 'space "%" is fed by %', space_name, v_tracked USING
            ERRCODE = 'IM007',
            HINT = 'imgdb.untrack these columns first.';
    END IF;
    DELETE FROM imgdb.own_space AS s WHERE s.space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb.drop_space(text) IS
'Removes a space with its probes and buckets; error IM007 while a column is tracked into it.';
