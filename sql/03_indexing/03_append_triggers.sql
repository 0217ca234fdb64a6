-- A statement fires the triggers of the table it names, so writes that name a partition need them
-- there. Foreign tables cannot have them.
CREATE FUNCTION imgdb._table_tree(relation regclass)
RETURNS SETOF regclass
LANGUAGE plpgsql STABLE ROWS 2
AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree AS (
        SELECT relation::oid AS table_id
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.table_id
    )
    SELECT c.oid::regclass
    FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.table_id
    WHERE c.relkind IN ('r', 'p')
    ORDER BY c.oid;
END
$$;

COMMENT ON FUNCTION imgdb._table_tree(regclass) IS
'The table itself, its partitions and the tables that inherit from it.';

CREATE FUNCTION imgdb._trigger_name(event text, for_space_id smallint, hash_column text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
-- PostgreSQL would cut a long name off, and two columns could come to share a trigger.
RETURN format(
    'imgdb_%s_%s_%s', event, for_space_id,
    CASE WHEN octet_length(hash_column) > 40 THEN md5(hash_column) ELSE hash_column END
);

COMMENT ON FUNCTION imgdb._trigger_name(text, smallint, text) IS
'What the trigger of a tracked column is called.';

CREATE FUNCTION imgdb._drop_append_triggers(
    relation regclass, hash_column name, for_space_id smallint
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_trigger record;
BEGIN
    FOR v_trigger IN
        SELECT t.tgname, tree.member
        FROM imgdb._table_tree(relation) AS tree (member)
        JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = tree.member
        WHERE
            t.tgname IN (
                imgdb._trigger_name('insert', for_space_id, hash_column),
                imgdb._trigger_name('update', for_space_id, hash_column)
            )
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_trigger.tgname, v_trigger.member);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._drop_append_triggers(regclass, name, smallint) IS
'Removes the triggers of a tracked column.';

-- CREATE TRIGGER takes a lock that waits for every writer at work and holds new ones off until the
-- transaction ends; readers go on.
CREATE FUNCTION imgdb._put_append_triggers(
    relation regclass, hash_column name, for_space_id smallint
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_member regclass;
BEGIN
    FOR v_member IN SELECT * FROM imgdb._table_tree(relation) LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%L, %L, %L)',
            imgdb._trigger_name('insert', for_space_id, hash_column),
            v_member, for_space_id, hash_column, v_masks
        );
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER %I AFTER UPDATE ON %s '
            'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%L, %L, %L)',
            imgdb._trigger_name('update', for_space_id, hash_column),
            v_member, for_space_id, hash_column, v_masks
        );
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._put_append_triggers(regclass, name, smallint) IS
'Puts the append triggers on a column, or makes them anew.';

-- Run after the triggers are there: each statement of a READ COMMITTED transaction sees what
-- the writers committed for which the triggers waited. An older snapshot would miss rows. Row
-- security would hide rows, so it is an error where it applies.
CREATE FUNCTION imgdb._backfill(relation regclass, hash_column name, for_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET row_security = off
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_hashes bigint[];
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'a column cannot be tracked in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    FOR v_hashes IN EXECUTE
        imgdb._hash_parts_query(format('SELECT %I, false FROM %s', hash_column, relation))
    LOOP
        PERFORM imgdb._index_hashes(for_space_id, v_masks, v_hashes);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._backfill(regclass, name, smallint) IS
'Indexes the hashes that a column holds.';
