-- An import of new rows files its hashes by COPY; which spaces are fragmented is told without
-- counting their hashes.
CREATE FUNCTION imgdb._hold_off_compact_together(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1768777572, of_space_id);
END
$$;

COMMENT ON FUNCTION imgdb._hold_off_compact_together(smallint) IS
'Like _hold_off_compact, but does not wait for others who do this.';

CREATE FUNCTION imgdb._bucket_rows(of_space_id smallint)
RETURNS TABLE (row_count bigint, needed_count bigint, bucket_count bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 100000
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        coalesce(sum(bucket.row_count), 0)::bigint,
        coalesce(sum(ceil(bucket.hash_count / 200.0)), 0)::bigint,
        count(*)
    FROM (
        -- The ordered aggregate makes PostgreSQL sort (40_file_hashes.sql).
        SELECT count(*) AS row_count, sum(cardinality(b.hashes) ORDER BY b.prefix) AS hash_count
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id
        GROUP BY b.prefix
    ) AS bucket;
END
$$;

COMMENT ON FUNCTION imgdb._bucket_rows(smallint) IS
'How many rows the buckets of a space have, how many they would need, and how many buckets it has.';

CREATE FUNCTION imgdb._fragmented_spaces(
    least_rows bigint, least_fragmentation double precision
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
BEGIN
    RETURN QUERY
    SELECT s.name
    FROM imgdb.space AS s
    CROSS JOIN LATERAL imgdb._bucket_rows(s.space_id) AS filled
    WHERE
        filled.row_count >= least_rows
        AND filled.row_count >= least_fragmentation * filled.needed_count
    ORDER BY s.space_id;
END
$$;

COMMENT ON FUNCTION imgdb._fragmented_spaces(bigint, double precision) IS
'The spaces of at least so many bucket rows, and so many for each that is needed.';

CREATE OR REPLACE FUNCTION imgdb.space_statistics(space_name text)
RETURNS TABLE (
    distinct_hashes bigint,
    bucket_rows bigint,
    buckets bigint,
    fragmentation double precision,
    bytes bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    RETURN QUERY
    SELECT
        coalesce(cardinality(imgdb._filed_hashes(v_space_id, 0)), 0)::bigint,
        filled.row_count,
        filled.bucket_count,
        coalesce(filled.row_count / nullif(filled.needed_count, 0)::double precision, 1),
        (
            pg_total_relation_size('imgdb.prefix_bucket')
            * coalesce(
                filled.row_count::double precision
                / nullif((SELECT count(*) FROM imgdb.prefix_bucket), 0),
                0
            )
        )::bigint
    FROM imgdb._bucket_rows(v_space_id) AS filled;
END
$$;

CREATE FUNCTION imgdb._any_stored(for_collection_id integer)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    ANALYZE pg_temp.fresh_hash;
    RETURN EXISTS (
        SELECT FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    );
END
$$;

COMMENT ON FUNCTION imgdb._any_stored(integer) IS
'Whether a path of pg_temp.fresh_hash, which is analyzed, is in imgdb.image already.';

DROP FUNCTION imgdb._store_import(integer);

CREATE FUNCTION imgdb._store_import(for_collection_id integer, are_filed boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_role text := current_setting('session_replication_role');
BEGIN
    updated := 0;
    IF are_filed THEN
        PERFORM imgdb._hold_collection(for_collection_id);
        PERFORM set_config('session_replication_role', 'replica', true);
    ELSE
        UPDATE imgdb.image AS i
        SET
            ahash = n.ahash,
            dhash = n.dhash,
            phash = n.phash,
            whash = n.whash,
            flat = imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash),
            ingested_at = now()
        FROM pg_temp.fresh_hash AS n
        WHERE
            i.collection_id = for_collection_id AND i.path = n.path AND i.sha256 IS NULL
            AND (i.ahash, i.dhash, i.phash, i.whash)
            IS DISTINCT FROM (n.ahash, n.dhash, n.phash, n.whash);
        GET DIAGNOSTICS updated = ROW_COUNT;
        -- An insert would notice; an update takes one of the two, whichever it meets.
        IF updated > 0 AND EXISTS (
            SELECT FROM pg_temp.fresh_hash AS n GROUP BY n.path HAVING count(*) > 1
        ) THEN
            RAISE EXCEPTION 'a path is staged twice' USING ERRCODE = 'unique_violation';
        END IF;
        DELETE FROM pg_temp.fresh_hash AS n
        USING imgdb.image AS i
        WHERE i.collection_id = for_collection_id AND i.path = n.path;
    END IF;
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF are_filed THEN
        PERFORM set_config('session_replication_role', v_role, true);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are filed, which needs _hold_filing, none is there yet, and no trigger runs.';

CREATE FUNCTION imgdb._fed_spaces(relation regclass, hash_columns name[])
RETURNS smallint[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT t.space_id
        FROM imgdb.tracked_column AS t
        WHERE t.table_id = relation AND t.column_name = ANY (hash_columns)
        ORDER BY t.space_id
    );
END
$$;

COMMENT ON FUNCTION imgdb._fed_spaces(regclass, name[]) IS
'The spaces that columns of a table feed, in order.';

CREATE FUNCTION imgdb._may_file()
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_before text := current_setting('session_replication_role');
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    PERFORM set_config('session_replication_role', v_before, true);
    RETURN has_table_privilege('imgdb.prefix_bucket', 'INSERT')
        AND has_table_privilege('imgdb.space', 'UPDATE');
EXCEPTION
    WHEN insufficient_privilege THEN
        RETURN false;
END
$$;

COMMENT ON FUNCTION imgdb._may_file() IS
'Whether this role may file the hashes of an import by COPY, and store it without triggers.';

CREATE FUNCTION imgdb._hold_filing(hash_columns name[])
RETURNS TABLE (hash_column name, space_id smallint, band_masks bigint[])
LANGUAGE plpgsql VOLATILE ROWS 4
AS $$
#variable_conflict use_column
DECLARE
    v_fed smallint[] := imgdb._fed_spaces('imgdb.image', hash_columns);
    v_space_id smallint;
BEGIN
    FOREACH v_space_id IN ARRAY v_fed LOOP
        PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR SHARE;
        PERFORM imgdb._hold_off_compact_together(v_space_id);
    END LOOP;
    LOCK TABLE imgdb.image IN ROW EXCLUSIVE MODE;
    IF
        imgdb._fed_spaces('imgdb.image', hash_columns) <> v_fed
        OR EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS t
            WHERE
                t.tgrelid = 'imgdb.image'::regclass AND NOT t.tgisinternal
                AND t.tgtype & 4 <> 0 -- INSERT
                AND t.tgfoid <> 'imgdb._append_hashes'::regproc
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS c
            WHERE
                c.conrelid = 'imgdb.image'::regclass AND c.contype = 'f'
                AND c.conname <> 'image_collection_id_fkey'
        )
        OR EXISTS (
            SELECT FROM pg_catalog.pg_rewrite AS r WHERE r.ev_class = 'imgdb.image'::regclass
        )
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.column_name, s.space_id, s.band_masks
    FROM imgdb.tracked_column AS t
    JOIN imgdb.space AS s ON s.space_id = t.space_id
    WHERE t.table_id = 'imgdb.image'::regclass AND t.column_name = ANY (hash_columns);
END
$$;

COMMENT ON FUNCTION imgdb._hold_filing(name[]) IS
'Where hashes of imgdb.image are filed, and by which bands: held so until the transaction ends. '
'Nothing if that is left to the triggers, because the table has others than its own.';

CREATE FUNCTION imgdb._hold_collection(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM FROM imgdb.collection AS c WHERE c.collection_id = for_collection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no collection %', for_collection_id USING
            ERRCODE = 'foreign_key_violation',
            CONSTRAINT = 'image_collection_id_fkey';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._hold_collection(integer) IS
'Does once what the foreign key of imgdb.image does for each row: the collection is there, and '
'stays until the transaction ends.';

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

CREATE FUNCTION imgdb._begin_merge(space_name text)
RETURNS TABLE (space_id smallint, band_masks bigint[])
LANGUAGE plpgsql VOLATILE ROWS 1
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR SHARE;
    PERFORM imgdb._hold_off_compact(v_space_id);
    RETURN QUERY
    SELECT s.space_id, s.band_masks FROM imgdb.space AS s WHERE s.space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._begin_merge(text) IS
'Holds the bands of a space, and compact off, until the transaction ends.';

CREATE FUNCTION imgdb._take_hashes(of_space_id smallint, most_hashes bigint)
RETURNS bytea
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_band_masks bigint[];
    v_hashes bytea;
BEGIN
    SELECT s.band_masks INTO v_band_masks FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    IF
        NOT has_table_privilege('imgdb.prefix_bucket', 'DELETE')
        OR NOT pg_try_advisory_xact_lock(1768777573, of_space_id)
        OR (
            SELECT sum(cardinality(b.hashes)) > most_hashes * cardinality(v_band_masks)
            FROM imgdb.prefix_bucket AS b
            WHERE b.space_id = of_space_id
        )
    THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id
        RETURNING b.prefix, b.hashes
    )
    SELECT string_agg(int8send(entry.hash), '')
    INTO v_hashes
    FROM (
        -- Each hash stands in the rows of every band: these are those of the first.
        SELECT unnest(g.hashes) AS hash FROM gone AS g WHERE g.prefix & ~v_band_masks[1] = 0
    ) AS entry;
    RETURN coalesce(v_hashes, '');
END
$$;

COMMENT ON FUNCTION imgdb._take_hashes(smallint, bigint) IS
'Deletes the bucket rows of a space and returns their hashes, eight bytes each, the highest first, '
'for a client that files them again. NULL if there are more, if this role may not, or if somebody '
'else takes them.';
