-- Who writes at this moment does not see the entry, and the search does not see what he wrote: so
-- writers at work are waited for, and new ones held off until the entry is there.
CREATE FUNCTION imgdb._hold_writers(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_source record;
    v_name text;
BEGIN
    FOR v_source IN
        SELECT DISTINCT t.table_id, c.relname, c.relnamespace = 'imgdb'::regnamespace AS is_ours
        FROM imgdb.tracked_column AS t JOIN pg_class AS c ON c.oid = t.table_id
        WHERE t.space_id = of_space_id
        ORDER BY t.table_id
    LOOP
        -- Who may write imgdb's own tables need not own them, and nobody can replace them.
        v_name := format('imgdb.%I', v_source.relname);
        IF NOT v_source.is_ours THEN
            v_name := imgdb._hold_table(v_source.table_id);
        END IF;
        EXECUTE format('LOCK TABLE %s IN SHARE MODE', v_name);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._hold_writers(smallint) IS
'Waits for who writes tables that feed a space, and holds others off until commit.';

CREATE FUNCTION imgdb._look_back()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_found bigint[] := (
        SELECT array_agg(m.hash)
        FROM imgdb.space AS s
        CROSS JOIN LATERAL imgdb.within_any(s.name, ARRAY[new.hash], new.radius) AS m
        WHERE s.space_id = new.space_id
    );
BEGIN
    IF v_found IS NOT NULL THEN
        PERFORM imgdb._note_matches(new.space_id, v_found, NULL, new.watch_id);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._look_back() IS
'Trigger: notes what is in the space and near a new entry of its watch list.';

-- A dump has the matches, too: pg_dump begins each with row_security = off.
CREATE TRIGGER watch_list_look_back
AFTER INSERT ON imgdb.watch_list
FOR EACH ROW
WHEN (current_setting('row_security') = 'on')
EXECUTE FUNCTION imgdb._look_back();

CREATE FUNCTION imgdb.watch(
    space_name text, query_hash bigint, max_distance integer DEFAULT 8, watch_label text DEFAULT ''
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_watch_id bigint;
BEGIN
    PERFORM imgdb._check_query(query_hash);
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 12 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 12', coalesce(max_distance::text, 'NULL')
            USING
            ERRCODE = 'IM002',
            HINT = 'What arrives is compared within 12 bits at most; 8 is a usual choice.';
    ELSIF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'a hash cannot be watched in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    ELSIF NOT imgdb._may_watch(v_space_id) THEN
        RAISE EXCEPTION 'space "%" belongs to %', space_name,
            (SELECT s.owner_name FROM imgdb.space AS s WHERE s.space_id = v_space_id) USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it; imgdb''s own spaces are watched by '
            'roles that may write, too.';
    END IF;
    PERFORM imgdb._hold_writers(v_space_id);
    INSERT INTO imgdb.own_watch_list (space_id, hash, radius, label)
    VALUES (v_space_id, query_hash, max_distance, coalesce(watch_label, ''))
    RETURNING watch_id INTO v_watch_id;
    RETURN v_watch_id;
END
$$;

COMMENT ON FUNCTION imgdb.watch(text, bigint, integer, text) IS
'Puts a hash on the watch list of a space and returns its watch_id: what is within max_distance (0 '
'to 12), there now or arriving later, is noted in imgdb.match. Writers to the tables of the space '
'wait until the transaction ends.';

CREATE FUNCTION imgdb.unwatch(watch_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.own_watch_list AS w WHERE w.watch_id = ANY (watch_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.unwatch(bigint[]) IS
'Takes entries off the watch list, with their matches, and returns how many entries.';

CREATE FUNCTION imgdb.acknowledge(match_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.own_match AS m WHERE m.match_id = ANY (match_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.acknowledge(bigint[]) IS
'Removes matches that somebody has seen, and returns how many.';
