CREATE FUNCTION imgdb.track(relation regclass, hash_column name, space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    -- Nobody else can read a temporary table, so compact could not tell what it holds.
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.oid = relation AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
    ) THEN
        RAISE EXCEPTION '% is not a table that can be tracked', coalesce(relation::text, 'NULL') USING
            ERRCODE = 'IM010',
            HINT = 'Ordinary and partitioned tables can be; views, foreign and temporary tables cannot.';
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE
            a.attrelid = relation AND a.attname = hash_column
            AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid = 'pg_catalog.int8'::regtype
            -- A trigger does not see what a virtual column would say.
            AND a.attgenerated <> 'v'
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
    -- Masks that somebody is changing are waited for, and cannot change until this column is indexed.
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR SHARE;
    INSERT INTO imgdb.tracked_column (table_id, column_name, space_id)
    VALUES (relation, hash_column, v_space_id)
    ON CONFLICT ON CONSTRAINT tracked_column_pkey DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'column "%" of % is tracked already', hash_column, relation USING
            ERRCODE = 'IM005',
            HINT = 'imgdb.tracked_column says into which space; imgdb.untrack ends that.';
    END IF;
    PERFORM imgdb._put_append_triggers(relation, hash_column, v_space_id);
    PERFORM imgdb._backfill(relation, hash_column, v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Indexes the hashes of a bigint column, those there now and all that come, in a space, which is '
'made if there is none of that name. Writers to the table wait until the transaction ends.';
