-- A statement fires the triggers of the table that it names: so a table, those above it and those
-- below it must all have them. Foreign tables cannot.
CREATE FUNCTION imgdb._table_family(relation regclass)
RETURNS SETOF regclass
LANGUAGE plpgsql STABLE ROWS 2
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree AS (
        SELECT a.table_id FROM unnest(imgdb._ancestors(relation)) AS a (table_id)
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.table_id
    )
    SELECT c.oid::regclass
    FROM tree JOIN pg_class AS c ON c.oid = tree.table_id
    ORDER BY c.oid;
END
$$;

COMMENT ON FUNCTION imgdb._table_family(regclass) IS
'The table itself, its ancestors, and the partitions and heirs of all of them.';

-- The one truth about triggers.
CREATE FUNCTION imgdb._wanted_keys(relation regclass)
RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT t.track_key::text
        FROM imgdb.tracked_column AS t
        WHERE
            (
                t.table_id = ANY (imgdb._ancestors(relation))
                OR relation = ANY (imgdb._ancestors(t.table_id))
            )
            -- A parent may lack a column of its heir, and then cannot write it.
            AND (
                t.table_id = relation
                OR EXISTS (
                    SELECT FROM pg_attribute AS a
                    WHERE a.attrelid = relation AND a.attname = t.column_name AND NOT a.attisdropped
                )
            )
        ORDER BY t.track_key
    );
END
$$;

COMMENT ON FUNCTION imgdb._wanted_keys(regclass) IS
'The arguments that the triggers of a table must have; none: no triggers.';

CREATE FUNCTION imgdb._append_triggers()
RETURNS TABLE (on_table regclass, trigger_name name, event text, track_keys text[], is_on boolean)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT
        t.tgrelid::regclass,
        t.tgname,
        CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' ELSE 'update' END,
        -- Each argument ends with a zero byte.
        string_to_array(left(encode(t.tgargs, 'escape'), -4), '\000'),
        t.tgenabled = 'A'
    FROM pg_trigger AS t
    WHERE t.tgfoid = 'imgdb._append_hashes()'::regprocedure AND NOT t.tgisinternal;
END
$$;

COMMENT ON FUNCTION imgdb._append_triggers() IS 'All triggers by which tables feed spaces.';

-- ALWAYS: they fire for a session that turned triggers off to load, and for the first copy of a
-- logical replica.
CREATE FUNCTION imgdb._sync_triggers(relation regclass, of_keys text[] DEFAULT '{}')
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_member record;
    v_name text;
    v_trigger record;
    v_changed boolean := false;
BEGIN
    -- What was detached from the table, and keeps its triggers, is found by its keys.
    FOR v_trigger IN
        SELECT t.on_table, t.trigger_name
        FROM imgdb._append_triggers() AS t
        WHERE
            (
                t.track_keys && of_keys
                OR t.on_table IN (SELECT f.member FROM imgdb._table_family(relation) AS f (member))
            )
            AND (
                cardinality(imgdb._wanted_keys(t.on_table)) = 0
                OR t.trigger_name <> 'imgdb_' || t.event
            )
        -- Parents first, as readers lock them.
        ORDER BY cardinality(imgdb._ancestors(t.on_table)), t.on_table
    LOOP
        EXECUTE format(
            'DROP TRIGGER %I ON %s', v_trigger.trigger_name, imgdb._hold_table(v_trigger.on_table)
        );
        v_changed := true;
    END LOOP;
    FOR v_member IN
        SELECT f.member, w.track_keys, e.event
        FROM imgdb._table_family(relation) AS f (member)
        JOIN pg_class AS c ON c.oid = f.member AND c.relkind IN ('r', 'p')
        CROSS JOIN LATERAL (SELECT imgdb._wanted_keys(f.member) AS track_keys) AS w
        CROSS JOIN unnest(ARRAY['insert', 'update']) AS e (event)
        WHERE
            cardinality(w.track_keys) > 0
            AND NOT EXISTS (
                SELECT FROM imgdb._append_triggers() AS t
                WHERE
                    t.on_table = f.member AND t.event = e.event AND t.is_on
                    AND t.track_keys = w.track_keys
            )
        -- Parents first, as writers lock them.
        ORDER BY cardinality(imgdb._ancestors(f.member)), f.member
    LOOP
        v_name := imgdb._hold_table(v_member.member);
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER imgdb_%s AFTER %1$s ON %s REFERENCING %s NEW TABLE AS new_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%s)',
            v_member.event,
            v_name,
            CASE v_member.event WHEN 'update' THEN 'OLD TABLE AS old_rows' ELSE '' END,
            (SELECT string_agg(quote_literal(k), ', ') FROM unnest(v_member.track_keys) AS k)
        );
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER imgdb_%s', v_name, v_member.event);
        v_changed := true;
    END LOOP;
    RETURN v_changed;
END
$$;

COMMENT ON FUNCTION imgdb._sync_triggers(regclass, text[]) IS
'Makes the triggers of a table and its family what imgdb.tracked_column asks for; true if any '
'changed. Their tables are then locked for writers until the transaction ends.';
