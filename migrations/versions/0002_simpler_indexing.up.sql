ALTER FUNCTION imgdb._file_hashes(smallint, bigint[], bigint[]) RENAME TO _index_hashes;
ALTER FUNCTION imgdb._filed_hashes(smallint, integer) RENAME TO _indexed_hashes;
ALTER FUNCTION imgdb._may_file() RENAME TO _may_index;
ALTER FUNCTION imgdb._hold_filing(name[]) RENAME TO _hold_indexing;

ALTER FUNCTION imgdb._collection_id(text) STRICT;

CREATE FUNCTION imgdb._row_capacity()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 200;

ALTER TABLE imgdb.prefix_bucket
DROP CONSTRAINT prefix_bucket_hashes_check;

ALTER TABLE imgdb.prefix_bucket -- noqa: PRS
ADD CONSTRAINT prefix_bucket_hashes_check CHECK (
    cardinality(hashes) BETWEEN 1 AND imgdb._row_capacity()
);

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

-- Most bodies change in a few words, which are replaced where they stand. A changed signature is
-- dropped and made again.
DO $do$
DECLARE
    v_routine regprocedure;
    v_before text;
    v_after text;
    v_old text;
    v_new text;
BEGIN
    FOR v_routine, v_before IN
        SELECT p.oid, pg_get_functiondef(p.oid)
        FROM pg_proc AS p
        WHERE p.pronamespace = 'imgdb'::regnamespace
    LOOP
        v_after := v_before;
        FOR v_old, v_new IN VALUES
            ('_file_hashes(', '_index_hashes('),
            ('_filed_hashes(', '_indexed_hashes('),
            ('source.filed', 'source.indexed'),
            ('(hash, filed)', '(hash, indexed)'),
            ('fresh.filed', 'fresh.indexed'),
            ('are_filed', 'are_indexed'),
            ($$                FROM generate_series(1, floor(random() * (max_distance + 1))::integer)
                -- A bit set is drawn for each hash, not one for all.
                WHERE drawn.hash IS NOT NULL
            ) AS turned
        FROM (
            SELECT s.hash FROM imgdb.scan(space_name, 0, 64) AS s ORDER BY random() LIMIT sample_count
        ) AS drawn
$$,
            $$                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
            ) AS turned
        FROM (
            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM imgdb.scan(space_name, 0, 64) AS s
            ORDER BY random()
            LIMIT sample_count
        ) AS drawn
$$),
            ('until this column is filed.', 'until this column is indexed.'),
            ('(40_file_hashes.sql)', '(imgdb._append_buckets says why)'),
            (
                'compact(IN space_name text)',
                'compact(IN space_name text, IN batch_size integer DEFAULT 10000)'
            ),
            ($$LIMIT 10000
$$,
            $$LIMIT greatest(batch_size, 1)
$$),
            ('ORDER BY entry.hash) - 1) / 200 AS part',
            $$ORDER BY entry.hash) - 1)
            / imgdb._row_capacity() AS part$$),
            ('ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)',
            $$ceil(
                    sum(cardinality(b.hashes) ORDER BY b.prefix)
                    / imgdb._row_capacity()::numeric
                )$$),
            ('hash_count / 200.0', 'hash_count / imgdb._row_capacity()::numeric'),
            ($$    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT c.name, o$$,
            $$    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT c.name, o$$),
            ($$BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;$$,
            $$BEGIN
    PERFORM imgdb._collection_id(collection_name);$$),
            ($$    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
$$,
            ''),
            (
                'v_against_id integer;',
                'v_against_id integer := imgdb._collection_id(against_name);'
            ),
            ($$    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
$$,
            ''),
            (
                'v_collection_id integer;',
                'v_collection_id integer := imgdb._collection_id(collection_name);'
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

COMMENT ON FUNCTION imgdb._row_capacity() IS 'How many hashes a bucket row holds at most.';

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are indexed in.';

COMMENT ON FUNCTION imgdb._append_buckets(smallint, bigint[], bigint[]) IS
'Appends pairs of prefix and hash as bucket rows, grouped by prefix, at most _row_capacity a row.';

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

COMMENT ON FUNCTION imgdb._take_hashes(smallint, bigint) IS
'Deletes the bucket rows of a space and returns their hashes, eight bytes each, the highest first, '
'for a client that indexes them again. NULL if there are more, if this role may not, or if '
'somebody else takes them.';

COMMENT ON FUNCTION imgdb._collection_id(text) IS
'The identity of a collection; error IM011 if there is none of that name. NULL, which stands for '
'all collections, stays NULL.';

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Stores the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

COMMENT ON FUNCTION imgdb._store_import(integer, boolean) IS
'Puts the rows of pg_temp.fresh_hash into imgdb.image; rows that were made from a file stay. If '
'they are indexed, which needs _hold_indexing, none is there yet, and no trigger runs.';

COMMENT ON FUNCTION imgdb._may_index() IS
'Whether this role may index the hashes of an import by COPY, and store it without triggers.';

COMMENT ON FUNCTION imgdb._hold_indexing(name[]) IS
'Where hashes of imgdb.image are indexed, and by which bands: held so until the transaction ends. '
'Nothing if that is left to the triggers, because the table has others than its own.';
