-- The text of a query, because only the trigger itself can read its transition tables. A statement
-- may bring more hashes than one array holds, so they come in parts of a million.
CREATE FUNCTION imgdb._new_hashes_query(columns name[], space_ids smallint[], for_update boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        -- What an old row held is searchable already.
        WHEN for_update THEN (
            SELECT string_agg(
                format(
                    'SELECT %s::smallint, array_agg(n.hash) '
                    'FROM (SELECT d.hash, (row_number() OVER () - 1) / 1000000 AS part '
                    'FROM (SELECT DISTINCT ON (r.hash) r.hash, r.old '
                    'FROM (SELECT %2$I, false FROM new_rows UNION ALL SELECT %2$I, true FROM old_rows) '
                    'AS r (hash, old) WHERE r.hash IS NOT NULL '
                    'ORDER BY r.hash, r.old DESC) AS d WHERE NOT d.old) AS n GROUP BY n.part',
                    c.space_id, c.name
                ),
                ' UNION ALL '
            )
            FROM unnest(columns, space_ids) AS c (name, space_id)
        )
        ELSE (
            SELECT format(
                'SELECT v.space_id, v.hashes FROM (SELECT %s FROM '
                '(SELECT %s, (row_number() OVER () - 1) / 1000000 AS part FROM new_rows) AS n '
                'GROUP BY n.part) AS a CROSS JOIN LATERAL (VALUES %s) AS v (space_id, hashes) '
                'WHERE v.hashes IS NOT NULL',
                string_agg(
                    format('array_agg(n.c%1$s) FILTER (WHERE n.c%1$s IS NOT NULL) AS a%1$s', c.place), ', '
                ),
                string_agg(format('%I AS c%s', c.name, c.place), ', '),
                string_agg(format('(%s::smallint, a.a%s)', c.space_id, c.place), ', ')
            )
            FROM unnest(columns, space_ids) WITH ORDINALITY AS c (name, space_id, place)
        )
    END;
END
$$;

COMMENT ON FUNCTION imgdb._new_hashes_query(name[], smallint[], boolean) IS
'SQL that gives the hashes that a statement brought into columns: (space_id, hashes), in parts.';

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
    v_tracked record;
    v_space_id smallint;
    v_hashes bigint[];
    -- Asked once, and of an empty table where nobody watches anything.
    v_watching boolean := EXISTS (SELECT FROM imgdb.watch_list);
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
    SELECT
        array_agg(t.column_name ORDER BY t.track_key) FILTER (WHERE t.track_key IS NOT NULL)
        AS columns,
        array_agg(t.space_id ORDER BY t.track_key) FILTER (WHERE t.track_key IS NOT NULL)
        AS space_ids,
        count(*) AS wanted,
        count(t.track_key) AS known,
        -- Another type would bring casts of its own, which must not run with the definer's rights.
        min(t.column_name::text) FILTER (WHERE t.track_key IS NOT NULL AND a.attnum IS NULL) AS lost
    INTO v_tracked
    FROM unnest(tg_argv[0:]) AS k (track_key)
    LEFT JOIN imgdb.tracked_column AS t ON
        t.track_key = k.track_key::uuid
        AND (
            t.table_id = tg_relid
            OR t.table_id = ANY (imgdb._ancestors(tg_relid))
            OR tg_relid = ANY (imgdb._ancestors(t.table_id))
        )
    LEFT JOIN pg_attribute AS a ON
        a.attrelid = tg_relid AND a.attname = t.column_name AND NOT a.attisdropped
        AND a.atttypid = 'int8'::regtype
        -- Columns of partitions have the names that those of the tracked table have, and numbers of
        -- their own.
        AND (t.table_number <> t.table_id OR EXISTS (
            SELECT FROM pg_attribute AS o
            WHERE
                o.attrelid = t.table_id AND o.attname = t.column_name AND o.attnum = t.column_number
        ));
    IF v_is_old OR v_tracked.known < v_tracked.wanted
    AND current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'what is tracked of % changed after this transaction began',
            tg_relid::regclass USING
            ERRCODE = '40001',
            HINT = 'Run the transaction again.';
    ELSIF v_tracked.known = 0 THEN
        RAISE EXCEPTION '% has triggers of imgdb, but is not tracked in this database',
            tg_relid::regclass USING
            ERRCODE = 'IM009',
            HINT = 'It came here by a dump, or left its parent: imgdb.catch_up removes the triggers, '
            'imgdb.track tracks it.';
    ELSIF v_tracked.lost IS NOT NULL THEN
        RAISE EXCEPTION 'imgdb tracks column "%" of %: dropped, renamed, exchanged or no bigint any more',
            v_tracked.lost, tg_relid::regclass USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    FOR v_space_id, v_hashes IN
        EXECUTE imgdb._new_hashes_query(v_tracked.columns, v_tracked.space_ids, tg_op = 'UPDATE')
    LOOP
        PERFORM imgdb._append(v_space_id, v_hashes);
        IF v_watching AND EXISTS (SELECT FROM imgdb.watch_list AS w WHERE w.space_id = v_space_id)
        THEN
            PERFORM imgdb._note_matches(v_space_id, v_hashes, tg_relid::regclass::text);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (track_key, ...): makes the hashes that a statement brought into tracked columns '
'searchable.';
