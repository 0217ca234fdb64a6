-- The text of a query, because only the trigger itself can read its transition tables.
CREATE FUNCTION imgdb._new_hashes_query(of_column name, for_update boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(
        CASE
            -- What an old row held is searchable already.
            WHEN for_update THEN
                'SELECT d.hash FROM (SELECT DISTINCT ON (r.hash) r.hash, r.old FROM '
                '(SELECT %1$I, false FROM new_rows UNION ALL SELECT %1$I, true FROM old_rows) '
                'AS r (hash, old) WHERE r.hash IS NOT NULL ORDER BY r.hash, r.old DESC) AS d '
                'WHERE NOT d.old'
            ELSE 'SELECT %1$I FROM new_rows WHERE %1$I IS NOT NULL'
        END,
        of_column
    );
END
$$;

COMMENT ON FUNCTION imgdb._new_hashes_query(name, boolean) IS
'SQL that gives the hashes that a statement brought into a column.';

CREATE FUNCTION imgdb._ancestors(relation oid)
RETURNS oid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE up AS (
            SELECT relation AS table_id
            UNION
            SELECT i.inhparent FROM up JOIN pg_inherits AS i ON i.inhrelid = up.table_id
        )
        SELECT up.table_id FROM up
    );
END
$$;

COMMENT ON FUNCTION imgdb._ancestors(oid) IS
'The table itself, those that it is a partition of, and those that it inherits from.';

-- SECURITY DEFINER, because it runs for every writer of the tracked table, and writers need no
-- rights in imgdb. The arguments are keys of imgdb.tracked_column, which no other database has: the
-- trigger is always seen as it is now, and the rows with the snapshot of the transaction, so that a
-- transaction whose snapshot is too old is told so.
CREATE FUNCTION imgdb._append_hashes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
    v_tracked record;
    v_columns name[];
    v_space_ids smallint[];
    v_lost name;
    v_hash bigint;
    v_hashes bigint[];
    v_is_old boolean := false;
BEGIN
    -- An older snapshot does not show what is watched since: such a transaction is told to run
    -- again, because who watches a hash writes these rows. It waits for none of them: who has
    -- written one may wait for this table, to change its triggers.
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        SELECT count(*) < tg_nargs
        INTO v_is_old
        FROM (
            SELECT FROM imgdb.tracked_column AS t
            WHERE t.track_key = ANY (tg_argv[0:]::uuid[])
            FOR SHARE SKIP LOCKED
        ) AS held;
    END IF;
    -- One at a time: for arrays PostgreSQL would make a new plan each time that this runs.
    FOREACH v_key IN ARRAY tg_argv[0:] LOOP
        SELECT
            t.column_name,
            t.space_id,
            EXISTS (
                SELECT
                FROM pg_attribute AS a
                WHERE
                    a.attrelid = tg_relid AND a.attname = t.column_name AND NOT a.attisdropped
                    -- Another type would bring casts of its own, which must not run with the
                    -- definer's rights.
                    AND a.atttypid = 'int8'::regtype
            )
            -- Columns of partitions have the names that those of the tracked table have, and
            -- numbers of their own.
            AND (t.table_number <> t.table_id OR EXISTS (
                SELECT
                FROM pg_attribute AS o
                WHERE
                    o.attrelid = t.table_id AND o.attname = t.column_name
                    AND o.attnum = t.column_number
            )) AS holds_hashes
        INTO v_tracked
        FROM imgdb.tracked_column AS t
        WHERE
            t.track_key = v_key::uuid
            AND (
                t.table_id = tg_relid
                OR t.table_id = ANY (imgdb._ancestors(tg_relid))
                OR tg_relid = ANY (imgdb._ancestors(t.table_id))
            );
        CONTINUE WHEN NOT FOUND;
        v_columns := v_columns || v_tracked.column_name;
        v_space_ids := v_space_ids || v_tracked.space_id;
        IF NOT v_tracked.holds_hashes THEN
            v_lost := v_tracked.column_name;
        END IF;
    END LOOP;
    IF v_is_old OR coalesce(cardinality(v_columns), 0) < tg_nargs
    AND current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'what is tracked of % changed after this transaction began',
            tg_relid::regclass USING
            ERRCODE = '40001',
            HINT = 'Run the transaction again.';
    ELSIF v_columns IS NULL THEN
        RAISE EXCEPTION '% has triggers of imgdb, but is not tracked in this database',
            tg_relid::regclass USING
            ERRCODE = 'IM009',
            HINT = 'It came here by a dump, or left its parent: imgdb.catch_up removes the triggers, '
            'imgdb.track tracks it.';
    ELSIF v_lost IS NOT NULL THEN
        RAISE EXCEPTION 'imgdb tracks column "%" of %: dropped, renamed, exchanged or no bigint any more',
            v_lost, tg_relid::regclass USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    FOR v_place IN 1 .. cardinality(v_columns) LOOP
        v_hashes := NULL;
        FOR v_hash IN
            EXECUTE imgdb._new_hashes_query(v_columns[v_place], tg_op = 'UPDATE')
        LOOP
            v_hashes := v_hashes || v_hash;
            -- A statement may bring more than one array holds.
            IF cardinality(v_hashes) = 1000000 THEN
                PERFORM imgdb._append(v_space_ids[v_place], v_hashes, tg_relid::regclass::text);
                v_hashes := NULL;
            END IF;
        END LOOP;
        IF v_hashes IS NOT NULL THEN
            PERFORM imgdb._append(v_space_ids[v_place], v_hashes, tg_relid::regclass::text);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (track_key, ...): makes the hashes that a statement brought into tracked columns '
'searchable.';
