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

CREATE FUNCTION imgdb._store_import(
    for_collection_id integer, are_filed boolean, is_first boolean
)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_role text := current_setting('session_replication_role');
    v_remake text[] := '{}';
    v_statement text;
BEGIN
    updated := 0;
    IF are_filed THEN
        -- What the foreign key does for each row.
        PERFORM FROM imgdb.collection AS c WHERE c.collection_id = for_collection_id FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no collection %', for_collection_id USING
                ERRCODE = 'foreign_key_violation',
                CONSTRAINT = 'image_collection_id_fkey';
        END IF;
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
    IF is_first THEN
        v_remake := imgdb._drop_image_indexes();
    END IF;
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    -- Of use for the index only.
    ORDER BY CASE WHEN NOT is_first THEN n.path END;
    GET DIAGNOSTICS added = ROW_COUNT;
    FOREACH v_statement IN ARRAY v_remake LOOP
        EXECUTE v_statement;
    END LOOP;
    IF are_filed THEN
        PERFORM set_config('session_replication_role', v_role, true);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer, boolean, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are filed, which needs _hold_filing, none is there yet, and no trigger runs. The first ones '
'of all come without indexes, which are made again at the end.';

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
