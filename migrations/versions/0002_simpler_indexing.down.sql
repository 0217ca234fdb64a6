ALTER FUNCTION imgdb._index_hashes(smallint, bigint[], bigint[]) RENAME TO _file_hashes;
ALTER FUNCTION imgdb._indexed_hashes(smallint, integer) RENAME TO _filed_hashes;

ALTER FUNCTION imgdb._collection_id(text) CALLED ON NULL INPUT;

-- These bodies change in a few lines: each stands here as it is and as it becomes.
DO $do$
DECLARE
    v_routine regprocedure;
    v_from text;
    v_to text;
    v_definition text;
BEGIN
    FOR v_routine, v_from, v_to IN VALUES
            (
            'imgdb._append_hashes()'::regprocedure,
$$        PERFORM imgdb._index_hashes(v_space_id, v_masks, v_hashes);
$$,
$$        PERFORM imgdb._file_hashes(v_space_id, v_masks, v_hashes);
$$
            ),
            (
            'imgdb._backfill(regclass, name, smallint)'::regprocedure,
$$        PERFORM imgdb._index_hashes(for_space_id, v_masks, v_hashes);
$$,
$$        PERFORM imgdb._file_hashes(for_space_id, v_masks, v_hashes);
$$
            ),
            (
            'imgdb.track(regclass, name, text)'::regprocedure,
$$    -- Masks that somebody is changing are waited for, and cannot change until this column is indexed.
$$,
$$    -- Masks that somebody is changing are waited for, and cannot change until this column is filed.
$$
            ),
            (
            'imgdb.pairs(text, integer)'::regprocedure,
$$    SELECT * FROM imgdb._pairs_among(imgdb._indexed_hashes(v_space_id, 0), max_distance);
$$,
$$    SELECT * FROM imgdb._pairs_among(imgdb._filed_hashes(v_space_id, 0), max_distance);
$$
            ),
            (
            'imgdb.check_space(text, integer, integer)'::regprocedure,
$$                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
$$,
$$                FROM generate_series(1, floor(random() * (max_distance + 1))::integer)
                -- A bit set is drawn for each hash, not one for all.
                WHERE drawn.hash IS NOT NULL
$$
            ),
            (
            'imgdb.check_space(text, integer, integer)'::regprocedure,
$$            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM imgdb.scan(space_name, 0, 64) AS s
            ORDER BY random()
            LIMIT sample_count
$$,
$$            SELECT s.hash FROM imgdb.scan(space_name, 0, 64) AS s ORDER BY random() LIMIT sample_count
$$
            ),
            (
            'imgdb.missing_hashes(text)'::regprocedure,
$$            imgdb._difference(v_tracked, imgdb._indexed_hashes(v_space_id, v_band))
$$,
$$            imgdb._difference(v_tracked, imgdb._filed_hashes(v_space_id, v_band))
$$
            ),
            (
            'imgdb._bucket_rows(smallint)'::regprocedure,
$$        -- The ordered aggregate makes PostgreSQL sort (imgdb._append_buckets says why).
$$,
$$        -- The ordered aggregate makes PostgreSQL sort (40_file_hashes.sql).
$$
            ),
            (
            'imgdb.space_statistics(text)'::regprocedure,
$$        coalesce(cardinality(imgdb._indexed_hashes(v_space_id, 0)), 0)::bigint,
$$,
$$        coalesce(cardinality(imgdb._filed_hashes(v_space_id, 0)), 0)::bigint,
$$
            ),
            (
            'imgdb._found_images(text, bigint[], bytea, integer, text, integer, integer, boolean)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._found_images(text, bigint[], bytea, integer, text, integer, integer, boolean)'::regprocedure,
$$            HINT = 'Leave it out for all matches.';
    END IF;
$$,
$$            HINT = 'Leave it out for all matches.';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$
            ),
            (
            'imgdb._failures(text, text)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._failures(text, text)'::regprocedure,
$$BEGIN
    RETURN QUERY
$$,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$
            ),
            (
            'imgdb._outdated_collections(text, text, text, text[], timestamptz)'::regprocedure,
$$    PERFORM imgdb._collection_id(collection_name);
$$,
$$    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
$$
            ),
            (
            'imgdb._images_at(text[], text)'::regprocedure,
$$    PERFORM imgdb._collection_id(collection_name);
$$,
$$    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
$$
            ),
            (
            'imgdb._marks(text)'::regprocedure,
$$    PERFORM imgdb._collection_id(collection_name);
$$,
$$    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
$$
            ),
            (
            'imgdb.duplicate_groups(text, integer, text)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb.duplicate_groups(text, integer, text)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
$$
            ),
            (
            'imgdb._duplicate_candidates(text, text, text, text, boolean, bigint, bigint)'::regprocedure,
$$    v_against_id integer := imgdb._collection_id(against_name);
$$,
$$    v_against_id integer;
$$
            ),
            (
            'imgdb._duplicate_candidates(text, text, text, text, boolean, bigint, bigint)'::regprocedure,
$$BEGIN
    IF collection_name IS NOT NULL THEN
$$,
$$BEGIN
    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
    IF collection_name IS NOT NULL THEN
$$
            ),
            (
            'imgdb._hubs(text, integer, integer, text, integer)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._hubs(text, integer, integer, text, integer)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    EXECUTE format(
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    EXECUTE format(
$$
            ),
            (
            'imgdb._region_matches(integer, integer, integer[], bigint[], bytea, integer, integer, text, integer)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._region_matches(integer, integer, integer[], bigint[], bytea, integer, integer, text, integer)'::regprocedure,
$$        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
$$,
$$        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$
            ),
            (
            'imgdb._sampled_images(text, integer, bigint)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._sampled_images(text, integer, bigint)'::regprocedure,
$$BEGIN
    RETURN QUERY
$$,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$
            ),
            (
            'imgdb._searchable_images(text)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._searchable_images(text)'::regprocedure,
$$BEGIN
    RETURN QUERY
$$,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$
            ),
            (
            'imgdb._copies_of(bigint[], text, integer)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._copies_of(bigint[], text, integer)'::regprocedure,
$$BEGIN
    RETURN QUERY
$$,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$
            ),
            (
            'imgdb._false_matches(text, text, bigint[], bigint[], integer, integer, integer, bigint)'::regprocedure,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$,
$$    v_collection_id integer;
$$
            ),
            (
            'imgdb._false_matches(text, text, bigint[], bigint[], integer, integer, integer, bigint)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    IF draw_size IS NULL THEN
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    IF draw_size IS NULL THEN
$$
            )
    LOOP
        v_definition := pg_get_functiondef(v_routine);
        IF strpos(v_definition, v_from) = 0 THEN
            RAISE EXCEPTION '% was changed by hand: make it again as this revision says', v_routine;
        END IF;
        EXECUTE replace(v_definition, v_from, v_to);
    END LOOP;
END
$do$;

CREATE OR REPLACE FUNCTION imgdb._is_flat(
    average bigint, difference bigint, perceptual bigint, wavelet bigint
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN perceptual IS NULL
        THEN
            num_nonnulls(average, difference, wavelet) > 0
            AND coalesce(average, 0) = 0
            AND coalesce(difference, 0) = 0
            AND coalesce(wavelet, 0) = 0
    ELSE
        imgdb.distance(perceptual & 9223372036854775807, 0) <= 4
        AND imgdb.distance(coalesce(average, 0), 0) <= 4
        AND imgdb.distance(coalesce(difference, 0), 0) <= 4
        AND imgdb.distance(coalesce(wavelet, 0), 0) <= 4
END;

CREATE OR REPLACE FUNCTION imgdb._hash_parts_query(source_query text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(
    'SELECT array_agg(numbered.hash ORDER BY numbered.hash) '
    'FROM (SELECT fresh.hash, (row_number() OVER (ORDER BY fresh.hash) - 1) / 1000000 AS part '
    'FROM (SELECT DISTINCT ON (source.hash) source.hash, source.filed '
    'FROM (%s) AS source (hash, filed) WHERE source.hash IS NOT NULL '
    'ORDER BY source.hash, source.filed DESC) AS fresh '
    'WHERE NOT fresh.filed) AS numbered '
    'GROUP BY numbered.part',
    source_query
);

DROP PROCEDURE imgdb.compact(text, integer);

CREATE PROCEDURE imgdb.compact(space_name text)
LANGUAGE plpgsql
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_stale bigint[];
    v_stale_prefixes bigint[];
    v_stale_hashes bigint[];
    v_next bigint := -9223372036854775808;
    v_last bigint;
    v_prefixes bigint[];
    v_batch_stale_prefixes bigint[];
    v_batch_stale bigint[];
BEGIN
    -- The rules above need a snapshot per statement. Outside a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    PERFORM imgdb._forget_dropped();
    -- From all bands: a compact that was killed may have dropped a hash from some of them only.
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_stale
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id
    ) AS entry;
    v_stale := imgdb._difference(v_stale, imgdb._tracked_hashes(v_space_id));
    SELECT array_agg(stale.hash & band.mask), array_agg(stale.hash)
    INTO v_stale_prefixes, v_stale_hashes
    FROM imgdb.space AS s
    CROSS JOIN unnest(s.band_masks) AS band (mask)
    CROSS JOIN unnest(v_stale) AS stale (hash)
    WHERE s.space_id = v_space_id;
    COMMIT AND CHAIN;
    LOOP
        PERFORM imgdb._hold_off_compact(v_space_id);
        -- The ordered aggregate makes this a walk along the index. Merged rows do not overlap: where
        -- rows do, they may hold doubles, however full they are.
        SELECT max(bucket.prefix), array_agg(bucket.prefix) FILTER (WHERE bucket.fragmented)
        INTO v_last, v_prefixes
        FROM (
            SELECT
                b.prefix,
                count(*) > ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)
                OR bool_or(b.overlaps) AS fragmented
            FROM (
                SELECT
                    part.prefix,
                    part.hashes,
                    part.hashes[1] <= lag(part.hashes[cardinality(part.hashes)])
                        OVER (PARTITION BY part.prefix ORDER BY part.hashes[1]) AS overlaps
                FROM imgdb.prefix_bucket AS part
                WHERE part.space_id = v_space_id AND part.prefix >= v_next
            ) AS b
            GROUP BY b.prefix
            ORDER BY b.prefix
            LIMIT 10000
        ) AS bucket;
        EXIT WHEN v_last IS NULL;
        SELECT array_agg(stale.prefix), array_agg(DISTINCT stale.hash)
        INTO v_batch_stale_prefixes, v_batch_stale
        FROM unnest(v_stale_prefixes, v_stale_hashes) AS stale (prefix, hash)
        WHERE stale.prefix BETWEEN v_next AND v_last;
        v_prefixes := v_prefixes || v_batch_stale_prefixes;
        IF v_prefixes IS NOT NULL THEN
            PERFORM imgdb._compact_prefixes(v_space_id, v_prefixes, v_batch_stale);
        END IF;
        COMMIT AND CHAIN;
        EXIT WHEN v_last = 9223372036854775807;
        v_next := v_last + 1;
    END LOOP;
END
$$;

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

CREATE FUNCTION imgdb._hold_off_compact_together(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1768777572, of_space_id);
END
$$;

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

CREATE FUNCTION imgdb._may_empty(relation regclass)
RETURNS boolean
LANGUAGE sql STABLE
RETURN (
    current_setting('wal_level') <> 'logical'
    AND NOT row_security_active(relation)
    AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted')
);

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

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are filed in.';

COMMENT ON FUNCTION imgdb._hold_off_compact_together(smallint) IS
'Like _hold_off_compact, but does not wait for others who do this.';

COMMENT ON FUNCTION imgdb._file_hashes(smallint, bigint[], bigint[]) IS
'Files hashes in the buckets of a space: each in one bucket per band, the masks being its bands.';

COMMENT ON FUNCTION imgdb._hash_parts_query(text) IS
'SQL that gives the distinct hashes of (hash, filed) rows as arrays, less those that are filed.';

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (space_id, column, masks): files the hashes that a statement brought into the column.';

COMMENT ON FUNCTION imgdb._backfill(regclass, name, smallint) IS
'Files the hashes that a column holds.';

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Files the hashes of a bigint column, those there now and all that come, into a space, which is '
'made if there is none of that name. Writers to the table wait until the transaction ends.';

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops filing the hashes of a column. Those that no other column holds go with the next compact.';

COMMENT ON FUNCTION imgdb._filed_hashes(smallint, integer) IS
'The distinct hashes in the buckets of one band, sorted; NULL if none. Every band holds them all.';

COMMENT ON PROCEDURE imgdb.compact (text) IS
'Merges the bucket rows of each prefix of a space, drops doubles and hashes that no tracked column '
'holds any more. Commits in batches: CALL it outside a transaction. VACUUM gives the space back.';

COMMENT ON FUNCTION imgdb._begin_merge(text) IS
'Holds the bands of a space, and compact off, until the transaction ends.';

COMMENT ON FUNCTION imgdb._take_hashes(smallint, bigint) IS
'Deletes the bucket rows of a space and returns their hashes, eight bytes each, the highest first, '
'for a client that files them again. NULL if there are more, if this role may not, or if somebody '
'else takes them.';

COMMENT ON FUNCTION imgdb._collection_id(text) IS
'The identity of a collection; error IM011 if there is none of that name.';

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Files the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

COMMENT ON FUNCTION imgdb._any_stored(integer) IS
'Whether a path of pg_temp.fresh_hash, which is analyzed, is in imgdb.image already.';

COMMENT ON FUNCTION imgdb._store_import(integer, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are filed, which needs _hold_filing, none is there yet, and no trigger runs.';

COMMENT ON FUNCTION imgdb._fed_spaces(regclass, name[]) IS
'The spaces that columns of a table feed, in order.';

COMMENT ON FUNCTION imgdb._may_file() IS
'Whether this role may file the hashes of an import by COPY, and store it without triggers.';

COMMENT ON FUNCTION imgdb._hold_filing(name[]) IS
'Where hashes of imgdb.image are filed, and by which bands: held so until the transaction ends. '
'Nothing if that is left to the triggers, because the table has others than its own.';

COMMENT ON FUNCTION imgdb._hold_collection(integer) IS
'Does once what the foreign key of imgdb.image does for each row: the collection is there, and '
'stays until the transaction ends.';

COMMENT ON FUNCTION imgdb._may_empty(regclass) IS
'Whether a table in which no row is seen may be truncated.';

COMMENT ON FUNCTION imgdb._begin_first_import(name[]) IS
'Readies imgdb.image for its first rows, which shall have these hashes, in a transaction that '
'holds it: gives it new files, removes the indexes and triggers that would cost time, and returns '
'the statements that make them again. NULL if images are there, if it is in use or not this '
'role''s, or if more depends on it.';

COMMENT ON FUNCTION imgdb._end_first_import(text[]) IS
'Runs what _begin_first_import returned, when the rows are there; a unique violation if a path is '
'there twice.';

COMMENT ON FUNCTION imgdb._empty_buckets() IS
'Gives imgdb.prefix_bucket new files for its first rows, as _begin_first_import does for images; '
'false if it is not empty, in use or not this role''s.';
