CREATE FUNCTION imgdb._drop_append_triggers(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', 'imgdb_insert_' || hash_column, relation);
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', 'imgdb_update_' || hash_column, relation);
END
$$;

COMMENT ON FUNCTION imgdb._drop_append_triggers(regclass, name) IS
'Removes the triggers of a tracked column, if they are there.';

-- CREATE TRIGGER takes a lock that waits for every writer at work and holds new ones off until the
-- transaction ends. Each later statement of a READ COMMITTED transaction sees what those writers
-- committed, so triggers first and backfill second miss no row; an older snapshot would.
CREATE FUNCTION imgdb._attach(relation regclass, hash_column name, to_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_hashes bigint[];
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'a column cannot be tracked in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    PERFORM imgdb._drop_append_triggers(relation, hash_column);
    EXECUTE format(
        'CREATE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
        'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%L, %L)',
        'imgdb_insert_' || hash_column, relation, to_space_id, hash_column
    );
    EXECUTE format(
        'CREATE TRIGGER %I AFTER UPDATE ON %s '
        'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
        'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%L, %L)',
        'imgdb_update_' || hash_column, relation, to_space_id, hash_column
    );
    FOR v_hashes IN EXECUTE
        imgdb._hash_parts_query(format('SELECT %I, false FROM %s', hash_column, relation))
    LOOP
        PERFORM imgdb._file_hashes(to_space_id, v_hashes);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._attach(regclass, name, smallint) IS
'Puts the append triggers on a column and files the hashes that it holds.';

CREATE FUNCTION imgdb.track(relation regclass, hash_column name, space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_kind "char" := (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = relation);
    v_space_id smallint;
BEGIN
    IF v_kind IS NULL OR v_kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', coalesce(relation::text, 'NULL') USING
            ERRCODE = 'IM010',
            HINT = 'Ordinary and partitioned tables can be tracked; views and foreign tables cannot.';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE
            a.attrelid = relation AND a.attname = hash_column
            AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid = 'pg_catalog.int8'::regtype
    ) THEN
        RAISE EXCEPTION '% has no bigint column "%"', relation, hash_column USING
            ERRCODE = 'IM004',
            HINT = 'Hashes are stored as bigint; imgdb.from_hex turns hex digits into one.';
    END IF;
    INSERT INTO imgdb.space (name) VALUES (space_name)
    ON CONFLICT ON CONSTRAINT space_name_key DO NOTHING
    RETURNING space_id INTO v_space_id;
    IF v_space_id IS NULL THEN
        v_space_id := imgdb._space_id(space_name);
    ELSE
        PERFORM imgdb._prepare_probes(v_space_id);
    END IF;
    INSERT INTO imgdb.tracked_column (table_id, column_name, space_id)
    VALUES (relation, hash_column, v_space_id)
    ON CONFLICT ON CONSTRAINT tracked_column_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of % is tracked already', hash_column, relation USING
            ERRCODE = 'IM005',
            HINT = 'imgdb.tracked_column says into which space; imgdb.untrack ends that.';
    END IF;
    PERFORM imgdb._attach(relation, hash_column, v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Files the hashes of a bigint column, those there now and all that come, into a space, which is '
'made if there is none of that name. Writers to the table wait until the transaction ends.';
