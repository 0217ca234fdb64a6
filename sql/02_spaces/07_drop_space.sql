-- 'imgd' in ASCII, and the space.
CREATE FUNCTION imgdb._hold_off_compact(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1768777572, of_space_id);
END
$$;

COMMENT ON FUNCTION imgdb._hold_off_compact(smallint) IS
'Waits for the batch of a compact at work in a space, and lets no other begin until commit.';

CREATE FUNCTION imgdb.drop_space(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_tracked text;
BEGIN
    PERFORM imgdb._forget_dropped();
    -- Holds off a track into this space until this transaction ends.
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR UPDATE;
    SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id, t.column_name)
    INTO v_tracked
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_space_id;
    IF v_tracked IS NOT NULL THEN
        RAISE EXCEPTION 'space "%" is fed by %', space_name, v_tracked USING
            ERRCODE = 'IM007',
            HINT = 'imgdb.untrack these columns first.';
    END IF;
    PERFORM imgdb._hold_off_compact(v_space_id);
    DELETE FROM imgdb.prefix_bucket WHERE space_id = v_space_id;
    DELETE FROM imgdb.space WHERE space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb.drop_space(text) IS
'Removes a space with its probes and buckets; error IM007 while a column is tracked into it.';
