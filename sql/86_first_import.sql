-- Rows that come one after the other keep each index sorted, which takes several times as long as
-- sorting once when all are there. While nothing is in the table nobody misses its indexes, and who
-- looks waits a moment. The primary key stays, to which others refer.
CREATE FUNCTION imgdb._drop_image_indexes()
RETURNS text[]
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_index record;
    v_remake text[] := '{}';
BEGIN
    LOCK TABLE imgdb.image IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF EXISTS (SELECT FROM imgdb.image) THEN
        RAISE EXCEPTION 'imgdb.image is not empty' USING ERRCODE = 'lock_not_available';
    END IF;
    FOR v_index IN
        SELECT
            i.indexrelid::regclass::text AS name,
            c.conname,
            pg_get_indexdef(i.indexrelid) AS index_definition,
            pg_get_constraintdef(c.oid) AS constraint_definition,
            obj_description(i.indexrelid, 'pg_class') AS index_comment,
            obj_description(c.oid, 'pg_constraint') AS constraint_comment
        FROM pg_catalog.pg_index AS i
        JOIN pg_catalog.pg_class AS k ON k.oid = i.indexrelid
        LEFT JOIN pg_catalog.pg_constraint AS c
            ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
        WHERE
            i.indrelid = 'imgdb.image'::regclass AND NOT i.indisprimary
            -- What its definition does not tell must not be lost.
            AND i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident
            AND k.reltablespace = 0 AND k.reloptions IS NULL
        ORDER BY i.indexrelid
    LOOP
        IF v_index.conname IS NULL THEN
            v_remake := v_remake || v_index.index_definition;
            EXECUTE format('DROP INDEX %s', v_index.name);
        ELSE
            v_remake := v_remake || format(
                'ALTER TABLE imgdb.image ADD CONSTRAINT %I %s',
                v_index.conname, v_index.constraint_definition
            );
            IF v_index.constraint_comment IS NOT NULL THEN
                v_remake := v_remake || format(
                    'COMMENT ON CONSTRAINT %I ON imgdb.image IS %L',
                    v_index.conname, v_index.constraint_comment
                );
            END IF;
            EXECUTE format('ALTER TABLE imgdb.image DROP CONSTRAINT %I', v_index.conname);
        END IF;
        IF v_index.index_comment IS NOT NULL THEN
            v_remake := v_remake || format(
                'COMMENT ON INDEX %s IS %L', v_index.name, v_index.index_comment
            );
        END IF;
    END LOOP;
    RETURN v_remake;
EXCEPTION
    WHEN lock_not_available OR insufficient_privilege OR dependent_objects_still_exist THEN
        RETURN '{}';
END
$$;

COMMENT ON FUNCTION imgdb._drop_image_indexes() IS
'Locks imgdb.image, drops its indexes but for the primary key, and returns the statements that '
'make them again; none if it is not empty, in use or not this role''s, or if more depends on them.';
