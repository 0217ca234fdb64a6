ALTER FUNCTION imgdb._file_hashes(smallint, bigint[], bigint[]) RENAME TO _index_hashes;
ALTER FUNCTION imgdb._filed_hashes(smallint, integer) RENAME TO _indexed_hashes;

DROP FUNCTION imgdb._hold_off_compact_together(smallint);
DROP FUNCTION imgdb._begin_merge(text);
DROP FUNCTION imgdb._take_hashes(smallint, bigint);
DROP FUNCTION imgdb._any_stored(integer);
DROP FUNCTION imgdb._fed_spaces(regclass, name[]);
DROP FUNCTION imgdb._may_file();
DROP FUNCTION imgdb._hold_filing(name[]);
DROP FUNCTION imgdb._hold_collection(integer);
DROP FUNCTION imgdb._may_empty(regclass);
DROP FUNCTION imgdb._begin_first_import(name[]);
DROP FUNCTION imgdb._end_first_import(text[]);
DROP FUNCTION imgdb._empty_buckets();

ALTER FUNCTION imgdb._collection_id(text) STRICT;

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
$$        PERFORM imgdb._file_hashes(v_space_id, v_masks, v_hashes);
$$,
$$        PERFORM imgdb._index_hashes(v_space_id, v_masks, v_hashes);
$$
            ),
            (
            'imgdb._backfill(regclass, name, smallint)'::regprocedure,
$$        PERFORM imgdb._file_hashes(for_space_id, v_masks, v_hashes);
$$,
$$        PERFORM imgdb._index_hashes(for_space_id, v_masks, v_hashes);
$$
            ),
            (
            'imgdb.track(regclass, name, text)'::regprocedure,
$$    -- Masks that somebody is changing are waited for, and cannot change until this column is filed.
$$,
$$    -- Masks that somebody is changing are waited for, and cannot change until this column is indexed.
$$
            ),
            (
            'imgdb.pairs(text, integer)'::regprocedure,
$$    SELECT * FROM imgdb._pairs_among(imgdb._filed_hashes(v_space_id, 0), max_distance);
$$,
$$    SELECT * FROM imgdb._pairs_among(imgdb._indexed_hashes(v_space_id, 0), max_distance);
$$
            ),
            (
            'imgdb.check_space(text, integer, integer)'::regprocedure,
$$                FROM generate_series(1, floor(random() * (max_distance + 1))::integer)
                -- A bit set is drawn for each hash, not one for all.
                WHERE drawn.hash IS NOT NULL
$$,
$$                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
$$
            ),
            (
            'imgdb.check_space(text, integer, integer)'::regprocedure,
$$            SELECT s.hash FROM imgdb.scan(space_name, 0, 64) AS s ORDER BY random() LIMIT sample_count
$$,
$$            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM imgdb.scan(space_name, 0, 64) AS s
            ORDER BY random()
            LIMIT sample_count
$$
            ),
            (
            'imgdb.missing_hashes(text)'::regprocedure,
$$            imgdb._difference(v_tracked, imgdb._filed_hashes(v_space_id, v_band))
$$,
$$            imgdb._difference(v_tracked, imgdb._indexed_hashes(v_space_id, v_band))
$$
            ),
            (
            'imgdb._bucket_rows(smallint)'::regprocedure,
$$        -- The ordered aggregate makes PostgreSQL sort (40_file_hashes.sql).
$$,
$$        -- The ordered aggregate makes PostgreSQL sort (imgdb._append_buckets says why).
$$
            ),
            (
            'imgdb.space_statistics(text)'::regprocedure,
$$        coalesce(cardinality(imgdb._filed_hashes(v_space_id, 0)), 0)::bigint,
$$,
$$        coalesce(cardinality(imgdb._indexed_hashes(v_space_id, 0)), 0)::bigint,
$$
            ),
            (
            'imgdb._found_images(text, bigint[], bytea, integer, text, integer, integer, boolean)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._found_images(text, bigint[], bytea, integer, text, integer, integer, boolean)'::regprocedure,
$$            HINT = 'Leave it out for all matches.';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$,
$$            HINT = 'Leave it out for all matches.';
    END IF;
$$
            ),
            (
            'imgdb._failures(text, text)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._failures(text, text)'::regprocedure,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$,
$$BEGIN
    RETURN QUERY
$$
            ),
            (
            'imgdb._outdated_collections(text, text, text, text[], timestamptz)'::regprocedure,
$$    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
$$,
$$    PERFORM imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._images_at(text[], text)'::regprocedure,
$$    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
$$,
$$    PERFORM imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._marks(text)'::regprocedure,
$$    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
$$,
$$    PERFORM imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb.duplicate_groups(text, integer, text)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb.duplicate_groups(text, integer, text)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
$$
            ),
            (
            'imgdb._duplicate_candidates(text, text, text, text, boolean, bigint, bigint)'::regprocedure,
$$    v_against_id integer;
$$,
$$    v_against_id integer := imgdb._collection_id(against_name);
$$
            ),
            (
            'imgdb._duplicate_candidates(text, text, text, text, boolean, bigint, bigint)'::regprocedure,
$$BEGIN
    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
    IF collection_name IS NOT NULL THEN
$$,
$$BEGIN
    IF collection_name IS NOT NULL THEN
$$
            ),
            (
            'imgdb._hubs(text, integer, integer, text, integer)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._hubs(text, integer, integer, text, integer)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    EXECUTE format(
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    EXECUTE format(
$$
            ),
            (
            'imgdb._region_matches(integer, integer, integer[], bigint[], bytea, integer, integer, text, integer)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._region_matches(integer, integer, integer[], bigint[], bytea, integer, integer, text, integer)'::regprocedure,
$$        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$,
$$        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
$$
            ),
            (
            'imgdb._sampled_images(text, integer, bigint)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._sampled_images(text, integer, bigint)'::regprocedure,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$,
$$BEGIN
    RETURN QUERY
$$
            ),
            (
            'imgdb._searchable_images(text)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._searchable_images(text)'::regprocedure,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$,
$$BEGIN
    RETURN QUERY
$$
            ),
            (
            'imgdb._copies_of(bigint[], text, integer)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._copies_of(bigint[], text, integer)'::regprocedure,
$$BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
$$,
$$BEGIN
    RETURN QUERY
$$
            ),
            (
            'imgdb._false_matches(text, text, bigint[], bigint[], integer, integer, integer, bigint)'::regprocedure,
$$    v_collection_id integer;
$$,
$$    v_collection_id integer := imgdb._collection_id(collection_name);
$$
            ),
            (
            'imgdb._false_matches(text, text, bigint[], bigint[], integer, integer, integer, bigint)'::regprocedure,
$$    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    IF draw_size IS NULL THEN
$$,
$$    PERFORM imgdb._check_distance(max_distance);
    IF draw_size IS NULL THEN
$$
            )
    LOOP
        v_definition := pg_get_functiondef(v_routine);
        IF strpos(v_definition, v_from) = 0 THEN
            RAISE EXCEPTION '% was changed by hand: make it again as revision 0001_initial says', v_routine;
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
        greatest(
            imgdb.distance(perceptual & 9223372036854775807, 0),
            imgdb.distance(average, 0),
            imgdb.distance(difference, 0),
            imgdb.distance(wavelet, 0)
        ) <= 4
END;

CREATE OR REPLACE FUNCTION imgdb._hash_parts_query(source_query text)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(
    'SELECT array_agg(numbered.hash ORDER BY numbered.hash) '
    'FROM (SELECT fresh.hash, (row_number() OVER (ORDER BY fresh.hash) - 1) / 1000000 AS part '
    'FROM (SELECT DISTINCT ON (source.hash) source.hash, source.indexed '
    'FROM (%s) AS source (hash, indexed) WHERE source.hash IS NOT NULL '
    'ORDER BY source.hash, source.indexed DESC) AS fresh '
    'WHERE NOT fresh.indexed) AS numbered '
    'GROUP BY numbered.part',
    source_query
);

DROP PROCEDURE imgdb.compact(text);

CREATE PROCEDURE imgdb.compact(space_name text, batch_size integer DEFAULT 10000)
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
            LIMIT greatest(batch_size, 1)
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

DROP FUNCTION imgdb._store_import(integer, boolean);

CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
AS $$
BEGIN
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
    INSERT INTO imgdb.image (collection_id, path, ahash, dhash, phash, whash, flat, recipe)
    SELECT
        for_collection_id, n.path, n.ahash, n.dhash, n.phash, n.whash,
        imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash), 'imported'
    FROM pg_temp.fresh_hash AS n
    WHERE NOT EXISTS (
        SELECT FROM imgdb.image AS i
        WHERE i.collection_id = for_collection_id AND i.path = n.path
    )
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN NEXT;
END
$$;

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are indexed in.';

COMMENT ON FUNCTION imgdb._index_hashes(smallint, bigint[], bigint[]) IS
'Indexes hashes in a space: puts each into one bucket per band, the masks being its bands.';

COMMENT ON FUNCTION imgdb._hash_parts_query(text) IS
'SQL that gives the distinct hashes of (hash, indexed) rows as arrays, less the indexed ones.';

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (space_id, column, masks): indexes the hashes that a statement brought into the column.';

COMMENT ON FUNCTION imgdb._backfill(regclass, name, smallint) IS
'Indexes the hashes that a column holds.';

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Indexes the hashes of a bigint column, those there now and all that come, in a space, which is '
'made if there is none of that name. Writers to the table wait until the transaction ends.';

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops indexing the hashes of a column. Those that no other column holds go with the next compact.';

COMMENT ON FUNCTION imgdb._indexed_hashes(smallint, integer) IS
'The distinct hashes in the buckets of one band, sorted; NULL if none. Every band holds them all.';

COMMENT ON PROCEDURE imgdb.compact (text, integer) IS
'Merges the bucket rows of each prefix of a space, drops doubles and hashes that no tracked column '
'holds any more. Commits after every batch_size prefixes: CALL it outside a transaction. VACUUM '
'gives the space back.';

COMMENT ON FUNCTION imgdb._collection_id(text) IS
'The identity of a collection; error IM011 if there is none of that name. NULL, which stands for '
'all collections, stays NULL.';

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Stores the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Puts the rows of pg_temp.fresh_hash, each path once, into imgdb.image; rows that were made from a '
'file stay as they are.';
