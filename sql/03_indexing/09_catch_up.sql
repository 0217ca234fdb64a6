CREATE FUNCTION imgdb._column_query(relation regclass, hash_column name, since_age integer)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_column(relation, hash_column);
    RETURN format('SELECT t.%I FROM %s AS t', hash_column, imgdb._hold_table(relation))
        -- Rows are numbered by the transaction that wrote them.
        || CASE WHEN since_age IS NULL THEN '' ELSE format(' WHERE age(t.xmin) <= %s', since_age) END;
END
$$;

COMMENT ON FUNCTION imgdb._column_query(regclass, name, integer) IS
'SQL that reads a column, or only what transactions of at most that age wrote.';

-- What is missing is indexed first, while everybody writes. Only then do missing triggers come, for
-- which writers wait; what was written in between is told by the age of its transactions.
CREATE FUNCTION imgdb.catch_up(relation regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tracked record;
    v_spaces smallint[] := '{}';
    v_before bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    v_changed boolean;
    v_count bigint := 0;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give a tracked table.';
    END IF;
    PERFORM imgdb._hold_table(relation);
    FOR v_tracked IN
        SELECT t.table_id, t.column_name, s.name, s.space_id
        FROM imgdb.tracked_column AS t
        JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE
            t.table_id = ANY (imgdb._ancestors(relation))
            OR relation = ANY (imgdb._ancestors(t.table_id))
        ORDER BY s.space_id, t.table_id, t.column_name
    LOOP
        PERFORM imgdb._claim_space(v_tracked.name);
        PERFORM imgdb._lock_claimed(v_tracked.space_id);
        PERFORM imgdb._note_tracked(
            v_tracked.table_id,
            v_tracked.column_name,
            imgdb._check_column(v_tracked.table_id, v_tracked.column_name),
            v_tracked.space_id
        );
        v_count := v_count + imgdb._index_source(
            v_tracked.space_id,
            imgdb._column_query(v_tracked.table_id, v_tracked.column_name, NULL),
            true
        );
        v_spaces := v_spaces || v_tracked.space_id;
    END LOOP;
    v_changed := imgdb._sync_triggers(relation);
    IF v_changed THEN
        FOR v_tracked IN
            SELECT t.table_id, t.column_name, t.space_id
            FROM imgdb.tracked_column AS t
            WHERE
                t.space_id = ANY (v_spaces)
                AND (
                    t.table_id = ANY (imgdb._ancestors(relation))
                    OR relation = ANY (imgdb._ancestors(t.table_id))
                )
        LOOP
            v_count := v_count + imgdb._index_source(
                v_tracked.space_id,
                imgdb._column_query(
                    v_tracked.table_id,
                    v_tracked.column_name,
                    (pg_current_xact_id()::text::bigint - v_before)::integer
                ),
                true
            );
        END LOOP;
    END IF;
    IF cardinality(v_spaces) = 0 AND NOT v_changed THEN
        RAISE EXCEPTION '% is not tracked', relation USING
            ERRCODE = 'IM009',
            HINT = 'imgdb.track begins that; SELECT * FROM imgdb.tracked_column lists what is tracked.';
    END IF;
    PERFORM imgdb._release_space(s.space_id) FROM unnest(v_spaces) AS s (space_id);
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.catch_up(regclass) IS
'Puts missing triggers on a table and its family, removes those that are not wanted, indexes what '
'is in its tracked columns and not in their spaces, and returns how many hashes that were. Writers '
'wait only for missing triggers.';
