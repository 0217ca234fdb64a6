-- A subscriber would empty its table, too, which may hold what others sent it. And rows that are
-- there, but not seen, would be lost: policies hide some, an old snapshot what came after it.
CREATE FUNCTION imgdb._may_empty(relation regclass)
RETURNS boolean
LANGUAGE sql STABLE
RETURN (
    current_setting('wal_level') <> 'logical'
    AND NOT row_security_active(relation)
    AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
);

COMMENT ON FUNCTION imgdb._may_empty(regclass) IS
'Whether a table in which no row is seen may be truncated.';

-- Rows that come one after the other keep each index sorted, which takes several times as long as
-- sorting once when all are there; for a trigger with a transition table each row is put aside,
-- even if it does not run. And a table that was emptied in the same transaction has new files:
-- nothing of them is left if the transaction fails, and where nobody replicates (wal_level =
-- minimal) its rows are not logged. While no image is there nobody misses any; who looks waits for
-- the end.
CREATE FUNCTION imgdb._begin_first_import(hash_columns name[])
RETURNS text[]
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_part record;
    v_remake text[] := '{}';
BEGIN
    IF NOT imgdb._may_empty('imgdb.image') THEN
        RETURN NULL;
    END IF;
    LOCK TABLE imgdb.image, imgdb.image_region, imgdb.not_duplicate
        IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF
        EXISTS (SELECT FROM imgdb.image)
        OR EXISTS (SELECT FROM imgdb.image_region)
        OR EXISTS (SELECT FROM imgdb.not_duplicate)
    THEN
        RETURN NULL;
    END IF;
    -- No trigger shall run until the transaction ends, neither of rows nor of this TRUNCATE. It
    -- fails if tables of somebody else refer to images.
    PERFORM set_config('session_replication_role', 'replica', true);
    TRUNCATE imgdb.image, imgdb.image_region, imgdb.not_duplicate;
    FOR v_part IN
        WITH left_null AS (
            SELECT format('(%I IS NOT NULL)', a.attname) AS predicate
            FROM pg_catalog.pg_attribute AS a
            WHERE
                a.attrelid = 'imgdb.image'::regclass AND a.attnum > 0 AND NOT a.attisdropped
                AND NOT a.attnotnull AND NOT a.atthasdef AND a.attname <> ALL (hash_columns)
        ),
        image_index AS (
            SELECT i.indexrelid AS index_id, c.oid AS constraint_id, quote_ident(c.conname) AS name
            FROM pg_catalog.pg_index AS i
            JOIN pg_catalog.pg_class AS k ON k.oid = i.indexrelid
            LEFT JOIN pg_catalog.pg_constraint AS c
                ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
            WHERE
                i.indrelid = 'imgdb.image'::regclass
                -- What its definition does not tell must not be lost.
                AND i.indisvalid AND NOT i.indisclustered AND NOT i.indisreplident
                AND k.reltablespace = 0 AND k.reloptions IS NULL
                -- What gets no entry costs nothing.
                AND NOT EXISTS (
                    SELECT FROM left_null AS n
                    WHERE n.predicate = pg_get_expr(i.indpred, i.indrelid)
                )
        ),
        part AS MATERIALIZED (
            SELECT
                3 AS turn, -- removed first, made again last
                t.oid AS part_id,
                format('DROP TRIGGER %I ON imgdb.image', t.tgname) AS removal,
                ARRAY[
                    pg_get_triggerdef(t.oid),
                    format('COMMENT ON TRIGGER %I ON imgdb.image IS ', t.tgname)
                    || quote_literal(obj_description(t.oid, 'pg_trigger'))
                ] AS remake
            FROM pg_catalog.pg_trigger AS t
            WHERE
                t.tgrelid = 'imgdb.image'::regclass AND NOT t.tgisinternal
                AND t.tgnewtable IS NOT NULL AND t.tgtype & 4 <> 0 -- INSERT
                AND t.tgenabled = 'O'
            UNION ALL
            SELECT
                2, c.oid,
                format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname),
                ARRAY[
                    format(
                        'ALTER TABLE %s ADD CONSTRAINT %I %s',
                        c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)
                    ),
                    format('COMMENT ON CONSTRAINT %I ON %s IS ', c.conname, c.conrelid::regclass)
                    || quote_literal(obj_description(c.oid, 'pg_constraint'))
                ]
            FROM image_index AS i
            JOIN pg_catalog.pg_constraint AS c ON c.conindid = i.index_id AND c.contype = 'f'
            UNION ALL
            SELECT
                1, i.index_id,
                coalesce(
                    'ALTER TABLE imgdb.image DROP CONSTRAINT ' || i.name,
                    format('DROP INDEX %s', i.index_id::regclass)
                ),
                ARRAY[
                    coalesce(
                        'ALTER TABLE imgdb.image ADD CONSTRAINT ' || i.name || ' '
                        || pg_get_constraintdef(i.constraint_id),
                        pg_get_indexdef(i.index_id)
                    ),
                    'COMMENT ON CONSTRAINT ' || i.name || ' ON imgdb.image IS '
                    || quote_literal(obj_description(i.constraint_id, 'pg_constraint')),
                    format('COMMENT ON INDEX %s IS ', i.index_id::regclass)
                    || quote_literal(obj_description(i.index_id, 'pg_class'))
                ]
            FROM image_index AS i
        )
        SELECT p.removal, p.remake FROM part AS p ORDER BY p.turn DESC, p.part_id DESC
    LOOP
        EXECUTE v_part.removal;
        v_remake := array_remove(v_part.remake, NULL) || v_remake;
    END LOOP;
    RETURN v_remake;
EXCEPTION
    WHEN
        lock_not_available OR insufficient_privilege OR feature_not_supported
        OR dependent_objects_still_exist
    THEN
        RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._begin_first_import(name[]) IS
'Readies imgdb.image for its first rows, which shall have these hashes, in a transaction that '
'holds it: gives it new files, removes the indexes and triggers that would cost time, and returns '
'the statements that make them again. NULL if images are there, if it is in use or not this '
'role''s, or if more depends on it.';

CREATE FUNCTION imgdb._end_first_import(remake text[])
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_statement text;
BEGIN
    FOREACH v_statement IN ARRAY remake LOOP
        EXECUTE v_statement;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._end_first_import(text[]) IS
'Runs what _begin_first_import returned, when the rows are there; a unique violation if a path is '
'there twice.';

CREATE FUNCTION imgdb._empty_buckets()
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF NOT imgdb._may_empty('imgdb.prefix_bucket') THEN
        RETURN false;
    END IF;
    LOCK TABLE imgdb.prefix_bucket IN ACCESS EXCLUSIVE MODE NOWAIT;
    IF EXISTS (SELECT FROM imgdb.prefix_bucket) THEN
        RETURN false;
    END IF;
    TRUNCATE imgdb.prefix_bucket;
    RETURN true;
EXCEPTION
    WHEN lock_not_available OR insufficient_privilege THEN
        RETURN false;
END
$$;

COMMENT ON FUNCTION imgdb._empty_buckets() IS
'Gives imgdb.prefix_bucket new files for its first rows, as _begin_first_import does for images; '
'false if it is not empty, in use or not this role''s.';
