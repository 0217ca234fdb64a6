ALTER FUNCTION imgdb._index_hashes(smallint, bigint[], bigint[]) RENAME TO _file_hashes;
ALTER FUNCTION imgdb._indexed_hashes(smallint, integer) RENAME TO _filed_hashes;
ALTER FUNCTION imgdb._may_index() RENAME TO _may_file;
ALTER FUNCTION imgdb._hold_indexing(name[]) RENAME TO _hold_filing;

-- Most bodies change in a few words, which are replaced where they stand. A changed signature is
-- dropped and made again.
DO $do$
DECLARE
    v_routine regprocedure;
    v_before text;
    v_after text;
    v_old text;
    v_new text;
    v_guard text := $$    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$;
BEGIN
    FOR v_routine, v_before IN
        SELECT p.oid, pg_get_functiondef(p.oid)
        FROM pg_proc AS p
        WHERE p.pronamespace = 'imgdb'::regnamespace
    LOOP
        v_after := v_before;
        FOR v_old, v_new IN VALUES
            -- The function, and before what its guard stands.
            ('_found_images', '    IF EXISTS (SELECT FROM imgdb.not_duplicate)'),
            ('_failures', '    RETURN QUERY'),
            ('duplicate_groups', '    SELECT array_agg(d.image_id_a)'),
            ('_hubs', '    EXECUTE format('),
            ('_region_matches', '    RETURN QUERY'),
            ('_sampled_images', '    RETURN QUERY'),
            ('_searchable_images', '    RETURN QUERY'),
            ('_copies_of', '    RETURN QUERY'),
            ('_false_matches', '    IF draw_size IS NULL')
        LOOP
            IF starts_with(v_routine::text, 'imgdb.' || v_old || '(') THEN
                v_after := overlay(v_after PLACING v_guard || v_new
                    FROM strpos(v_after, v_new) FOR length(v_new));
            END IF;
        END LOOP;
        FOR v_old, v_new IN VALUES
            ('_index_hashes(', '_file_hashes('),
            ('_indexed_hashes(', '_filed_hashes('),
            ('source.indexed', 'source.filed'),
            ('(hash, indexed)', '(hash, filed)'),
            ('fresh.indexed', 'fresh.filed'),
            ('are_indexed', 'are_filed'),
            ($$                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
            ) AS turned
        FROM (
            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM imgdb.scan(space_name, 0, 64) AS s
            ORDER BY random()
            LIMIT sample_count
        ) AS drawn
$$,
            $$                FROM generate_series(1, floor(random() * (max_distance + 1))::integer)
                -- A bit set is drawn for each hash, not one for all.
                WHERE drawn.hash IS NOT NULL
            ) AS turned
        FROM (
            SELECT s.hash FROM imgdb.scan(space_name, 0, 64) AS s ORDER BY random() LIMIT sample_count
        ) AS drawn
$$),
            ('until this column is indexed.', 'until this column is filed.'),
            ('(imgdb._append_buckets says why)', '(40_file_hashes.sql)'),
            (
                'compact(IN space_name text, IN batch_size integer DEFAULT 10000)',
                'compact(IN space_name text)'
            ),
            ($$LIMIT greatest(batch_size, 1)
$$,
            $$LIMIT 10000
$$),
            ($$ORDER BY entry.hash) - 1)
            / imgdb._row_capacity() AS part$$,
            'ORDER BY entry.hash) - 1) / 200 AS part'),
            ($$ceil(
                    sum(cardinality(b.hashes) ORDER BY b.prefix)
                    / imgdb._row_capacity()::numeric
                )$$,
            'ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)'),
            ('hash_count / imgdb._row_capacity()::numeric', 'hash_count / 200.0'),
            ($$    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT c.name, o$$,
            $$    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT c.name, o$$),
            ($$BEGIN
    PERFORM imgdb._collection_id(collection_name);$$,
            $$BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;$$),
            ($$    IF collection_name IS NOT NULL THEN
        v_collection_ids$$,
            $$    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_ids$$),
            (
                'v_against_id integer := imgdb._collection_id(against_name);',
                'v_against_id integer;'
            ),
            (
                'v_collection_id integer := imgdb._collection_id(collection_name);',
                'v_collection_id integer;'
            )
        LOOP
            v_after := replace(v_after, v_old, v_new);
        END LOOP;
        IF split_part(v_after, E'\n', 1) <> split_part(v_before, E'\n', 1) THEN
            EXECUTE format('DROP ROUTINE %s', v_routine);
        END IF;
        IF v_after <> v_before THEN
            EXECUTE v_after;
        END IF;
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

ALTER TABLE imgdb.prefix_bucket
DROP CONSTRAINT prefix_bucket_hashes_check;

ALTER TABLE imgdb.prefix_bucket -- noqa: PRS
ADD CONSTRAINT prefix_bucket_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200);

DROP FUNCTION imgdb._row_capacity();

ALTER FUNCTION imgdb._collection_id(text) CALLED ON NULL INPUT;

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are filed in.';

COMMENT ON FUNCTION imgdb._append_buckets(smallint, bigint[], bigint[]) IS
'Appends pairs of prefix and hash as bucket rows, grouped by prefix, at most 200 hashes a row.';

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

COMMENT ON FUNCTION imgdb._take_hashes(smallint, bigint) IS
'Deletes the bucket rows of a space and returns their hashes, eight bytes each, the highest first, '
'for a client that files them again. NULL if there are more, if this role may not, or if somebody '
'else takes them.';

COMMENT ON FUNCTION imgdb._collection_id(text) IS
'The identity of a collection; error IM011 if there is none of that name.';

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Files the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

COMMENT ON FUNCTION imgdb._store_import(integer, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are filed, which needs _hold_filing, none is there yet, and no trigger runs.';

COMMENT ON FUNCTION imgdb._may_file() IS
'Whether this role may file the hashes of an import by COPY, and store it without triggers.';

COMMENT ON FUNCTION imgdb._hold_filing(name[]) IS
'Where hashes of imgdb.image are filed, and by which bands: held so until the transaction ends. '
'Nothing if that is left to the triggers, because the table has others than its own.';
