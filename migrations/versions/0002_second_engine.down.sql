-- noqa: disable=LT05
-- Made by tools/make_revision.py: what goes.
DROP FUNCTION imgdb._compatible_since;
DROP FUNCTION imgdb._revision;
DROP FUNCTION imgdb._fill;
DROP FUNCTION imgdb._duplicates;
DROP FUNCTION imgdb._duplicate_candidates;
DROP FUNCTION imgdb._store_import;
DROP FUNCTION imgdb._outdated_collections;
DROP FUNCTION imgdb._outdated_images;
DROP FUNCTION imgdb._compare_files;
DROP FUNCTION imgdb._remove_collection;
DROP FUNCTION imgdb._rename_collection;
DROP FUNCTION imgdb._collections;
DROP FUNCTION imgdb._exported_images;
DROP PROCEDURE imgdb.compact;
DROP FUNCTION imgdb._indexed_hashes;
DROP FUNCTION imgdb._hash_parts_query;
DROP FUNCTION imgdb._index_hashes;
DROP FUNCTION imgdb.same_colours;
DROP FUNCTION imgdb.colour_difference;
DROP FUNCTION imgdb._is_flat;

-- By hand
COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are filed in.';
ALTER TABLE imgdb.image DROP COLUMN colours;
-- End by hand

-- Made by tools/make_revision.py: what comes.
CREATE FUNCTION imgdb._is_flat(average bigint, difference bigint, perceptual bigint, wavelet bigint)
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

COMMENT ON FUNCTION imgdb._is_flat(bigint, bigint, bigint, bigint) IS
'Whether hashes are those of a picture without structure: with a phash all within 4 bits of a '
'solid colour''s, else equal to them.';

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

CREATE FUNCTION imgdb._file_hashes(for_space_id smallint, masks bigint[], new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    SELECT array_agg(given.hash & band.mask), array_agg(given.hash)
    INTO v_prefixes, v_hashes
    FROM unnest(new_hashes) AS given (hash), unnest(masks) AS band (mask);
    PERFORM imgdb._append_buckets(for_space_id, v_prefixes, v_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._file_hashes(smallint, bigint[], bigint[]) IS
'Files hashes in the buckets of a space: each in one bucket per band, the masks being its bands.';

CREATE FUNCTION imgdb._hash_parts_query(source_query text)
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

COMMENT ON FUNCTION imgdb._hash_parts_query(text) IS
'SQL that gives the distinct hashes of (hash, filed) rows as arrays, less those that are filed.';

CREATE OR REPLACE FUNCTION imgdb._append_hashes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := tg_argv[0];
    v_column name := tg_argv[1];
    v_masks bigint[] := tg_argv[2];
    v_source text := format('SELECT %I, false FROM new_rows', v_column);
    v_hashes bigint[];
BEGIN
    -- Another type would bring casts of its own, which must not run with the definer's rights.
    IF NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE
            a.attrelid = tg_relid AND a.attname = v_column AND NOT a.attisdropped
            AND a.atttypid = 'pg_catalog.int8'::regtype
    ) THEN
        RAISE EXCEPTION 'imgdb tracks column "%" of %: dropped, renamed or no bigint any more',
            v_column, tg_relid::regclass USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    IF tg_op = 'UPDATE' THEN
        -- What an old row held is in its buckets already.
        v_source := v_source || format(' UNION ALL SELECT %I, true FROM old_rows', v_column);
    END IF;
    FOR v_hashes IN EXECUTE imgdb._hash_parts_query(v_source) LOOP
        PERFORM imgdb._file_hashes(v_space_id, v_masks, v_hashes);
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (space_id, column, masks): files the hashes that a statement brought into the column.';

CREATE OR REPLACE FUNCTION imgdb._backfill(relation regclass, hash_column name, for_space_id smallint)
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
        PERFORM imgdb._file_hashes(for_space_id, v_masks, v_hashes);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._backfill(regclass, name, smallint) IS
'Files the hashes that a column holds.';

CREATE OR REPLACE FUNCTION imgdb.track(relation regclass, hash_column name, space_name text)
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
    -- Masks that somebody is changing are waited for, and cannot change until this column is filed.
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
'Files the hashes of a bigint column, those there now and all that come, into a space, which is '
'made if there is none of that name. Writers to the table wait until the transaction ends.';

CREATE OR REPLACE FUNCTION imgdb.untrack(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE t.table_id = relation AND t.column_name = hash_column
    RETURNING t.space_id INTO v_space_id;
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'column "%" of % is not tracked', hash_column, relation USING
            ERRCODE = 'IM009',
            HINT = 'SELECT * FROM imgdb.tracked_column lists the tracked columns.';
    END IF;
    -- A compact that waited for the table, which DROP TRIGGER locks, would hold what a drop_space or
    -- a rebuild later in this transaction waits for.
    PERFORM imgdb._hold_off_compact(v_space_id);
    PERFORM imgdb._drop_append_triggers(relation, hash_column, v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops filing the hashes of a column. Those that no other column holds go with the next compact.';

CREATE FUNCTION imgdb._filed_hashes(of_space_id smallint, of_band integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_mask bigint := (
        SELECT s.band_masks[of_band + 1] FROM imgdb.space AS s WHERE s.space_id = of_space_id
    );
    v_hashes bigint[];
BEGIN
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_hashes
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = of_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE entry.hash & v_mask = entry.prefix;
    RETURN v_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._filed_hashes(smallint, integer) IS
'The distinct hashes in the buckets of one band, sorted; NULL if none. Every band holds them all.';

CREATE OR REPLACE FUNCTION imgdb.pairs(space_name text, max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    RETURN QUERY
    SELECT * FROM imgdb._pairs_among(imgdb._filed_hashes(v_space_id, 0), max_distance);
END
$$;

CREATE OR REPLACE FUNCTION imgdb.check_space(space_name text, sample_count integer, max_distance integer)
RETURNS TABLE (sampled integer, mismatches bigint)
LANGUAGE plpgsql VOLATILE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_queries bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF sample_count IS NULL OR sample_count < 1 THEN
        RAISE EXCEPTION 'sample_count is %, not 1 or more', coalesce(sample_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many hashes to try; 100 is a good start.';
    END IF;
    -- Some bits of each are turned, up to max_distance of them, for a query seldom is a hash itself.
    SELECT array_agg(chosen.hash # chosen.turned)
    INTO v_queries
    FROM (
        SELECT
            drawn.hash,
            (
                SELECT coalesce(bit_or(1::bigint << floor(random() * 64)::integer), 0)
                FROM generate_series(1, floor(random() * (max_distance + 1))::integer)
                -- A bit set is drawn for each hash, not one for all.
                WHERE drawn.hash IS NOT NULL
            ) AS turned
        FROM (
            SELECT s.hash FROM imgdb.scan(space_name, 0, 64) AS s ORDER BY random() LIMIT sample_count
        ) AS drawn
    ) AS chosen;
    RETURN QUERY
    SELECT
        coalesce(cardinality(v_queries), 0),
        (
            SELECT count(*)
            FROM unnest(v_queries) AS q (query)
            CROSS JOIN LATERAL (
                SELECT array_agg(m.hash ORDER BY m.hash) AS hashes
                FROM imgdb.within(space_name, q.query, max_distance) AS m
            ) AS fast
            CROSS JOIN LATERAL (
                SELECT array_agg(m.hash ORDER BY m.hash) AS hashes
                FROM imgdb.scan(space_name, q.query, max_distance) AS m
            ) AS twin
            -- A hash that nothing holds may be gone from some bands already: compact is at work.
            WHERE
                fast.hashes IS DISTINCT FROM twin.hashes
                AND imgdb._held(
                    v_space_id,
                    imgdb._difference(fast.hashes, twin.hashes)
                    || imgdb._difference(twin.hashes, fast.hashes)
                ) IS NOT NULL
        );
END
$$;

CREATE OR REPLACE FUNCTION imgdb.missing_hashes(space_name text)
RETURNS TABLE (hash bigint, band integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_bands integer := (
        SELECT cardinality(s.band_masks) FROM imgdb.space AS s WHERE s.space_id = v_space_id
    );
    v_tracked bigint[] := imgdb._tracked_hashes(v_space_id);
BEGIN
    FOR v_band IN 0..v_bands - 1 LOOP
        RETURN QUERY
        SELECT missing.hash, v_band
        FROM unnest(
            imgdb._difference(v_tracked, imgdb._filed_hashes(v_space_id, v_band))
        ) AS missing (hash);
    END LOOP;
END
$$;

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

COMMENT ON PROCEDURE imgdb.compact (text) IS
'Merges the bucket rows of each prefix of a space, drops doubles and hashes that no tracked column '
'holds any more. Commits in batches: CALL it outside a transaction. VACUUM gives the space back.';

CREATE OR REPLACE FUNCTION imgdb._bucket_rows(of_space_id smallint)
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

CREATE OR REPLACE FUNCTION imgdb._collection_id(collection_name text)
RETURNS integer
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_collection_id integer := (
        SELECT c.collection_id FROM imgdb.collection AS c WHERE c.name = collection_name
    );
BEGIN
    IF v_collection_id IS NULL THEN
        RAISE EXCEPTION 'there is no collection "%"', collection_name USING
            ERRCODE = 'IM011',
            HINT = 'SELECT name FROM imgdb.collection lists the collections.';
    END IF;
    RETURN v_collection_id;
END
$$;

COMMENT ON FUNCTION imgdb._collection_id(text) IS
'The identity of a collection; error IM011 if there is none of that name.';

CREATE OR REPLACE FUNCTION imgdb._found_images(
    space_name text,
    query_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean
)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    distance integer,
    query_number integer,
    same_bytes boolean,
    images bigint
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_asked_for bigint[];
    v_different bigint[];
    v_near text :=
        'SELECT w.hash, w.distance, 1 AS query_number FROM imgdb.within($1, $2[1], $3) AS w';
    v_same_bytes text := '';
    v_held text := '1::bigint';
    v_place text := '1';
BEGIN
    IF match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', match_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all matches.';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    IF EXISTS (SELECT FROM imgdb.not_duplicate) THEN
        EXECUTE format(
            'SELECT array_agg(i.image_id) FROM imgdb.image AS i WHERE i.%I = ANY ($1)', v_column
        ) INTO v_asked_for USING query_hashes;
        v_different := imgdb._different_from(v_asked_for) || imgdb._different_from(
            ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
        );
    END IF;
    IF cardinality(query_hashes) > 1 THEN
        v_near :=
            'SELECT DISTINCT ON (w.hash) w.hash, w.distance, q.query_number::integer '
            'FROM imgdb.within_any($1, $2, $3) AS w '
            'JOIN unnest($2) WITH ORDINALITY AS q (query_hash, query_number) '
            'ON q.query_hash = w.query_hash '
            'ORDER BY w.hash, w.distance, q.query_number';
    END IF;
    IF query_sha256 IS NOT NULL THEN
        -- They are found even where the row lacks the hash, or has one made by other rules.
        v_same_bytes := format(
            'AND i.sha256 IS DISTINCT FROM $8 UNION ALL '
            'SELECT i.image_id, c.name, i.path, i.%1$I, imgdb.distance(i.%1$I, $2[1]), 1, true '
            'FROM imgdb.image AS i '
            'JOIN imgdb.collection AS c ON c.collection_id = i.collection_id '
            'WHERE i.sha256 = $8 AND ($4 IS NULL OR i.collection_id = $4)',
            v_column
        );
    END IF;
    IF flood_limit IS NOT NULL THEN
        v_held := 'CASE WHEN f.hash IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY f.hash) END';
        v_place := 'row_number() OVER '
            '(PARTITION BY f.hash ORDER BY f.same_bytes DESC, f.path, f.image_id)';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT o.image_id, o.collection, o.path, o.distance, o.query_number, o.same_bytes, '
        'CASE WHEN o.held > $9 THEN o.held ELSE 1 END '
        'FROM (SELECT f.*, %3$s AS held, %4$s AS place FROM ('
        'SELECT i.image_id, c.name AS collection, i.path, m.hash, m.distance, m.query_number, '
        'false AS same_bytes '
        'FROM (%1$s) AS m '
        'JOIN imgdb.image AS i ON i.%5$I = m.hash '
        'JOIN imgdb.collection AS c ON c.collection_id = i.collection_id '
        'WHERE ($4 IS NULL OR i.collection_id = $4) AND ($6 OR NOT i.flat) '
        'AND ($7 IS NULL OR i.image_id <> ALL ($7)) %2$s) AS f) AS o '
        'WHERE o.place = 1 OR o.held <= $9 '
        'ORDER BY o.same_bytes DESC, o.distance, o.path, o.image_id LIMIT $5',
        v_near, v_same_bytes, v_held, v_place, v_column
    ) USING space_name, query_hashes, max_distance, v_collection_id, match_limit, include_flat,
        v_different, query_sha256, flood_limit;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._failures(collection_name text, reason_class text)
RETURNS TABLE (path text, reason text, detail text, collection text, failed_at timestamptz)
LANGUAGE plpgsql STABLE ROWS 100
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT f.path, f.reason, f.detail, c.name, f.failed_at
    FROM imgdb.ingest_failure AS f
    JOIN imgdb.collection AS c ON c.collection_id = f.collection_id
    WHERE
        (v_collection_id IS NULL OR f.collection_id = v_collection_id)
        AND (reason_class IS NULL OR f.reason = reason_class)
    ORDER BY f.path, c.name;
END
$$;

CREATE FUNCTION imgdb._exported_images(of_collection text)
RETURNS TABLE (
    path text, collection text, ahash text, dhash text, phash text, whash text, flat boolean,
    recipe text, byte_size bigint, modified_at timestamptz, sha256 text, format text,
    width integer, height integer, frames integer, missing_since timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000
AS $$
    SELECT
        i.path, c.name, imgdb.to_hex(i.ahash), imgdb.to_hex(i.dhash), imgdb.to_hex(i.phash),
        imgdb.to_hex(i.whash), i.flat, i.recipe, i.byte_size, i.modified_at,
        encode(i.sha256, 'hex'), i.format, i.width, i.height, i.frames, i.missing_since
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE of_collection IS NULL OR c.name = of_collection
$$;

COMMENT ON FUNCTION imgdb._exported_images(text) IS
'What is known of the images of a collection, or of all: what imgdb export writes.';

CREATE FUNCTION imgdb._compare_files(
    for_collection_id integer,
    paths text[],
    sizes bigint[],
    times timestamptz[],
    current_recipe text,
    needed_region_recipe text
)
RETURNS TABLE (ordinal bigint, state text, reason text, detail text)
LANGUAGE plpgsql STABLE ROWS 500
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        given.ordinal,
        CASE
            WHEN i.byte_size = given.byte_size AND i.modified_at = given.modified_at
                THEN CASE
                    WHEN i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
                        THEN 'incomplete'
                    WHEN i.missing_since IS NULL THEN 'outdated'
                    ELSE 'found'
                END
            WHEN f.byte_size = given.byte_size AND f.modified_at = given.modified_at THEN 'failed'
            WHEN i.path IS NULL AND f.path IS NULL THEN 'new'
            ELSE 'changed'
        END,
        f.reason,
        f.detail
    FROM unnest(paths, sizes, times) WITH ORDINALITY
        AS given (path, byte_size, modified_at, ordinal)
    LEFT JOIN imgdb.image AS i
        ON i.collection_id = for_collection_id AND i.path = given.path
    LEFT JOIN imgdb.ingest_failure AS f
        ON f.collection_id = for_collection_id AND f.path = given.path
    WHERE
        i.missing_since IS NOT NULL
        OR i.recipe <> current_recipe
        OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        OR (i.byte_size, i.modified_at) IS DISTINCT FROM (given.byte_size, given.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._compare_files(
    integer, text[], bigint[], timestamptz[], text, text
) IS
'What is to do for files by size and time: new, changed, found (unchanged, was missing), outdated '
'(unchanged, of another recipe), incomplete (unchanged, without the regions that are needed, if '
'any) or failed (unchanged since it failed); nothing is said of the others, which are unchanged.';

CREATE OR REPLACE FUNCTION imgdb._stage_images()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_image') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_image (
            path text COLLATE "C" NOT NULL,
            byte_size bigint NOT NULL,
            modified_at timestamptz NOT NULL,
            sha256 bytea NOT NULL,
            format text NOT NULL,
            width integer NOT NULL,
            height integer NOT NULL,
            frames integer NOT NULL,
            ahash bigint,
            dhash bigint,
            phash bigint,
            whash bigint,
            flat boolean NOT NULL,
            recipe text NOT NULL,
            region_recipe text
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._store_images(for_collection_id integer, rewrite boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        INSERT INTO imgdb.image AS i (
            collection_id, path, byte_size, modified_at, sha256, format, width, height, frames,
            ahash, dhash, phash, whash, flat, recipe, region_recipe
        )
        SELECT
            for_collection_id, n.path, n.byte_size, n.modified_at, n.sha256, n.format, n.width,
            n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash, n.flat, n.recipe,
            n.region_recipe
        FROM pg_temp.fresh_image AS n
        ORDER BY n.path
        ON CONFLICT ON CONSTRAINT image_collection_id_path_key DO UPDATE SET
            byte_size = excluded.byte_size,
            modified_at = excluded.modified_at,
            sha256 = excluded.sha256,
            format = excluded.format,
            width = excluded.width,
            height = excluded.height,
            frames = excluded.frames,
            ahash = excluded.ahash,
            dhash = excluded.dhash,
            phash = excluded.phash,
            whash = excluded.whash,
            flat = excluded.flat,
            recipe = excluded.recipe,
            ingested_at = excluded.ingested_at,
            missing_since = NULL,
            -- Regions that were not asked for this time stay, if they are of the same bytes.
            region_recipe = CASE
                WHEN excluded.region_recipe IS NULL AND i.sha256 = excluded.sha256
                    THEN i.region_recipe
                ELSE excluded.region_recipe
            END
        WHERE
            rewrite
            OR i.missing_since IS NOT NULL
            OR (i.byte_size, i.modified_at, i.sha256, i.recipe, i.ahash, i.dhash, i.phash, i.whash)
            IS DISTINCT FROM (
                excluded.byte_size, excluded.modified_at, excluded.sha256, excluded.recipe,
                excluded.ahash, excluded.dhash, excluded.phash, excluded.whash
            )
            OR i.region_recipe IS DISTINCT FROM coalesce(excluded.region_recipe, i.region_recipe)
        -- A row that is new has never been locked by anybody.
        RETURNING i.xmax = 0 AS is_new
    )
    SELECT
        count(*) FILTER (WHERE stored.is_new),
        count(*) FILTER (WHERE NOT stored.is_new)
    FROM stored;
    DELETE FROM imgdb.ingest_failure AS f
    USING pg_temp.fresh_image AS n
    WHERE f.collection_id = for_collection_id AND f.path = n.path;
END
$$;

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Files the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

CREATE FUNCTION imgdb._outdated_images(
    for_collection_id integer,
    old_recipe text,
    target_recipe text,
    needed_hashes text[],
    older_than timestamptz,
    after_path text,
    page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT i.path
    FROM imgdb.image AS i
    WHERE
        i.collection_id = for_collection_id
        AND i.path > after_path
        AND i.sha256 IS NOT NULL
        AND i.missing_since IS NULL
        AND (old_recipe IS NULL OR i.recipe = old_recipe)
        AND (
            i.recipe <> target_recipe
            OR i.ingested_at < older_than
            OR 'ahash' = ANY (needed_hashes) AND i.ahash IS NULL
            OR 'dhash' = ANY (needed_hashes) AND i.dhash IS NULL
            OR 'phash' = ANY (needed_hashes) AND i.phash IS NULL
            OR 'whash' = ANY (needed_hashes) AND i.whash IS NULL
        )
    ORDER BY i.path
    LIMIT page_size;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_images(
    integer, text, text, text[], timestamptz, text, integer
) IS
'A page of the paths of images that have a file and are of another recipe, lack a hash, or were '
'hashed before a time; in the order of the paths.';

CREATE FUNCTION imgdb._outdated_collections(
    collection_name text,
    old_recipe text,
    target_recipe text,
    needed_hashes text[],
    older_than timestamptz
)
RETURNS TABLE (collection text, images bigint)
LANGUAGE plpgsql STABLE ROWS 10
AS $$
#variable_conflict use_column
BEGIN
    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT c.name, outdated.images
    FROM imgdb.collection AS c
    CROSS JOIN LATERAL (
        SELECT count(*) AS images
        FROM imgdb._outdated_images(
            c.collection_id, old_recipe, target_recipe, needed_hashes, older_than, '', NULL
        )
    ) AS outdated
    WHERE outdated.images > 0 AND (collection_name IS NULL OR c.name = collection_name)
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_collections(text, text, text, text[], timestamptz) IS
'How many images of each collection are outdated; error IM011 for an unknown collection.';

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

CREATE OR REPLACE FUNCTION imgdb._images_at(paths text[], collection_name text)
RETURNS TABLE (path text, image_id bigint, collection text, is_file boolean)
LANGUAGE plpgsql STABLE ROWS 2
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
    RETURN QUERY
    SELECT i.path, i.image_id, c.name, i.sha256 IS NOT NULL
    FROM imgdb.collection AS c
    JOIN imgdb.image AS i ON i.collection_id = c.collection_id
    WHERE i.path = ANY (paths) AND (collection_name IS NULL OR c.name = collection_name)
    ORDER BY i.image_id;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._marks(collection_name text)
RETURNS TABLE (
    path_a text, collection_a text, path_b text, collection_b text, marked_at timestamptz
)
LANGUAGE plpgsql STABLE ROWS 100
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
    RETURN QUERY
    SELECT a.path, ca.name, b.path, cb.name, d.marked_at
    FROM imgdb.not_duplicate AS d
    JOIN imgdb.image AS a ON a.image_id = d.image_id_a
    JOIN imgdb.collection AS ca ON ca.collection_id = a.collection_id
    JOIN imgdb.image AS b ON b.image_id = d.image_id_b
    JOIN imgdb.collection AS cb ON cb.collection_id = b.collection_id
    WHERE collection_name IS NULL OR collection_name IN (ca.name, cb.name)
    ORDER BY d.marked_at, d.image_id_a, d.image_id_b;
END
$$;

CREATE OR REPLACE FUNCTION imgdb.duplicate_groups(
    space_name text,
    max_distance integer,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_images bigint[];
    v_hashes bigint[];
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb.not_duplicate AS d;
    EXECUTE format(
        'SELECT array_agg(i.image_id), array_agg(i.%1$I) FROM imgdb.image AS i '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat AND i.missing_since IS NULL '
        'AND ($1 IS NULL OR i.collection_id = $1)',
        v_column
    ) INTO v_images, v_hashes USING v_collection_id;
    RETURN QUERY
    SELECT
        member.first_image_id, member.image_id, i.path,
        imgdb.distance(h.hash, first.hash)
    FROM imgdb._connected_images(
        v_images, v_hashes, NULL, NULL, max_distance, NULL, NULL, v_different_a, v_different_b
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS h (image_id, hash) ON h.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS first (image_id, hash)
        ON first.image_id = member.first_image_id
    ORDER BY 1, 4, 3;
END
$$;

CREATE FUNCTION imgdb._duplicate_candidates(
    space_name text,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (image_id bigint, hash bigint, side integer, folder integer)
LANGUAGE plpgsql STABLE ROWS 100000
AS $$
#variable_conflict use_column
DECLARE
    v_against_id integer;
    v_collection_ids integer[];
    v_folder text := 'NULL::integer';
    v_once text := '';
BEGIN
    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_ids := array_remove(
            ARRAY[imgdb._collection_id(collection_name), v_against_id], NULL
        );
    END IF;
    IF collection_name = against_name THEN
        RAISE EXCEPTION 'collection "%" cannot be compared against itself', collection_name USING
            ERRCODE = 'IM012',
            HINT = 'Leave out the one to compare against: duplicates within it are found then.';
    END IF;
    IF other_folders THEN
        v_folder := 'dense_rank() OVER '
            '(ORDER BY regexp_replace(i.path, ''/[^/]*$'', ''''))::integer';
    END IF;
    -- One file may be in several collections: it counts once, and as one of the reference.
    IF cardinality(v_collection_ids) > 1 OR v_collection_ids IS NULL THEN
        v_once := 'AND NOT EXISTS (SELECT FROM imgdb.image AS o WHERE o.path = i.path '
            'AND o.image_id <> i.image_id AND o.missing_since IS NULL '
            'AND o.sha256 IS NOT NULL AND i.sha256 IS NOT NULL '
            'AND ($1 IS NULL OR o.collection_id = ANY ($1)) '
            'AND (coalesce(o.collection_id = $2, false), i.image_id) '
            '> (coalesce(i.collection_id = $2, false), o.image_id))';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT i.image_id, %s, CASE WHEN $2 IS NOT NULL THEN '
        'CASE WHEN i.collection_id = $2 THEN 2 ELSE 1 END END, %s FROM imgdb.image AS i '
        'WHERE i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = ANY ($1)) '
        'AND ($3 IS NULL OR i.byte_size >= $3) '
        'AND ($4 IS NULL OR i.width::bigint * i.height >= $4) %s',
        imgdb._duplicate_key(space_name, tier_name), v_folder, v_once
    ) USING v_collection_ids, v_against_id, least_bytes, least_pixels;
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_candidates(
    text, text, text, text, boolean, bigint, bigint
) IS
'The images that are compared to find duplicates, each file once: what is compared (NULL if only '
'the bytes are), and their side and folder where these matter.';

CREATE FUNCTION imgdb._duplicates(
    space_name text,
    max_distance integer,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    keep_rule text,
    keep_folder text,
    group_limit integer,
    linked_a bigint[],
    linked_b bigint[]
)
RETURNS TABLE (
    group_id bigint,
    tier text,
    diameter integer,
    images bigint,
    reclaimable_bytes bigint,
    path text,
    keeper boolean,
    removable boolean,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    same_bytes boolean,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    sha256 bytea
)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
    v_images bigint[];
    v_hashes bigint[];
    v_sides integer[];
    v_folders integer[];
    v_different_a bigint[];
    v_different_b bigint[];
    v_linked_a bigint[];
    v_linked_b bigint[];
BEGIN
    PERFORM imgdb._check_distance(v_max_distance);
    IF group_limit < 1 THEN
        RAISE EXCEPTION 'group_limit is %, not 1 or more', group_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all groups.';
    END IF;
    SELECT
        array_agg(c.image_id), array_agg(c.hash),
        CASE WHEN against_name IS NOT NULL THEN array_agg(c.side) END,
        CASE WHEN other_folders THEN array_agg(c.folder) END
    INTO v_images, v_hashes, v_sides, v_folders
    FROM imgdb._duplicate_candidates(
        space_name, tier_name, collection_name, against_name, other_folders, least_bytes,
        least_pixels
    ) AS c;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb._different_pairs() AS d;
    IF tier_name <> 'same-bytes' THEN
        SELECT array_agg(s.image_id_a), array_agg(s.image_id_b)
        INTO v_linked_a, v_linked_b
        FROM imgdb._same_bytes_pairs(
            v_images, v_hashes, v_sides, v_folders, v_different_a || v_different_b
        ) AS s;
    END IF;
    RETURN QUERY
    WITH member AS (
        SELECT
            m.first_image_id,
            i.*,
            c.name AS collection,
            c.name = against_name AS reference,
            i.sha256 IS NOT NULL AND NOT imgdb._in_archive(i.path) AS is_file,
            CASE v_column
                WHEN 'ahash' THEN i.ahash
                WHEN 'dhash' THEN i.dhash
                WHEN 'phash' THEN i.phash
                WHEN 'whash' THEN i.whash
            END AS hash
        FROM imgdb._connected_images(
            v_images, v_hashes, v_sides, v_folders,
            CASE WHEN tier_name = 'near' THEN v_max_distance ELSE 0 END,
            v_linked_a || linked_a, v_linked_b || linked_b, v_different_a, v_different_b
        ) AS m
        JOIN imgdb.image AS i ON i.image_id = m.image_id
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ),
    -- Where there is a reference, its images are kept. What is no file of its own can neither be
    -- removed, nor be checked when others are removed.
    ranked AS (
        SELECT
            m.*,
            row_number() OVER (
                PARTITION BY m.first_image_id
                ORDER BY
                    m.reference DESC NULLS LAST,
                    m.is_file DESC,
                    starts_with(m.path, keep_folder || '/') DESC NULLS LAST,
                    imgdb._keep_order(
                        keep_rule, m.width::bigint * m.height, m.byte_size, m.modified_at, m.path
                    ),
                    m.width::bigint * m.height DESC NULLS LAST,
                    m.byte_size DESC NULLS LAST,
                    m.modified_at,
                    m.path,
                    m.image_id
            ) AS place
        FROM member AS m
    ),
    judged AS (
        SELECT
            r.*,
            imgdb.distance(r.hash, k.hash) AS distance,
            imgdb.distance(r.ahash, k.ahash) AS ahash_distance,
            imgdb.distance(r.dhash, k.dhash) AS dhash_distance,
            imgdb.distance(r.phash, k.phash) AS phash_distance,
            imgdb.distance(r.whash, k.whash) AS whash_distance,
            coalesce(r.sha256 = k.sha256, false) AS same_bytes,
            coalesce(
                (r.ahash, r.dhash, r.phash, r.whash) = (k.ahash, k.dhash, k.phash, k.whash)
                AND NOT r.flat,
                false
            ) AS same_picture,
            r.place > 1 AND r.is_file AND k.is_file AND r.reference IS NOT TRUE
            AND NOT (
                other_folders
                AND regexp_replace(r.path, '/[^/]*$', '') = regexp_replace(k.path, '/[^/]*$', '')
            )
            AND (least(r.image_id, k.image_id), greatest(r.image_id, k.image_id)) NOT IN (
                SELECT d.image_id_a, d.image_id_b
                FROM unnest(v_different_a, v_different_b) AS d (image_id_a, image_id_b)
            ) AS may_go,
            (least(r.image_id, k.image_id), greatest(r.image_id, k.image_id)) IN (
                SELECT least(l.a, l.b), greatest(l.a, l.b)
                FROM unnest(linked_a, linked_b) AS l (a, b)
            ) AS linked,
            NOT r.flat AND NOT k.flat AS has_structure
        FROM ranked AS r
        JOIN ranked AS k ON k.first_image_id = r.first_image_id AND k.place = 1
    ),
    -- The far end of a chain is connected with the keeper by others, but no duplicate of it.
    decided AS (
        SELECT
            j.*,
            j.may_go AND (
                j.same_bytes
                OR j.linked
                OR tier_name = 'same-picture' AND j.same_picture AND j.has_structure
                OR tier_name = 'near' AND j.has_structure AND j.distance <= v_max_distance
            ) IS TRUE AS removable
        FROM judged AS j
    ),
    summary AS (
        SELECT
            j.first_image_id,
            count(*) AS images,
            coalesce(sum(j.byte_size) FILTER (WHERE j.removable), 0)::bigint AS reclaimable_bytes,
            CASE
                WHEN bool_and(j.same_bytes) THEN 'same-bytes'
                WHEN bool_and(j.same_picture) THEN 'same-picture'
                ELSE 'near'
            END AS tier,
            array_agg(DISTINCT j.hash) FILTER (WHERE j.hash IS NOT NULL) AS hashes
        FROM decided AS j
        GROUP BY j.first_image_id
        ORDER BY 3 DESC, 2 DESC, 1
        LIMIT group_limit
    )
    SELECT
        s.first_image_id,
        s.tier,
        imgdb._diameter(s.hashes),
        s.images,
        s.reclaimable_bytes,
        j.path,
        j.place = 1,
        j.removable,
        j.distance,
        j.ahash_distance,
        j.dhash_distance,
        j.phash_distance,
        j.whash_distance,
        j.same_bytes,
        j.collection,
        j.image_id,
        j.width,
        j.height,
        j.byte_size,
        j.format,
        j.modified_at,
        j.sha256
    FROM summary AS s
    JOIN decided AS j ON j.first_image_id = s.first_image_id
    ORDER BY s.reclaimable_bytes DESC, s.images DESC, s.first_image_id, j.place;
END
$$;

COMMENT ON FUNCTION imgdb._duplicates(
    text, integer, text, text, text, boolean, bigint, bigint, text, text, integer, bigint[],
    bigint[]
) IS
'Groups of duplicates of a tier (same-bytes, same-picture, near: each with the narrower ones), '
'most reclaimable bytes first; in a group the keeper first, distances are those to it. linked_a '
'and linked_b are further pairs of images that count as near.';

CREATE OR REPLACE FUNCTION imgdb._turnable(
    space_name text,
    collection_name text,
    against_name text,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (image_id bigint, hash bigint, path text, sha256 bytea, to_turn boolean)
LANGUAGE plpgsql STABLE ROWS 100000
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT i.image_id, c.hash, i.path, i.sha256, c.side IS DISTINCT FROM 2
    FROM imgdb._duplicate_candidates(
        space_name, 'near', collection_name, against_name, false, least_bytes, least_pixels
    ) AS c
    JOIN imgdb.image AS i ON i.image_id = c.image_id
    WHERE c.hash IS NOT NULL
    ORDER BY i.image_id;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._turned_pairs(
    space_name text,
    max_distance integer,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    turned_images bigint[],
    turned_hashes bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 5000 COST 1000000
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
    v_apart boolean := other_folders OR against_name IS NOT NULL;
BEGIN
    RETURN QUERY
    WITH marked AS MATERIALIZED (
        SELECT d.image_id_a AS image_id FROM imgdb._different_pairs() AS d
        UNION
        SELECT d.image_id_b FROM imgdb._different_pairs() AS d
    ),
    candidate AS MATERIALIZED (
        SELECT
            c.image_id, c.hash, c.side, c.folder,
            CASE WHEN v_apart OR m.image_id IS NOT NULL THEN c.image_id END AS lone
        FROM imgdb._duplicate_candidates(
            space_name, 'near', collection_name, against_name, other_folders, least_bytes,
            least_pixels
        ) AS c
        LEFT JOIN marked AS m ON m.image_id = c.image_id
        WHERE c.hash IS NOT NULL
    ),
    turned AS (
        SELECT
            c.image_id, c.side, c.folder, t.hash AS turned_hash,
            row_number() OVER (PARTITION BY c.hash, c.lone, t.hash ORDER BY c.image_id) AS place
        FROM unnest(turned_images, turned_hashes) AS t (image_id, hash)
        JOIN candidate AS c ON c.image_id = t.image_id
    ),
    other AS (
        SELECT
            c.image_id, c.hash, c.side, c.folder,
            row_number() OVER (PARTITION BY c.hash, c.lone ORDER BY c.image_id) AS place
        FROM candidate AS c
    ),
    near AS (
        SELECT w.query_hash, w.hash
        FROM imgdb.within_any(space_name, turned_hashes, v_max_distance) AS w
    )
    SELECT DISTINCT t.image_id, o.image_id
    FROM near AS n
    JOIN turned AS t ON t.turned_hash = n.query_hash AND t.place <= 20
    JOIN other AS o ON o.hash = n.hash AND o.place <= 20
    WHERE
        o.image_id <> t.image_id
        AND (o.side IS NULL OR o.side <> t.side)
        AND (o.folder IS NULL OR o.folder <> t.folder);
END
$$;

CREATE OR REPLACE FUNCTION imgdb._hubs(
    space_name text,
    max_distance integer,
    flood_limit integer,
    collection_name text,
    hub_limit integer
)
RETURNS TABLE (hash bigint, images bigint, matches bigint, path text)
LANGUAGE plpgsql STABLE ROWS 20 COST 1000000
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    -- One entry per distinct hash, in step: how many images have it.
    v_hashes bigint[];
    v_images bigint[];
    -- The same of those that are hubs, and how many other images match.
    v_hub_hashes bigint[];
    v_hub_images bigint[];
    v_hub_matches bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    EXECUTE format(
        'SELECT array_agg(h.hash ORDER BY h.hash), array_agg(h.images ORDER BY h.hash) FROM ('
        'SELECT i.%1$I AS hash, count(*) AS images FROM imgdb.image AS i '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat AND ($1 IS NULL OR i.collection_id = $1) '
        'GROUP BY i.%1$I) AS h',
        v_column
    ) INTO v_hashes, v_images USING v_collection_id;
    SELECT
        array_agg(hub.hash ORDER BY hub.place),
        array_agg(hub.images ORDER BY hub.place),
        array_agg(hub.matches ORDER BY hub.place)
    INTO v_hub_hashes, v_hub_images, v_hub_matches
    FROM (
        WITH held AS MATERIALIZED (
            SELECT h.hash, h.images FROM unnest(v_hashes, v_images) AS h (hash, images)
        ),
        pair AS MATERIALIZED (
            SELECT p.hash_a, p.hash_b FROM imgdb._pairs_among(v_hashes, max_distance) AS p
        ),
        match AS (
            SELECT h.hash, h.images, h.images - 1 AS matches FROM held AS h
            UNION ALL
            SELECT p.hash_a, 0, b.images FROM pair AS p JOIN held AS b ON b.hash = p.hash_b
            UNION ALL
            SELECT p.hash_b, 0, a.images FROM pair AS p JOIN held AS a ON a.hash = p.hash_a
        )
        SELECT
            m.hash,
            sum(m.images)::bigint AS images,
            sum(m.matches)::bigint AS matches,
            row_number() OVER (
                ORDER BY sum(m.matches) DESC, sum(m.images) DESC, m.hash
            ) AS place
        FROM match AS m
        GROUP BY m.hash
        HAVING sum(m.matches) > flood_limit
        ORDER BY place
        LIMIT hub_limit
    ) AS hub;
    RETURN QUERY EXECUTE format(
        'SELECT h.hash, h.images, h.matches, ('
        'SELECT min(i.path) FROM imgdb.image AS i WHERE i.%I = h.hash AND NOT i.flat '
        'AND ($4 IS NULL OR i.collection_id = $4)) '
        'FROM unnest($1, $2, $3) WITH ORDINALITY AS h (hash, images, matches, place) '
        'ORDER BY h.place',
        v_column
    ) USING v_hub_hashes, v_hub_images, v_hub_matches, v_collection_id;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._region_matches(
    query_width integer,
    query_height integer,
    query_boxes integer[],
    query_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    min_votes integer,
    collection_name text,
    match_limit integer
)
RETURNS TABLE (
    path text,
    votes integer,
    regions integer,
    relation text,
    box_left integer,
    box_top integer,
    box_width integer,
    box_height integer,
    query_left integer,
    query_top integer,
    query_box_width integer,
    query_box_height integer,
    same_bytes boolean,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region')
    );
    v_collection_id integer;
    v_different bigint[] := imgdb._different_from(
        ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
    );
    -- Thirds of an octave from 1/256 to 256.
    v_scales double precision[] := ARRAY(
        SELECT power(2.0::double precision, (s.third - 24) / 3.0::double precision)
        FROM generate_series(0, 48) AS s (third)
    );
    v_reach double precision := 0.15::double precision * greatest(query_width, query_height);
BEGIN
    IF min_votes < 1 OR match_limit < 1 THEN
        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            q.region,
            q.hash,
            query_boxes[4 * q.region - 3] + query_boxes[4 * q.region - 1] / 2.0::double precision
                - query_width / 2.0::double precision AS x,
            query_boxes[4 * q.region - 2] + query_boxes[4 * q.region] / 2.0::double precision
                - query_height / 2.0::double precision AS y,
            query_boxes[4 * q.region - 1] + query_boxes[4 * q.region] AS size
        FROM unnest(query_hashes) WITH ORDINALITY AS q (hash, region)
    ),
    hit AS MATERIALIZED (
        SELECT * FROM imgdb.within_any('region', query_hashes, v_max_distance)
    ),
    alike AS MATERIALIZED (
        SELECT q.region AS query_region, r.image_id, r.region, q.x, q.y, q.size, r.box_left,
            r.box_top, r.box_width, r.box_height
        FROM hit
        -- The offset keeps it from being flattened: each hash is one index lookup, also while
        -- nothing is known of the table.
        CROSS JOIN LATERAL (
            SELECT t.* FROM imgdb.image_region AS t WHERE t.region_hash = hit.hash OFFSET 0
        ) AS r
        JOIN asked AS q ON q.hash = hit.query_hash
    ),
    worth AS MATERIALIZED (
        SELECT i.image_id
        FROM (
            SELECT a.image_id
            FROM alike AS a
            GROUP BY a.image_id
            HAVING least(count(DISTINCT a.query_region), count(DISTINCT a.region)) >= min_votes
        ) AS a
        JOIN imgdb.image AS i ON i.image_id = a.image_id
        WHERE
            i.region_recipe IS NOT NULL
            AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
            AND (v_different IS NULL OR i.image_id <> ALL (v_different))
    ),
    placed AS (
        SELECT
            a.*,
            p.scale,
            a.box_left + a.box_width / 2.0::double precision - p.scale * a.x AS middle_x,
            a.box_top + a.box_height / 2.0::double precision - p.scale * a.y AS middle_y
        FROM worth AS w
        JOIN alike AS a ON a.image_id = w.image_id
        CROSS JOIN LATERAL (
            SELECT (a.box_width + a.box_height) / a.size::double precision AS scale
        ) AS p
    ),
    cell AS (
        SELECT
            p.image_id,
            least(count(DISTINCT p.query_region), count(DISTINCT p.region))::integer AS votes,
            sum(p.box_width + p.box_height) / sum(p.size)::double precision AS scale,
            avg(p.middle_x) AS middle_x,
            avg(p.middle_y) AS middle_y,
            s.cell AS cell_scale,
            m.cell_x + x.more AS cell_x,
            m.cell_y + y.more AS cell_y
        FROM placed AS p
        CROSS JOIN LATERAL (
            SELECT width_bucket(p.scale, v_scales) + t.more FROM generate_series(0, 1) AS t (more)
        ) AS s (cell)
        CROSS JOIN LATERAL (
            SELECT
                floor(p.middle_x / (v_reach * v_scales[least(greatest(s.cell, 1), 49)])),
                floor(p.middle_y / (v_reach * v_scales[least(greatest(s.cell, 1), 49)]))
        ) AS m (cell_x, cell_y)
        CROSS JOIN generate_series(0, 1) AS x (more)
        CROSS JOIN generate_series(0, 1) AS y (more)
        GROUP BY p.image_id, s.cell, m.cell_x + x.more, m.cell_y + y.more
    ),
    best AS (
        SELECT DISTINCT ON (c.image_id)
            c.image_id,
            c.votes,
            c.scale,
            c.middle_x - c.scale * query_width / 2 AS from_x,
            c.middle_y - c.scale * query_height / 2 AS from_y,
            c.middle_x + c.scale * query_width / 2 AS to_x,
            c.middle_y + c.scale * query_height / 2 AS to_y
        FROM cell AS c
        WHERE c.votes >= min_votes
        ORDER BY c.image_id, c.votes DESC, c.cell_scale, c.cell_x, c.cell_y
    ),
    framed AS (
        SELECT
            b.*,
            i.width,
            i.height,
            -- Frames that differ by less than a twentieth are the same.
            greatest(i.width, b.to_x - b.from_x) / 20 AS slack_x,
            greatest(i.height, b.to_y - b.from_y) / 20 AS slack_y,
            greatest(round(b.from_x), 0)::integer AS box_left,
            greatest(round(b.from_y), 0)::integer AS box_top,
            least(round(b.to_x), i.width)::integer AS box_right,
            least(round(b.to_y), i.height)::integer AS box_bottom
        FROM best AS b
        JOIN imgdb.image AS i ON i.image_id = b.image_id
    ),
    related AS (
        SELECT
            f.*,
            f.from_x >= -f.slack_x AND f.to_x <= f.width + f.slack_x
            AND f.from_y >= -f.slack_y AND f.to_y <= f.height + f.slack_y AS holds_query,
            f.from_x <= f.slack_x AND f.to_x >= f.width - f.slack_x
            AND f.from_y <= f.slack_y AND f.to_y >= f.height - f.slack_y AS is_held
        FROM framed AS f
    )
    SELECT
        i.path,
        f.votes,
        (SELECT count(*) FROM imgdb.image_region AS r WHERE r.image_id = f.image_id)::integer,
        CASE
            WHEN f.holds_query AND f.is_held THEN 'same'
            WHEN f.holds_query THEN 'contains'
            WHEN f.is_held THEN 'part'
            ELSE 'overlaps'
        END,
        f.box_left,
        f.box_top,
        f.box_right - f.box_left,
        f.box_bottom - f.box_top,
        greatest(round((f.box_left - f.from_x) / f.scale), 0)::integer,
        greatest(round((f.box_top - f.from_y) / f.scale), 0)::integer,
        round((f.box_right - f.box_left) / f.scale)::integer,
        round((f.box_bottom - f.box_top) / f.scale)::integer,
        coalesce(i.sha256 = query_sha256, false),
        c.name,
        i.image_id,
        i.width,
        i.height,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since
    FROM related AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ORDER BY f.votes DESC, i.path, i.image_id
    LIMIT match_limit;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._sampled_images(
    collection_name text, sample_size integer, sample_seed bigint
)
RETURNS TABLE (
    image_id bigint,
    path text,
    sha256 bytea,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint
)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT i.image_id, i.path, i.sha256, i.ahash, i.dhash, i.phash, i.whash
    FROM (
        SELECT DISTINCT ON (drawn.place) drawn.place, drawn.image_id
        FROM (
            SELECT
                j.image_id,
                j.path,
                pg_catalog.sha256(int8send(sample_seed) || j.sha256) AS place
            FROM imgdb.image AS j
            WHERE
                (v_collection_id IS NULL OR j.collection_id = v_collection_id)
                AND j.sha256 IS NOT NULL AND NOT j.flat AND j.missing_since IS NULL
        ) AS drawn
        ORDER BY drawn.place, drawn.path, drawn.image_id
        LIMIT sample_size
    ) AS first
    JOIN imgdb.image AS i ON i.image_id = first.image_id
    ORDER BY first.place;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._searchable_images(collection_name text)
RETURNS TABLE (
    images bigint, with_file bigint, ahash bigint, dhash bigint, phash bigint, whash bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT
        count(*),
        count(i.sha256) FILTER (WHERE i.missing_since IS NULL),
        count(i.ahash),
        count(i.dhash),
        count(i.phash),
        count(i.whash)
    FROM imgdb.image AS i
    WHERE (v_collection_id IS NULL OR i.collection_id = v_collection_id) AND NOT i.flat;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._copies_of(
    image_ids bigint[], collection_name text, alike_distance integer
)
RETURNS TABLE (original_id bigint, copy_id bigint)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
    v_column name;
    v_not_before text := '';
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT o.image_id, i.image_id
    FROM imgdb.image AS o
    JOIN imgdb.image AS i ON i.sha256 = o.sha256 AND i.image_id <> o.image_id
    WHERE
        o.image_id = ANY (image_ids)
        AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        AND NOT i.flat;
    FOREACH v_column IN ARRAY ARRAY['phash', 'dhash', 'whash', 'ahash'] LOOP
        RETURN QUERY EXECUTE format(
            $query$
            SELECT o.image_id, i.image_id
            FROM imgdb.within_any(
                %1$L,
                ARRAY(SELECT q.%1$I FROM imgdb.image AS q WHERE q.image_id = ANY ($1)),
                $2
            ) AS found
            JOIN imgdb.image AS o ON o.%1$I = found.query_hash AND o.image_id = ANY ($1)
            JOIN imgdb.image AS i ON i.%1$I = found.hash AND i.image_id <> o.image_id
            WHERE
                -- NULL is passed over: a hash that one of the two lacks says nothing.
                greatest(
                    imgdb.distance(o.ahash, i.ahash),
                    imgdb.distance(o.dhash, i.dhash),
                    imgdb.distance(o.phash, i.phash),
                    imgdb.distance(o.whash, i.whash)
                ) <= $2
                AND i.sha256 IS DISTINCT FROM o.sha256
                AND ($3 IS NULL OR i.collection_id = $3)
                AND NOT i.flat
                %2$s
            $query$,
            v_column, v_not_before
        )
        USING image_ids, alike_distance, v_collection_id;
        v_not_before := v_not_before
            || format(' AND imgdb.distance(o.%1$I, i.%1$I) IS NULL', v_column);
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._false_matches(
    space_name text,
    collection_name text,
    original_ids bigint[],
    copy_hashes bigint[],
    alike_distance integer,
    max_distance integer,
    draw_size integer,
    draw_seed bigint
)
RETURNS TABLE (original_id bigint, distance integer, matches bigint)
LANGUAGE plpgsql STABLE ROWS 900 COST 10000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_found text;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    IF draw_size IS NULL THEN
        v_found := $found$
            SELECT c.original_id, i.image_id, f.distance
            FROM imgdb.within_any($4, $2, $6) AS f
            JOIN imgdb.image AS i ON i.%1$I = f.hash
            JOIN copied AS c ON c.copy_hash = f.query_hash
            WHERE NOT i.flat AND ($3 IS NULL OR i.collection_id = $3)
        $found$;
    ELSE
        v_found := $found$
            SELECT c.original_id, d.image_id, imgdb.distance(c.copy_hash, d.drawn_hash) AS distance
            FROM (
                SELECT i.image_id, i.%1$I AS drawn_hash
                FROM imgdb.image AS i
                WHERE NOT i.flat AND i.%1$I IS NOT NULL AND ($3 IS NULL OR i.collection_id = $3)
                ORDER BY
                    pg_catalog.sha256(int8send($8) || convert_to(i.path, 'UTF8')),
                    i.image_id
                LIMIT $7
            ) AS d
            CROSS JOIN copied AS c
            WHERE imgdb.distance(c.copy_hash, d.drawn_hash) <= $6
        $found$;
    END IF;
    RETURN QUERY EXECUTE format(
        $query$
        WITH copied AS MATERIALIZED (
            SELECT u.original_id, u.copy_hash FROM unnest($1, $2) AS u (original_id, copy_hash)
        ),
        alike AS MATERIALIZED (
            SELECT a.original_id, a.copy_id
            FROM imgdb._copies_of(ARRAY(SELECT DISTINCT unnest($1)), $9, $5) AS a
        ),
        found AS (%s)
        SELECT f.original_id, f.distance, count(*)
        FROM found AS f
        WHERE
            f.image_id <> f.original_id
            AND NOT EXISTS (
                SELECT FROM alike AS a
                WHERE a.original_id = f.original_id AND a.copy_id = f.image_id
            )
        GROUP BY f.original_id, f.distance
        $query$,
        format(v_found, v_column)
    )
    USING
        original_ids, copy_hashes, v_collection_id, space_name, alike_distance, max_distance,
        draw_size, draw_seed, collection_name;
END
$$;
