-- noqa: disable=LT05
-- Made by tools/make_revision.py: what goes.
DROP FUNCTION imgdb.revoke_access;
DROP FUNCTION imgdb.grant_access;
DROP FUNCTION imgdb._check_role;
DROP FUNCTION imgdb._rights;
DROP FUNCTION imgdb._compatible_since;
DROP FUNCTION imgdb._revision;
DROP TRIGGER tracked_column_finish_restore ON imgdb.tracked_column;
DROP FUNCTION imgdb._finish_restore;
DROP FUNCTION imgdb._fill;
DROP FUNCTION imgdb._wrong_by_parts;
DROP FUNCTION imgdb._drawn_hashes;
DROP FUNCTION imgdb._searchable_images;
DROP FUNCTION imgdb._sampled_images;
DROP FUNCTION imgdb._part_pairs;
DROP FUNCTION imgdb._basket;
DROP FUNCTION imgdb._undecide;
DROP FUNCTION imgdb._decide;
DROP TRIGGER image_forget_decisions ON imgdb.image;
DROP FUNCTION imgdb._forget_decisions;
DROP FUNCTION imgdb._same_pictures;
DROP FUNCTION imgdb._split_by_colours;
DROP FUNCTION imgdb._may_be_copy;
DROP FUNCTION imgdb._is_grey;
DROP FUNCTION imgdb._region_matches;
DROP FUNCTION imgdb._vote_weight;
DROP FUNCTION imgdb._votes_needed;
DROP FUNCTION imgdb._first_paths;
DROP FUNCTION imgdb._held_hashes;
DROP FUNCTION imgdb._turned_pairs;
DROP FUNCTION imgdb._turnable;
DROP FUNCTION imgdb._duplicates;
DROP FUNCTION imgdb._kind;
DROP FUNCTION imgdb._diameter;
DROP FUNCTION imgdb._images_without_pdq;
DROP FUNCTION imgdb._images_without_colours;
DROP FUNCTION imgdb._compared_images;
DROP FUNCTION imgdb._duplicate_candidates;
DROP FUNCTION imgdb._duplicate_hashes;
DROP FUNCTION imgdb.duplicate_groups;
DROP FUNCTION imgdb._connected_images;
DROP FUNCTION imgdb._pairs_by_rule;
DROP FUNCTION imgdb._move_images;
DROP FUNCTION imgdb._images_of_sizes;
DROP FUNCTION imgdb._newest_image_id;
DROP FUNCTION imgdb._store_pdq;
DROP FUNCTION imgdb._stage_pdq;
DROP FUNCTION imgdb._store_import;
DROP FUNCTION imgdb._store_marks;
DROP FUNCTION imgdb._outdated_collections;
DROP FUNCTION imgdb._outdated_images;
DROP FUNCTION imgdb._compare_files;
DROP FUNCTION imgdb.find_pdq;
DROP FUNCTION imgdb._remove_image;
DROP FUNCTION imgdb._newest_image;
DROP FUNCTION imgdb._image;
DROP FUNCTION imgdb._found_by_pdq;
DROP FUNCTION imgdb._is_by_pdq;
DROP FUNCTION imgdb.find_images;
DROP FUNCTION imgdb._exported_images;
DROP FUNCTION imgdb.within_pdq;
DROP FUNCTION imgdb.scan_pdq;
DROP FUNCTION imgdb._check_pdq;
DROP FUNCTION imgdb._copies;
DROP FUNCTION imgdb._remove_collection;
DROP FUNCTION imgdb._rename_collection;
DROP FUNCTION imgdb._collections;
DROP FUNCTION imgdb._rule_distance;
DROP FUNCTION imgdb._check_rule_distance;
DROP FUNCTION imgdb._default_distance;
DROP FUNCTION imgdb._rule_hashes;
DROP TRIGGER image_forget_pdq ON imgdb.image;
DROP FUNCTION imgdb._forget_pdq;
DROP FUNCTION imgdb._matches;
DROP FUNCTION imgdb.similar_images;
DROP FUNCTION imgdb._found_images;
DROP FUNCTION imgdb._distance_to_query;
DROP FUNCTION imgdb._near_images;
DROP FUNCTION imgdb._known_members;
DROP FUNCTION imgdb.undistribute;
DROP FUNCTION imgdb.distribute;
DROP FUNCTION imgdb._shard_count;
DROP VIEW imgdb.space_health;
DROP FUNCTION imgdb.space_statistics;
DROP FUNCTION imgdb._bucket_bytes;
DROP FUNCTION imgdb.drop_stale;
DROP FUNCTION imgdb._drop_if_stale;
DROP FUNCTION imgdb._put_back;
DROP FUNCTION imgdb._remove_hashes;
DROP PROCEDURE imgdb.rebuild;
DROP FUNCTION imgdb._end_rebuild;
DROP FUNCTION imgdb._fill_shadow;
DROP FUNCTION imgdb._begin_rebuild;
DROP FUNCTION imgdb._use_shadow;
DROP FUNCTION imgdb._check_shadow;
DROP FUNCTION imgdb._make_shadow;
DROP PROCEDURE imgdb.compact;
DROP FUNCTION imgdb._flush_next;
DROP FUNCTION imgdb._merge_next;
DROP FUNCTION imgdb._spaces_to_compact;
DROP FUNCTION imgdb._end_care;
DROP FUNCTION imgdb._begin_care;
DROP FUNCTION imgdb._count_anew;
DROP FUNCTION imgdb._flush_all;
DROP FUNCTION imgdb._merge;
DROP FUNCTION imgdb._check_care;
DROP FUNCTION imgdb._may_maintain;
DROP FUNCTION imgdb.tracking_problems;
DROP FUNCTION imgdb.acknowledge;
DROP FUNCTION imgdb.unwatch;
DROP FUNCTION imgdb.watch;
DROP TRIGGER watch_list_look_back ON imgdb.watch_list;
DROP FUNCTION imgdb._look_back;
DROP FUNCTION imgdb._hold_writers;
DROP FUNCTION imgdb._note_matches;
DROP VIEW imgdb.own_match;
DROP VIEW imgdb.own_watch_list;
DROP FUNCTION imgdb._may_watch;
DROP TRIGGER watch_list_keep_probes ON imgdb.watch_list;
DROP FUNCTION imgdb._keep_watch_probes;
DROP FUNCTION imgdb._watch_prefixes;
DROP FUNCTION imgdb._search_cost;
DROP FUNCTION imgdb._all_hashes;
DROP FUNCTION imgdb.explain;
DROP FUNCTION imgdb._pairs_query;
DROP FUNCTION imgdb._pair_masks;
DROP FUNCTION imgdb._held_among;
DROP FUNCTION imgdb._nearest_hashes;
DROP FUNCTION imgdb.catch_up;
DROP FUNCTION imgdb._column_query;
DROP FUNCTION imgdb._forget_tracked;
DROP FUNCTION imgdb._index_source;
DROP FUNCTION imgdb._count_added;
DROP FUNCTION imgdb._add_band;
DROP FUNCTION imgdb._lock_claimed;
DROP FUNCTION imgdb._note_tracked;
DROP FUNCTION imgdb._sync_triggers;
DROP FUNCTION imgdb._append_triggers;
DROP FUNCTION imgdb._wanted_keys;
DROP FUNCTION imgdb._table_family;
DROP FUNCTION imgdb._indexed_between;
DROP FUNCTION imgdb._ordered_parts_query;
DROP FUNCTION imgdb._source_query;
DROP FUNCTION imgdb._check_column;
DROP FUNCTION imgdb._hold_table;
DROP FUNCTION imgdb._check_member;
DROP FUNCTION imgdb._ancestors;
DROP FUNCTION imgdb._new_hashes_query;
DROP FUNCTION imgdb._append;
DROP FUNCTION imgdb._load;
DROP FUNCTION imgdb._flush;
DROP FUNCTION imgdb._known_among;
DROP FUNCTION imgdb._lock_space;
DROP FUNCTION imgdb._is_distributed;
DROP FUNCTION imgdb._fold_hashes;
DROP FUNCTION imgdb._indexed_among;
DROP FUNCTION imgdb._count_in;
DROP FUNCTION imgdb._add_rows;
DROP FUNCTION imgdb.set_default_max_distance;
DROP FUNCTION imgdb._make_space;
DROP FUNCTION imgdb._masks_for;
DROP FUNCTION imgdb._check_claim;
DROP FUNCTION imgdb._release_space;
DROP FUNCTION imgdb._claim_space;
DROP FUNCTION imgdb._check_query;
DROP TRIGGER space_refuse_masks ON imgdb.space;
DROP FUNCTION imgdb._refuse_masks;
DROP TRIGGER space_end ON imgdb.space;
DROP FUNCTION imgdb._end_space;
DROP TRIGGER space_begin ON imgdb.space;
DROP FUNCTION imgdb._begin_space;
DROP FUNCTION imgdb._scan_from;
DROP FUNCTION imgdb._cost;
DROP VIEW imgdb.own_space;
DROP FUNCTION imgdb._may_keep;
DROP FUNCTION imgdb.from_hex_array;
DROP FUNCTION imgdb.pdq_from_hex;
DROP FUNCTION imgdb.pdq_to_hex;
DROP FUNCTION imgdb.pdq_distance;
DROP FUNCTION imgdb.same_colours;
DROP FUNCTION imgdb.colour_difference;
DROP FUNCTION imgdb._is_flat;

-- By hand
DROP TABLE imgdb.decision;
DROP TABLE imgdb.match;
DROP TABLE imgdb.watch_probe;
DROP TABLE imgdb.watch_list;
DELETE FROM imgdb.tracked_column AS t
WHERE t.table_id = 'imgdb.image_pdq'::regclass;
DROP TABLE imgdb.image_pdq;

DO $do$
DECLARE
    v_trigger record;
BEGIN
    FOR v_trigger IN
        SELECT t.tgname, format('%I.%I', n.nspname, c.relname) AS table_name
        FROM pg_trigger AS t
        INNER JOIN pg_class AS c ON c.oid = t.tgrelid
        INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE t.tgfoid = 'imgdb._append_hashes()'::regprocedure
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_trigger.tgname, v_trigger.table_name);
    END LOOP;
END
$do$;

DROP TABLE imgdb.probe;
DROP TABLE imgdb.space_state;
CREATE TEMPORARY TABLE new_bucket ON COMMIT DROP AS TABLE imgdb.prefix_bucket;
DROP TABLE imgdb.prefix_bucket;
CREATE TEMPORARY TABLE new_tracked ON COMMIT DROP AS TABLE imgdb.tracked_column;
DROP TABLE imgdb.tracked_column;
DELETE FROM pg_temp.new_tracked AS t
USING imgdb.space AS s
WHERE t.space_id = s.space_id AND s.shadow_of IS NOT NULL;
DELETE FROM imgdb.space AS s
WHERE s.shadow_of IS NOT NULL;
ALTER TABLE imgdb.space DROP COLUMN owner_name;
ALTER TABLE imgdb.space DROP COLUMN claimed_by;
ALTER TABLE imgdb.space DROP COLUMN shadow_of;

COMMENT ON COLUMN imgdb.space.space_id IS 'Identity.';
COMMENT ON COLUMN imgdb.space.name IS 'What the functions call it by.';
COMMENT ON COLUMN imgdb.space.description IS 'What the hashes are and where they come from.';
COMMENT ON COLUMN imgdb.space.band_masks IS
'One mask per band. Changing them rebuilds the space.';
COMMENT ON COLUMN imgdb.space.default_max_distance IS
'The largest distance that counts as alike where nobody says otherwise, 0 to 64.';

CREATE TABLE imgdb.probe (
    space_id smallint NOT NULL,
    radius smallint NOT NULL,
    band smallint NOT NULL,
    band_mask bigint NOT NULL,
    flip_masks bigint[] NOT NULL,
    CONSTRAINT probe_pkey PRIMARY KEY (space_id, radius, band),
    CONSTRAINT probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);

COMMENT ON TABLE imgdb.probe IS
'The prefixes that a search looks up: (query_hash & band_mask) XOR each flip mask.';

COMMENT ON COLUMN imgdb.probe.space_id IS 'The space whose bands these are.';

COMMENT ON COLUMN imgdb.probe.radius IS 'The largest distance that these probes find.';

COMMENT ON COLUMN imgdb.probe.band IS 'Position of the band in band_masks, from 0.';

COMMENT ON COLUMN imgdb.probe.band_mask IS 'The bits of the band.';

COMMENT ON COLUMN imgdb.probe.flip_masks IS
'Every mask of at most t bits of the band, t being the threshold of the band at this radius.';

CREATE TABLE imgdb.prefix_bucket ( -- noqa: PRS
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    hashes bigint[] NOT NULL,
    -- 200 hashes stay inside a page, are never TOASTed and can be kept PLAIN, which a search reads
    -- without copying.
    CONSTRAINT prefix_bucket_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
);

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

ALTER TABLE imgdb.prefix_bucket REPLICA IDENTITY FULL;

CREATE INDEX prefix_bucket_space_id_prefix_idx ON imgdb.prefix_bucket (space_id, prefix);

COMMENT ON TABLE imgdb.prefix_bucket IS
'All hashes of a space that share a prefix, in rows of at most 200; compact merges the rows.';

COMMENT ON COLUMN imgdb.prefix_bucket.space_id IS 'The space whose hashes these are.';

COMMENT ON COLUMN imgdb.prefix_bucket.prefix IS
'The bits that the hashes share in one band, all other bits zero: hash & band_mask.';

COMMENT ON COLUMN imgdb.prefix_bucket.hashes IS
'The whole hashes. Doubles and hashes that no row holds any more stay until the next compact.';

COMMENT ON INDEX imgdb.prefix_bucket_space_id_prefix_idx IS 'What every search reads.';

CREATE TABLE imgdb.tracked_column (
    table_id regclass NOT NULL,
    column_name name NOT NULL,
    space_id smallint NOT NULL,
    CONSTRAINT tracked_column_pkey PRIMARY KEY (table_id, column_name),
    CONSTRAINT tracked_column_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id)
);

CREATE INDEX tracked_column_space_id_idx ON imgdb.tracked_column (space_id);

COMMENT ON TABLE imgdb.tracked_column IS
'Which table columns feed which space; track and untrack keep it.';

COMMENT ON COLUMN imgdb.tracked_column.table_id IS
'The table; compact forgets it if it is dropped.';

COMMENT ON COLUMN imgdb.tracked_column.column_name IS 'Its bigint column of hashes.';

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are filed in.';

COMMENT ON INDEX imgdb.tracked_column_space_id_idx IS 'The columns of a space, for compact.';

INSERT INTO imgdb.prefix_bucket (space_id, prefix, hashes)
SELECT b.space_id, b.prefix, b.hashes FROM pg_temp.new_bucket AS b;

INSERT INTO imgdb.prefix_bucket (space_id, prefix, hashes)
SELECT f.space_id, h.hash & m.band_mask, ARRAY[h.hash]
FROM imgdb.fresh_hashes AS f
INNER JOIN imgdb.space AS s ON f.space_id = s.space_id
CROSS JOIN unnest(s.band_masks) AS m (band_mask)
CROSS JOIN unnest(f.hashes) AS h (hash);

DROP TABLE imgdb.fresh_hashes;
DROP SEQUENCE imgdb._part_sequence;

INSERT INTO imgdb.tracked_column (table_id, column_name, space_id)
SELECT t.table_id, t.column_name, t.space_id FROM pg_temp.new_tracked AS t;

ALTER TABLE imgdb.image DROP COLUMN colours;

DROP TABLE imgdb.collection_rule;
DROP TABLE imgdb.rule;
UPDATE imgdb.space SET default_max_distance = 8
WHERE (name, default_max_distance) IN (('ahash', 2), ('dhash', 4), ('whash', 2));

DROP INDEX imgdb.image_byte_size_idx;
DROP INDEX imgdb.image_dhash_alone_idx;
-- End by hand

-- Made by tools/make_revision.py: what comes.
CREATE OR REPLACE FUNCTION imgdb.from_hex(hex text)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    IF hex !~ '^[0-9A-Fa-f]{16}$' THEN
        RAISE EXCEPTION '"%" is not a hash', left(hex, 40) USING
            ERRCODE = 'IM003',
            HINT = 'A hash is 16 hex digits, as imagehash prints it.';
    END IF;
    RETURN ('x' || hex)::bit(64)::bigint;
END
$$;

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

CREATE OR REPLACE FUNCTION imgdb._masks_split(masks bigint[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF array_ndims(masks) = 1 AND array_lower(masks, 1) = 1 AND cardinality(masks) BETWEEN 3 AND 16
    AND (
        SELECT
            sum(bit_count(mask::bit(64))) = 64 AND bit_or(mask) = -1 AND count(*) = count(mask)
            AND min(bit_count(mask::bit(64))) >= 1 AND max(bit_count(mask::bit(64))) <= 22
        FROM unnest(masks) AS listed (mask)
    ) THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'the band masks do not split 64 bits' USING
        ERRCODE = 'IM006',
        CONSTRAINT = 'space_masks_split_check',
        HINT = 'Give 3 to 16 masks of 1 to 22 bits each that neither overlap nor leave a bit out.';
END
$$;

CREATE OR REPLACE FUNCTION imgdb._prepare_probes(for_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_masks bigint[] := (SELECT band_masks FROM imgdb.space WHERE space_id = for_space_id);
    v_bands integer := cardinality(v_masks);
BEGIN
    DELETE FROM imgdb.probe WHERE space_id = for_space_id;
    INSERT INTO imgdb.probe (space_id, radius, band, band_mask, flip_masks)
    WITH RECURSIVE bit AS (
        SELECT b.ordinal - 1 AS band, b.mask, 1::bigint << shift AS bit
        FROM unnest(v_masks) WITH ORDINALITY AS b (mask, ordinal), generate_series(0, 63) AS shift
        WHERE b.mask & (1::bigint << shift) <> 0
    ),
    threshold AS (
        SELECT
            radius,
            band,
            radius / v_bands - (band > radius % v_bands)::integer AS flips
        FROM generate_series(0, 12) AS radius, generate_series(0, v_bands - 1) AS band
    ),
    -- Bits are added in ascending order (as unsigned numbers), so each mask is made once.
    flip AS (
        SELECT DISTINCT band, mask AS band_mask, 0::bigint AS flip_mask, 0 AS flips, 0::bit(64) AS last
        FROM bit
        UNION ALL
        SELECT f.band, f.band_mask, f.flip_mask | b.bit, f.flips + 1, b.bit::bit(64)
        FROM flip AS f
        JOIN bit AS b ON b.band = f.band AND b.bit::bit(64) > f.last
        WHERE f.flips < (SELECT max(t.flips) FROM threshold AS t)
    )
    SELECT for_space_id, t.radius, t.band, f.band_mask, array_agg(f.flip_mask ORDER BY f.flip_mask)
    FROM threshold AS t
    JOIN flip AS f ON f.band = t.band AND f.flips <= t.flips
    GROUP BY t.radius, t.band, f.band_mask;
END
$$;

COMMENT ON FUNCTION imgdb._prepare_probes(smallint) IS
'Makes the probes of a space from its band masks, for every radius up to 12.';

CREATE OR REPLACE FUNCTION imgdb._space_id(space_name text)
RETURNS smallint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_space_id smallint := (SELECT s.space_id FROM imgdb.space AS s WHERE s.name = space_name);
BEGIN
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'there is no space "%"', space_name USING
            ERRCODE = 'IM001',
            HINT = 'SELECT name FROM imgdb.space lists the spaces; imgdb.create_space makes one.';
    END IF;
    RETURN v_space_id;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._check_distance(max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 64 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 64',
            coalesce(max_distance::text, 'NULL') USING
            ERRCODE = 'IM002',
            HINT = 'It counts the differing bits of two 64-bit hashes; 8 is a usual choice.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION imgdb.create_space(space_name text, space_description text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    INSERT INTO imgdb.space (name, description) VALUES (space_name, coalesce(space_description, ''))
    ON CONFLICT ON CONSTRAINT space_name_key DO NOTHING
    RETURNING space_id INTO v_space_id;
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'there is a space "%" already', space_name USING
            ERRCODE = 'IM008',
            HINT = 'Use it, or choose another name.';
    END IF;
    PERFORM imgdb._prepare_probes(v_space_id);
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb.create_space(text, text) IS
'Makes a space and its probes, and returns its space_id; error IM008 if the name is taken.';

CREATE FUNCTION imgdb._hold_off_compact(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1768777572, of_space_id);
END
$$;

COMMENT ON FUNCTION imgdb._hold_off_compact(smallint) IS
'Waits for the batch of a compact at work in a space, and lets no other begin until commit.';

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

CREATE OR REPLACE FUNCTION imgdb.drop_space(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_tracked text;
BEGIN
    PERFORM imgdb._forget_dropped();
    -- Holds off a track into this space until this transaction ends.
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR UPDATE;
    SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id, t.column_name)
    INTO v_tracked
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_space_id;
    IF v_tracked IS NOT NULL THEN
        RAISE EXCEPTION 'space "%" is fed by %', space_name, v_tracked USING
            ERRCODE = 'IM007',
            HINT = 'imgdb.untrack these columns first.';
    END IF;
    PERFORM imgdb._hold_off_compact(v_space_id);
    DELETE FROM imgdb.prefix_bucket WHERE space_id = v_space_id;
    DELETE FROM imgdb.space WHERE space_id = v_space_id;
END
$$;

CREATE FUNCTION imgdb.set_default_max_distance(space_name text, max_distance integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_before integer;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    -- Locked, so that what is returned is what this call replaced.
    SELECT s.default_max_distance
    INTO v_before
    FROM imgdb.space AS s
    WHERE s.space_id = v_space_id
    FOR UPDATE;
    UPDATE imgdb.space AS s
    SET default_max_distance = max_distance
    WHERE s.space_id = v_space_id AND s.default_max_distance <> max_distance;
    RETURN v_before;
END
$$;

COMMENT ON FUNCTION imgdb.set_default_max_distance(text, integer) IS
'Sets the largest distance that counts as alike in a space where nobody says otherwise; returns '
'the one before; error IM001 for an unknown space, IM002 unless it is 0 to 64.';

CREATE FUNCTION imgdb._append_buckets(
    for_space_id smallint,
    new_prefixes bigint[],
    new_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    INSERT INTO imgdb.prefix_bucket (space_id, prefix, hashes)
    SELECT for_space_id, numbered.prefix, array_agg(numbered.hash ORDER BY numbered.hash)
    FROM (
        SELECT
            entry.prefix,
            entry.hash,
            (row_number() OVER (PARTITION BY entry.prefix ORDER BY entry.hash) - 1) / 200 AS part
        FROM (
            SELECT DISTINCT ON (given.prefix, given.hash) given.prefix, given.hash
            FROM unnest(new_prefixes, new_hashes) AS given (prefix, hash)
            ORDER BY given.prefix, given.hash
        ) AS entry
    ) AS numbered
    GROUP BY numbered.prefix, numbered.part;
END
$$;

COMMENT ON FUNCTION imgdb._append_buckets(smallint, bigint[], bigint[]) IS
'Appends pairs of prefix and hash as bucket rows, grouped by prefix, at most 200 hashes a row.';

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

REVOKE EXECUTE ON FUNCTION imgdb._append_hashes() FROM public;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (space_id, column, masks): files the hashes that a statement brought into the column.';

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

CREATE OR REPLACE FUNCTION imgdb._forget_dropped()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = t.table_id);
END
$$;

CREATE FUNCTION imgdb._sources(of_space_id smallint)
RETURNS TABLE (relation regclass, hash_column name)
LANGUAGE plpgsql STABLE ROWS 1
AS $$
DECLARE
    v_lost text := (
        SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id)
        FROM imgdb.tracked_column AS t
        JOIN pg_catalog.pg_class AS c ON c.oid = t.table_id
        WHERE
            t.space_id = of_space_id
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS a
                WHERE
                    a.attrelid = t.table_id AND a.attname = t.column_name AND NOT a.attisdropped
                    AND a.atttypid = 'pg_catalog.int8'::regtype
            )
    );
BEGIN
    IF v_lost IS NOT NULL THEN
        RAISE EXCEPTION 'imgdb tracks %, dropped, renamed or no bigint any more', v_lost USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    -- A dropped table is no source, whether or not it is forgotten yet.
    RETURN QUERY
    SELECT t.table_id, t.column_name
    FROM imgdb.tracked_column AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.table_id
    WHERE t.space_id = of_space_id
    ORDER BY t.table_id, t.column_name;
END
$$;

COMMENT ON FUNCTION imgdb._sources(smallint) IS
'The columns that feed a space, less those whose table is dropped.';

CREATE FUNCTION imgdb._tracked_hashes(of_space_id smallint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_part bigint[];
    v_hashes bigint[];
BEGIN
    FOR v_source IN SELECT * FROM imgdb._sources(of_space_id) LOOP
        FOR v_part IN EXECUTE imgdb._hash_parts_query(
            format('SELECT %I, false FROM %s', v_source.hash_column, v_source.relation)
        ) LOOP
            v_hashes := v_hashes || v_part;
        END LOOP;
    END LOOP;
    RETURN v_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._tracked_hashes(smallint) IS
'All hashes that the tracked columns of a space hold, each once per column; NULL if none.';

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

CREATE FUNCTION imgdb._held(of_space_id smallint, doubtful_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_found bigint[];
    v_held bigint[];
BEGIN
    FOR v_source IN SELECT * FROM imgdb._sources(of_space_id) LOOP
        EXECUTE format(
            'SELECT array_agg(DISTINCT t.%1$I) FROM %2$s AS t WHERE t.%1$I = ANY ($1)',
            v_source.hash_column, v_source.relation
        ) INTO v_found USING doubtful_hashes;
        v_held := v_held || v_found;
    END LOOP;
    RETURN v_held;
END
$$;

COMMENT ON FUNCTION imgdb._held(smallint, bigint[]) IS
'Those of the hashes that a tracked column of the space holds.';

CREATE OR REPLACE FUNCTION imgdb.scan(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    -- Every hash stands in every band, so one band is enough to read.
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    RETURN QUERY
    SELECT DISTINCT ON (entry.hash) entry.hash, imgdb.distance(entry.hash, query_hash)
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE
        entry.hash & v_mask = entry.prefix
        AND imgdb.distance(entry.hash, query_hash) <= max_distance
    ORDER BY entry.hash;
END
$$;

CREATE OR REPLACE FUNCTION imgdb.within(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint;
    v_probes bigint[];
BEGIN
    SELECT min(probe.space_id), array_agg((query_hash & probe.band_mask) # probe.flip_mask)
    INTO v_space_id, v_probes
    FROM (
        SELECT p.space_id, p.band_mask, unnest(p.flip_masks) AS flip_mask
        FROM imgdb.probe AS p
        WHERE
            p.space_id = (SELECT s.space_id FROM imgdb.space AS s WHERE s.name = space_name)
            AND p.radius = max_distance
    ) AS probe;
    IF v_probes IS NULL THEN
        RETURN QUERY SELECT * FROM imgdb.scan(space_name, query_hash, max_distance);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (candidate.hash) candidate.hash, imgdb.distance(candidate.hash, query_hash)
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes)
    ) AS candidate
    WHERE imgdb.distance(candidate.hash, query_hash) <= max_distance
    ORDER BY candidate.hash;
END
$$;

COMMENT ON FUNCTION imgdb.within(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash, by prefix buckets up to distance 12.';

CREATE OR REPLACE FUNCTION imgdb.within_any(
    space_name text,
    query_hashes bigint[],
    max_distance integer
)
RETURNS TABLE (query_hash bigint, hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 100 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_queries bigint[] := (
        SELECT array_agg(DISTINCT q.query)
        FROM unnest(query_hashes) AS q (query)
        WHERE q.query IS NOT NULL
    );
    v_probe_count integer;
    v_part integer;
    -- Arrays in a record stay as they are; as variables they would be copied at every use.
    v_probe record;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT sum(cardinality(p.flip_masks))
    INTO v_probe_count
    FROM imgdb.probe AS p
    WHERE p.space_id = v_space_id AND p.radius = max_distance;
    IF v_probe_count IS NULL THEN
        RETURN QUERY
        SELECT q.query, found.hash, found.distance
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN imgdb.scan(space_name, q.query, max_distance) AS found;
        RETURN;
    END IF;
    -- In parts of about half a million probes, which keeps the memory small.
    v_part := greatest(500000 / v_probe_count, 1);
    FOR v_first IN 1..coalesce(cardinality(v_queries), 0) BY v_part LOOP
        -- In the order of the index, so that each of its pages is fetched once.
        SELECT
            array_agg(probe.prefix) AS prefixes,
            array_agg(probe.query) AS queries,
            count(*) < 50000 AS few
        INTO v_probe
        FROM (
            SELECT (q.query & p.band_mask) # flip_mask AS prefix, q.query
            FROM unnest(v_queries[v_first:v_first + v_part - 1]) AS q (query)
            CROSS JOIN imgdb.probe AS p
            CROSS JOIN unnest(p.flip_masks) AS flip_mask
            WHERE p.space_id = v_space_id AND p.radius = max_distance
            ORDER BY 1
        ) AS probe;
        -- A loop is never run in parallel, which would send each worker the arrays as text.
        FOR query_hash, hash, distance IN
            SELECT DISTINCT ON (candidate.query, candidate.hash)
                candidate.query, candidate.hash, imgdb.distance(candidate.hash, candidate.query)
            FROM (
                SELECT asked.query, unnest(asked.hashes) AS hash
                FROM (
                    SELECT
                        bucket.hashes,
                        unnest(v_probe.queries[
                            -- Behind the last probe of a smaller prefix.
                            CASE
                                WHEN bucket.prefix = -9223372036854775808 THEN 1
                                ELSE width_bucket(bucket.prefix - 1, v_probe.prefixes) + 1
                            END:
                            width_bucket(bucket.prefix, v_probe.prefixes)
                        ]) AS query
                    FROM (
                        -- One of the two is never run: which, is seen before it starts.
                        SELECT b.prefix, b.hashes
                        FROM imgdb.prefix_bucket AS b
                        WHERE
                            v_probe.few
                            AND b.space_id = v_space_id
                            -- Seeing how many these are, PostgreSQL would leave the index alone.
                            AND b.prefix = ANY ((SELECT v_probe.prefixes)::bigint[])
                        UNION ALL
                        SELECT b.prefix, b.hashes
                        FROM imgdb.prefix_bucket AS b
                        WHERE
                            NOT v_probe.few
                            AND b.space_id = v_space_id
                            AND v_probe.prefixes[width_bucket(b.prefix, v_probe.prefixes)]
                            = b.prefix
                    ) AS bucket
                ) AS asked
            ) AS candidate
            WHERE imgdb.distance(candidate.hash, candidate.query) <= max_distance
            ORDER BY candidate.query, candidate.hash
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION imgdb.nearest(
    space_name text,
    query_hash bigint,
    match_limit integer,
    max_distance integer DEFAULT 64
)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_radius integer;
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF match_limit IS NULL OR match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', coalesce(match_limit::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many of the nearest hashes you want.';
    END IF;
    FOREACH v_radius IN ARRAY ARRAY[3, 7, 11, 64] LOOP
        IF v_radius = 64 THEN
            SELECT max(near.distance)
            INTO v_radius
            FROM (
                SELECT DISTINCT ON (measured.distance, measured.hash) measured.distance
                FROM (
                    SELECT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
                    FROM (
                        SELECT unnest(bucket.hashes) AS hash
                        FROM imgdb.prefix_bucket AS bucket
                        WHERE bucket.space_id = v_space_id
                        LIMIT 1000 + 30 * match_limit::bigint
                    ) AS entry
                ) AS measured
                ORDER BY measured.distance, measured.hash
                LIMIT match_limit
            ) AS near
            HAVING count(*) = match_limit;
        END IF;
        v_radius := least(v_radius, max_distance);
        SELECT array_agg(found.hash ORDER BY found.distance, found.hash)
        INTO v_hashes
        FROM imgdb.within(space_name, query_hash, v_radius) AS found;
        EXIT WHEN v_radius = max_distance OR cardinality(v_hashes) >= match_limit;
    END LOOP;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash)
    FROM unnest(v_hashes[:match_limit]) WITH ORDINALITY AS found (hash, place)
    ORDER BY found.place;
END
$$;

CREATE FUNCTION imgdb._pair_masks(max_distance integer, hash_count bigint)
RETURNS TABLE (group_mask bigint, skipped_masks bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 100
AS $$
DECLARE
    v_equal integer;
    v_bands integer;
    v_masks bigint[];
BEGIN
    -- The unit is one hash sorted into its group, which costs about six comparisons.
    SELECT e.equal
    INTO v_equal
    FROM (
        SELECT
            listed.equal,
            -- Number of ways to choose e of (max_distance + e) bands.
            (
                SELECT coalesce(exp(sum(ln((max_distance + i)::double precision / i))), 1)
                FROM generate_series(1, listed.equal) AS i
            ) AS choices,
            64.0::double precision * listed.equal / (max_distance + listed.equal) AS bits
        FROM generate_series(0, 5) AS listed (equal)
        WHERE max_distance + listed.equal BETWEEN 1 AND 64
    ) AS e
    ORDER BY e.choices * (1 + hash_count / 12.0 / 2 ^ e.bits)
    LIMIT 1;
    v_bands := max_distance + v_equal;
    -- Neighbours in the 8x8 grid are alike in real pictures: rows are turned against each other
    -- before the bits are dealt out, so that they fall into different bands.
    SELECT array_agg(band.mask ORDER BY band.number)
    INTO v_masks
    FROM (
        SELECT
            (8 * (i / 8) + (i % 8 + 3 * (i / 8)) % 8) % v_bands AS number,
            bit_or(1::bigint << i) AS mask
        FROM generate_series(0, 63) AS i
        GROUP BY 1
    ) AS band;
    RETURN QUERY
    WITH RECURSIVE choice AS (
        SELECT 0 AS equal, 0 AS last, 0::bigint AS chosen, '{}'::bigint[] AS skipped
        UNION ALL
        SELECT
            c.equal + 1,
            next.band,
            c.chosen | v_masks[next.band],
            c.skipped || v_masks[c.last + 1:next.band - 1]
        FROM choice AS c
        CROSS JOIN LATERAL generate_series(c.last + 1, v_bands) AS next (band)
        WHERE c.equal < v_equal
    )
    SELECT c.chosen, c.skipped FROM choice AS c WHERE c.equal = v_equal;
END
$$;

COMMENT ON FUNCTION imgdb._pair_masks(integer, bigint) IS
'Masks by which pairs groups hashes, and the masks of bands before its last that each leaves out.';

CREATE OR REPLACE FUNCTION imgdb._pairs_among(among_hashes bigint[], max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_group_mask bigint;
    v_skipped_masks bigint[];
BEGIN
    IF max_distance = 0 OR among_hashes IS NULL THEN
        RETURN;
    END IF;
    FOR v_group_mask, v_skipped_masks IN
        SELECT m.group_mask, m.skipped_masks
        FROM imgdb._pair_masks(max_distance, cardinality(among_hashes)) AS m
    LOOP
        -- A pair that agrees in more bands than it must stands in several groups: it is given by
        -- the choice of the first bands, so a band left out before the last must differ.
        RETURN QUERY
        SELECT pair.hash_a, pair.hash_b, imgdb.distance(pair.hash_a, pair.hash_b)
        FROM (
            SELECT first.hash_a, unnest(first.hashes) AS hash_b
            FROM (
                SELECT unnest(together.hashes) AS hash_a, together.hashes
                FROM (
                    SELECT array_agg(one.hash ORDER BY one.hash) AS hashes
                    FROM (SELECT unnest(among_hashes) AS hash) AS one
                    GROUP BY one.hash & v_group_mask
                    HAVING count(*) > 1
                ) AS together
            ) AS first
        ) AS pair
        WHERE
            pair.hash_a < pair.hash_b
            AND imgdb.distance(pair.hash_a, pair.hash_b) <= max_distance
            AND NOT EXISTS (
                SELECT FROM unnest(v_skipped_masks) AS skipped (mask)
                WHERE (pair.hash_a # pair.hash_b) & skipped.mask = 0
            );
    END LOOP;
END
$$;

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

CREATE FUNCTION imgdb.explain(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (strategy text, probes integer, candidates bigint, matches bigint)
LANGUAGE plpgsql STABLE ROWS 1
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_probes bigint[];
    v_strategy text := 'prefix buckets';
    v_candidates bigint;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg((query_hash & p.band_mask) # flip_mask)
    INTO v_probes
    FROM imgdb.probe AS p
    CROSS JOIN unnest(p.flip_masks) AS flip_mask
    WHERE p.space_id = v_space_id AND p.radius = max_distance;
    IF v_probes IS NULL THEN
        v_strategy := 'scan';
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE
            bucket.space_id = v_space_id
            AND bucket.prefix & v_mask = bucket.prefix;
    ELSE
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes);
    END IF;
    RETURN QUERY
    SELECT v_strategy, coalesce(cardinality(v_probes), 0), v_candidates, count(*)
    FROM imgdb.within(space_name, query_hash, max_distance);
END
$$;

COMMENT ON FUNCTION imgdb.explain(text, bigint, integer) IS
'What within does for a query: its strategy (prefix buckets or scan), probes, candidates, matches.';

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

COMMENT ON FUNCTION imgdb.missing_hashes(text) IS
'Hashes that a tracked column holds and a band (from 0) lacks: none, or imgdb.rebuild is due.';

CREATE FUNCTION imgdb._compact_prefixes(
    of_space_id smallint,
    old_prefixes bigint[],
    stale_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
    v_dropped bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = of_space_id AND bucket.prefix = ANY (old_prefixes)
        RETURNING bucket.prefix, bucket.hashes
    )
    SELECT array_agg(entry.prefix), array_agg(entry.hash)
    INTO v_prefixes, v_hashes
    FROM (SELECT gone.prefix, unnest(gone.hashes) AS hash FROM gone) AS entry;
    v_dropped := imgdb._difference(stale_hashes, imgdb._held(of_space_id, stale_hashes));
    IF v_dropped IS NOT NULL THEN
        SELECT array_agg(entry.prefix), array_agg(entry.hash)
        INTO v_prefixes, v_hashes
        FROM unnest(v_prefixes, v_hashes) AS entry (prefix, hash)
        LEFT JOIN unnest(v_dropped) AS dropped (hash) ON dropped.hash = entry.hash
        WHERE dropped.hash IS NULL;
    END IF;
    PERFORM imgdb._append_buckets(of_space_id, v_prefixes, v_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._compact_prefixes(smallint, bigint[], bigint[]) IS
'Merges the rows of each prefix; drops doubles, and those of the stale hashes that nothing holds.';

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

CREATE FUNCTION imgdb.rebuild(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_source record;
BEGIN
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR NO KEY UPDATE;
    PERFORM imgdb._hold_off_compact(v_space_id);
    FOR v_source IN SELECT * FROM imgdb._sources(v_space_id) LOOP
        PERFORM imgdb._put_append_triggers(v_source.relation, v_source.hash_column, v_space_id);
    END LOOP;
    PERFORM imgdb._prepare_probes(v_space_id);
    DELETE FROM imgdb.prefix_bucket AS bucket WHERE bucket.space_id = v_space_id;
    FOR v_source IN SELECT * FROM imgdb._sources(v_space_id) LOOP
        PERFORM imgdb._backfill(v_source.relation, v_source.hash_column, v_space_id);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.rebuild(text) IS
'Makes probes, triggers and buckets of a space anew from its tracked columns, in one transaction.';

CREATE FUNCTION imgdb._rebuild_for_masks()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb.rebuild(new.name);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._rebuild_for_masks() IS
'Trigger: a space whose band masks change gets probes and buckets to match.';

CREATE TRIGGER space_rebuild_for_masks
AFTER UPDATE OF band_masks ON imgdb.space
FOR EACH ROW
WHEN (new.band_masks IS DISTINCT FROM old.band_masks)
EXECUTE FUNCTION imgdb._rebuild_for_masks();

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

CREATE OR REPLACE FUNCTION imgdb._fragmented_spaces(
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

CREATE FUNCTION imgdb.space_statistics(space_name text)
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

COMMENT ON FUNCTION imgdb.space_statistics(text) IS
'Distinct hashes, bucket rows, buckets, fragmentation (rows per row needed; 1 is compact) and '
'bytes of a space: its share, by rows, of the table and index that all spaces share.';

CREATE OR REPLACE FUNCTION imgdb.fullest_buckets(space_name text, bucket_limit integer)
RETURNS TABLE (bucket_prefix bigint, hash_count bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    RETURN QUERY
    SELECT b.prefix, sum(cardinality(b.hashes) ORDER BY b.prefix)
    FROM imgdb.prefix_bucket AS b
    WHERE b.space_id = v_space_id
    GROUP BY b.prefix
    ORDER BY 2 DESC, 1
    LIMIT bucket_limit;
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

CREATE FUNCTION imgdb._known_members(
    for_collection_id integer,
    archive_path text,
    size bigint,
    modified timestamptz,
    needed_region_recipe text
)
RETURNS TABLE (images bigint, failed_paths text[], failed_reasons text[], failed_details text[])
LANGUAGE plpgsql STABLE ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- 0 is the character after the slash.
    v_start text COLLATE "C" := archive_path || '!/';
    v_end text COLLATE "C" := archive_path || '!0';
BEGIN
    RETURN QUERY
    SELECT
        (
            SELECT count(*)
            FROM imgdb.image AS i
            WHERE
                i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                AND i.missing_since IS NULL
        ),
        array_remove(array_agg(f.path ORDER BY f.path), NULL),
        array_remove(array_agg(f.reason ORDER BY f.path), NULL),
        array_remove(array_agg(f.detail ORDER BY f.path), NULL)
    FROM imgdb.archive AS a
    LEFT JOIN imgdb.ingest_failure AS f
        ON f.collection_id = for_collection_id AND f.path > v_start AND f.path < v_end
    WHERE
        a.collection_id = for_collection_id AND a.path = archive_path
        AND a.byte_size = size AND a.modified_at = modified
        AND (
            needed_region_recipe IS NULL
            OR NOT EXISTS (
                SELECT FROM imgdb.image AS i
                WHERE
                    i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                    AND i.missing_since IS NULL
                    AND i.region_recipe IS DISTINCT FROM needed_region_recipe
            )
        )
    GROUP BY a.path;
END
$$;

COMMENT ON FUNCTION imgdb._known_members(integer, text, bigint, timestamptz, text) IS
'How many images an archive gave and which of its members failed; no row unless it was read, has '
'not changed, and its images have the regions that are needed, if any.';

CREATE OR REPLACE FUNCTION imgdb._store_archives(
    for_collection_id integer, paths text[], sizes bigint[], times timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    INSERT INTO imgdb.archive (collection_id, path, byte_size, modified_at)
    SELECT for_collection_id, given.path, given.byte_size, given.modified_at
    FROM unnest(paths, sizes, times) AS given (path, byte_size, modified_at)
    ORDER BY given.path COLLATE "C"
    ON CONFLICT ON CONSTRAINT archive_pkey DO UPDATE SET
        byte_size = excluded.byte_size,
        modified_at = excluded.modified_at,
        read_at = excluded.read_at;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
END
$$;

CREATE OR REPLACE FUNCTION imgdb._image_column(space_name text)
RETURNS name
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_column name := (
        SELECT t.column_name
        FROM imgdb.tracked_column AS t
        WHERE t.space_id = v_space_id AND t.table_id = 'imgdb.image'::regclass
    );
BEGIN
    IF v_column IS NULL THEN
        RAISE EXCEPTION 'space "%" has no column of imgdb.image', space_name USING
            ERRCODE = 'IM009',
            HINT = 'Images are in ahash, dhash, phash and whash; join imgdb.within with your table.';
    END IF;
    RETURN v_column;
END
$$;

CREATE FUNCTION imgdb._found_images(
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

COMMENT ON FUNCTION imgdb._found_images(
    text, bigint[], bytea, integer, text, integer, integer, boolean
) IS
'Images of the same bytes, then those within max_distance of any query hash, each with the '
'number of the hash that it is nearest to. With a flood_limit one image stands for all of a hash '
'that more images have; images says for how many.';

CREATE FUNCTION imgdb.similar_images(
    space_name text,
    query_hash bigint,
    max_distance integer,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    include_flat boolean DEFAULT FALSE
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
BEGIN
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb._found_images(
        space_name, ARRAY[query_hash], NULL, max_distance, collection_name, match_limit, NULL,
        include_flat
    ) AS f
    ORDER BY f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.similar_images(text, bigint, integer, text, integer, boolean) IS
'The images within max_distance of query_hash, nearest first, then by path; flat if asked for.';

CREATE FUNCTION imgdb._matches(
    space_name text,
    query_ahashes bigint[],
    query_dhashes bigint[],
    query_phashes bigint[],
    query_whashes bigint[],
    query_orientations text[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean
)
RETURNS TABLE (
    path text,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    orientation text,
    same_bytes boolean,
    images bigint,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
    v_query_hashes bigint[] := CASE space_name
        WHEN 'ahash' THEN query_ahashes
        WHEN 'dhash' THEN query_dhashes
        WHEN 'phash' THEN query_phashes
        WHEN 'whash' THEN query_whashes
    END;
BEGIN
    RETURN QUERY
    SELECT
        f.path,
        f.distance,
        imgdb.distance(i.ahash, query_ahashes[f.query_number]),
        imgdb.distance(i.dhash, query_dhashes[f.query_number]),
        imgdb.distance(i.phash, query_phashes[f.query_number]),
        imgdb.distance(i.whash, query_whashes[f.query_number]),
        query_orientations[f.query_number],
        f.same_bytes,
        f.images,
        f.collection,
        f.image_id,
        i.width,
        i.height,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since
    FROM imgdb._found_images(
        space_name, v_query_hashes, query_sha256, v_max_distance, collection_name, match_limit,
        flood_limit, include_flat
    ) AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    ORDER BY f.same_bytes DESC, f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._matches(
    text, bigint[], bigint[], bigint[], bigint[], text[], bytea, integer, text, integer, integer,
    boolean
) IS
'Images like a picture, with the distances in all hashes that each has and what is known of each '
'file. Files of the same bytes come first, then the nearest; NULL as max_distance stands for the '
'default of the space, NULL as flood_limit for none.';

CREATE OR REPLACE FUNCTION imgdb._statistics()
RETURNS TABLE (
    images bigint,
    flat bigint,
    missing bigint,
    failures bigint,
    failures_by_reason jsonb,
    collections jsonb,
    tables jsonb
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
BEGIN
    RETURN QUERY
    SELECT
        (SELECT count(*) FROM imgdb.image),
        (SELECT count(*) FROM imgdb.image AS i WHERE i.flat),
        (SELECT count(*) FROM imgdb.image AS i WHERE i.missing_since IS NOT NULL),
        (SELECT count(*) FROM imgdb.ingest_failure),
        (
            SELECT coalesce(jsonb_object_agg(f.reason, f.reason_count), '{}')
            FROM (
                SELECT
                    g.reason,
                    count(*) AS reason_count
                FROM imgdb.ingest_failure AS g
                GROUP BY g.reason
            ) AS f
        ),
        (
            SELECT
                coalesce(
                    jsonb_agg(
                        jsonb_build_object('name', c.name, 'images', c.image_count)
                        ORDER BY c.name
                    ),
                    '[]'
                )
            FROM (
                SELECT
                    d.name,
                    (
                        SELECT count(*)
                        FROM imgdb.image AS i
                        WHERE i.collection_id = d.collection_id
                    ) AS image_count
                FROM imgdb.collection AS d
            ) AS c
        ),
        (
            SELECT
                jsonb_agg(
                    jsonb_build_object(
                        'name', k.relname,
                        'bytes', pg_table_size(k.oid),
                        'indexes', (
                            SELECT
                                coalesce(
                                    jsonb_object_agg(n.relname, pg_relation_size(n.oid)), '{}'
                                )
                            FROM pg_catalog.pg_index AS x
                            JOIN pg_catalog.pg_class AS n ON n.oid = x.indexrelid
                            WHERE x.indrelid = k.oid
                        )
                    )
                    ORDER BY pg_total_relation_size(k.oid) DESC, k.relname
                )
            FROM pg_catalog.pg_class AS k
            WHERE k.relnamespace = 'imgdb'::regnamespace AND k.relkind IN ('r', 'p')
        );
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

CREATE OR REPLACE FUNCTION imgdb._make_collection(collection_name text)
RETURNS integer
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    -- Not one that is there already: each attempt would burn a number of the identity.
    IF NOT EXISTS (SELECT FROM imgdb.collection AS c WHERE c.name = collection_name) THEN
        INSERT INTO imgdb.collection (name) VALUES (collection_name)
        ON CONFLICT ON CONSTRAINT collection_name_key DO NOTHING;
    END IF;
    RETURN imgdb._collection_id(collection_name);
END
$$;

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

CREATE OR REPLACE FUNCTION imgdb._stage_regions()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_region') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_region (
            path text COLLATE "C" NOT NULL,
            -- Left, top, width and height of the first region, of the second, ...
            boxes integer[] NOT NULL,
            hashes bigint[] NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._store_regions(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    DELETE FROM imgdb.image_region AS r
    USING pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    WHERE r.image_id = i.image_id;
    INSERT INTO imgdb.image_region (
        image_id, region, box_left, box_top, box_width, box_height, region_hash
    )
    SELECT
        i.image_id, found.region, n.boxes[4 * found.region - 3], n.boxes[4 * found.region - 2],
        n.boxes[4 * found.region - 1], n.boxes[4 * found.region], found.region_hash
    FROM pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    CROSS JOIN LATERAL unnest(n.hashes) WITH ORDINALITY AS found (region_hash, region)
    ORDER BY i.image_id, found.region;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._store_failures(
    for_collection_id integer,
    paths text[],
    reasons text[],
    details text[],
    sizes bigint[],
    times timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = now()
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path AND i.missing_since IS NULL;
    INSERT INTO imgdb.ingest_failure AS f (
        collection_id, path, reason, detail, byte_size, modified_at
    )
    SELECT
        for_collection_id, given.path, given.reason, given.detail, given.byte_size,
        given.modified_at
    FROM unnest(paths, reasons, details, sizes, times)
        AS given (path, reason, detail, byte_size, modified_at)
    ORDER BY given.path COLLATE "C"
    ON CONFLICT ON CONSTRAINT ingest_failure_pkey DO UPDATE SET
        reason = excluded.reason,
        detail = excluded.detail,
        byte_size = excluded.byte_size,
        modified_at = excluded.modified_at,
        failed_at = excluded.failed_at
    WHERE
        (f.reason, f.detail, f.byte_size, f.modified_at)
        IS DISTINCT FROM
        (excluded.reason, excluded.detail, excluded.byte_size, excluded.modified_at);
END
$$;

CREATE OR REPLACE FUNCTION imgdb._known_below(
    for_collection_id integer, prefix_path text, after_path text, page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    -- 0 is the character after the slash.
    v_end text COLLATE "C" := substr(prefix_path, 1, length(prefix_path) - 1) || '0';
BEGIN
    RETURN QUERY
    (
        SELECT i.path
        FROM imgdb.image AS i
        WHERE
            i.collection_id = for_collection_id AND i.path > after_path AND i.path < v_end
            AND i.missing_since IS NULL AND i.sha256 IS NOT NULL
        ORDER BY i.path
        LIMIT page_size
    )
    UNION
    (
        SELECT f.path
        FROM imgdb.ingest_failure AS f
        WHERE f.collection_id = for_collection_id AND f.path > after_path AND f.path < v_end
        ORDER BY f.path
        LIMIT page_size
    )
    ORDER BY 1
    LIMIT page_size;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._mark_missing(for_collection_id integer, paths text[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = now()
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path
        AND i.missing_since IS NULL AND i.sha256 IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
    RETURN v_count;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._mark_found(for_collection_id integer, paths text[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = NULL
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path
        AND i.missing_since IS NOT NULL;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
END
$$;

CREATE OR REPLACE FUNCTION imgdb._note_file(of_path text, of_sha256 bytea, modified timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE imgdb.image AS i
    SET
        missing_since = CASE WHEN modified IS NULL THEN coalesce(i.missing_since, now()) END,
        modified_at = coalesce(modified, i.modified_at)
    FROM imgdb.collection AS c
    WHERE
        i.collection_id = c.collection_id
        AND i.path = of_path
        AND i.sha256 IS NOT NULL
        AND (modified IS NULL OR i.sha256 = of_sha256)
        AND (
            (i.missing_since IS NULL) = (modified IS NULL)
            OR i.modified_at <> modified
        );
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

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

CREATE OR REPLACE FUNCTION imgdb._stage_import()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    CREATE TEMPORARY TABLE fresh_hash (
        line bigint NOT NULL,
        path text COLLATE "C" NOT NULL,
        ahash bigint,
        dhash bigint,
        phash bigint,
        whash bigint
    ) ON COMMIT DROP;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._repeated_imports(line_limit integer)
RETURNS TABLE (line bigint, first_line bigint, line_count bigint)
LANGUAGE plpgsql STABLE ROWS 20
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT numbered.line, numbered.first_line, count(*) OVER ()
    FROM (
        SELECT n.line, min(n.line) OVER (PARTITION BY n.path) AS first_line
        FROM pg_temp.fresh_hash AS n
    ) AS numbered
    WHERE numbered.line > numbered.first_line
    ORDER BY numbered.line
    LIMIT line_limit;
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

CREATE OR REPLACE FUNCTION imgdb._different_from(image_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT array_agg(other.image_id)
        FROM (
            SELECT pair.image_id
            FROM (
                SELECT d.image_id_b AS image_id FROM imgdb.not_duplicate AS d
                WHERE d.image_id_a = ANY (image_ids)
                UNION ALL
                SELECT d.image_id_a FROM imgdb.not_duplicate AS d
                WHERE d.image_id_b = ANY (image_ids)
            ) AS pair
            WHERE pair.image_id <> ALL (image_ids)
            GROUP BY pair.image_id
            HAVING count(*) = cardinality(image_ids)
        ) AS other
    );
END
$$;

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

CREATE OR REPLACE FUNCTION imgdb._mark_different(image_ids_a bigint[], image_ids_b bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b)
    SELECT DISTINCT least(pair.a, pair.b), greatest(pair.a, pair.b)
    FROM unnest(image_ids_a, image_ids_b) AS pair (a, b)
    ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT not_duplicate_pkey DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._unmark_different(image_ids_a bigint[], image_ids_b bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.not_duplicate AS d
    USING unnest(image_ids_a, image_ids_b) AS pair (a, b)
    WHERE
        d.image_id_a = least(pair.a, pair.b)
        AND (
            d.image_id_b = greatest(pair.a, pair.b)
            OR pair.b IS NULL
        )
        OR d.image_id_b = pair.a AND pair.b IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
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

CREATE FUNCTION imgdb._connected_images(
    of_images bigint[],
    of_hashes bigint[],
    of_sides integer[],
    of_folders integer[],
    max_distance integer,
    linked_a bigint[],
    linked_b bigint[],
    different_a bigint[],
    different_b bigint[]
)
RETURNS TABLE (image_id bigint, first_image_id bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_apart boolean := of_sides IS NOT NULL OR of_folders IS NOT NULL;
    v_lone bigint[] := different_a || different_b
        || CASE WHEN v_apart THEN linked_a || linked_b END;
    -- One entry per image, in step.
    v_images bigint[];
    v_hashes bigint[];
    v_sides integer[];
    v_folders integer[];
    v_nodes integer[];
    -- One entry per node: its parent in a forest whose trees are the groups (union-find).
    v_parents integer[];
    v_a integer;
    v_b integer;
BEGIN
    SELECT
        array_agg(n.image_id), array_agg(n.hash), array_agg(n.side), array_agg(n.folder),
        array_agg(n.node)
    INTO v_images, v_hashes, v_sides, v_folders, v_nodes
    FROM (
        SELECT
            i.image_id, i.hash, i.side, i.folder,
            dense_rank() OVER (
                ORDER BY
                    i.hash, i.side, i.folder, lone.image_id,
                    CASE WHEN i.hash IS NULL THEN i.image_id END
            ) AS node
        FROM unnest(of_images, of_hashes, of_sides, of_folders) AS i (image_id, hash, side, folder)
        LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id) ON lone.image_id = i.image_id
    ) AS n;
    SELECT array_agg(n.node ORDER BY n.node)
    INTO v_parents
    FROM generate_series(1, (SELECT max(n.node) FROM unnest(v_nodes) AS n (node))) AS n (node);
    FOR v_a, v_b IN
        WITH image AS MATERIALIZED (
            SELECT i.image_id, i.hash, i.side, i.folder, i.node
            FROM unnest(v_images, v_hashes, v_sides, v_folders, v_nodes)
                AS i (image_id, hash, side, folder, node)
        ),
        -- Of many folders with near hashes, comparing the first three of each hash and side with
        -- all others is enough: two folders always have a neighbour in common among three.
        node AS MATERIALIZED (
            SELECT
                one.*,
                CASE
                    WHEN one.image_id IS NULL THEN row_number() OVER (
                        PARTITION BY one.hash, one.side, one.image_id IS NULL ORDER BY one.folder
                    )
                    ELSE 0
                END AS place
            FROM (
                SELECT DISTINCT ON (i.node) i.node, i.hash, i.side, i.folder, lone.image_id
                FROM image AS i
                LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id)
                    ON lone.image_id = i.image_id
                WHERE i.hash IS NOT NULL
                ORDER BY i.node
            ) AS one
        ),
        pair AS (
            SELECT p.hash_a, p.hash_b
            FROM imgdb._pairs_among(
                (SELECT array_agg(DISTINCT h.hash) FROM unnest(v_hashes) AS h (hash)
                    WHERE h.hash IS NOT NULL),
                max_distance
            ) AS p
        ),
        near AS (
            SELECT p.hash_a, p.hash_b, -1 AS beyond FROM pair AS p
            UNION ALL
            -- The other way round, for nodes beyond the first three on the first side.
            SELECT p.hash_b, p.hash_a, 3 FROM pair AS p WHERE of_folders IS NOT NULL
            UNION ALL
            SELECT n.hash, n.hash, -1 FROM node AS n GROUP BY n.hash HAVING count(*) > 1
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.hash = near.hash_a AND a.place <= 3
        JOIN node AS b ON b.hash = near.hash_b AND b.node <> a.node AND b.place > near.beyond
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
            )
        UNION ALL
        SELECT a.node, b.node
        FROM unnest(linked_a, linked_b) AS linked (image_id_a, image_id_b)
        JOIN image AS a ON a.image_id = linked.image_id_a
        JOIN image AS b ON b.image_id = linked.image_id_b AND b.node <> a.node
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
            )
    LOOP
        -- Each step to the parent also shortens the way (path halving).
        WHILE v_parents[v_a] <> v_a LOOP
            v_parents[v_a] := v_parents[v_parents[v_a]];
            v_a := v_parents[v_a];
        END LOOP;
        WHILE v_parents[v_b] <> v_b LOOP
            v_parents[v_b] := v_parents[v_parents[v_b]];
            v_b := v_parents[v_b];
        END LOOP;
        v_parents[greatest(v_a, v_b)] := least(v_a, v_b);
    END LOOP;
    -- A parent has a smaller number than its child, so it knows its root by the time it is asked.
    FOR v_a IN 1..coalesce(cardinality(v_parents), 0) LOOP
        v_parents[v_a] := v_parents[v_parents[v_a]];
    END LOOP;
    RETURN QUERY
    SELECT member.image_id, member.first_image_id
    FROM (
        SELECT
            m.image_id,
            min(m.image_id) OVER tree AS first_image_id,
            -- The images of one node are neighbours only where nothing sets them apart.
            CASE WHEN v_apart THEN min(m.node) OVER tree ELSE min(m.image_id) OVER tree END AS least,
            CASE WHEN v_apart THEN max(m.node) OVER tree ELSE max(m.image_id) OVER tree END AS most
        FROM unnest(v_images, v_nodes) AS m (image_id, node)
        WINDOW tree AS (PARTITION BY v_parents[m.node])
    ) AS member
    WHERE member.least < member.most;
END
$$;

COMMENT ON FUNCTION imgdb._connected_images(
    bigint[], bigint[], integer[], integer[], integer, bigint[], bigint[], bigint[], bigint[]
) IS
'Groups of images connected by near hashes or by linked pairs, less different pairs (the smaller '
'identity first). Sides and folders are NULL, or only pairs of unlike ones count.';

CREATE FUNCTION imgdb.duplicate_groups(
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

COMMENT ON FUNCTION imgdb.duplicate_groups(text, integer, text) IS
'Groups of images connected by distances of at most max_distance, less pairs in not_duplicate. A '
'group has the image_id of its first image; flat and missing images are in none.';

CREATE OR REPLACE FUNCTION imgdb._duplicate_key(space_name text, tier_name text)
RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_column name := imgdb._image_column(space_name);
BEGIN
    CASE tier_name
        WHEN 'same-bytes' THEN
            RETURN 'CASE WHEN i.sha256 IS NOT NULL THEN dense_rank() OVER (ORDER BY i.sha256) END';
        WHEN 'same-picture' THEN
            RETURN 'CASE WHEN NOT i.flat AND num_nulls(i.ahash, i.dhash, i.phash, i.whash) = 0 '
                'THEN dense_rank() OVER (ORDER BY i.ahash, i.dhash, i.phash, i.whash) END';
        WHEN 'near' THEN
            RETURN format('CASE WHEN NOT i.flat THEN i.%I END', v_column);
        ELSE
            RAISE EXCEPTION 'there is no tier "%"', tier_name USING
                ERRCODE = 'IM012',
                HINT = 'Tiers are same-bytes, same-picture and near.';
    END CASE;
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

CREATE FUNCTION imgdb._same_bytes_pairs(
    of_images bigint[],
    of_hashes bigint[],
    of_sides integer[],
    of_folders integer[],
    marked_images bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 900
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT c.image_id, c.side, c.folder, i.sha256, c.hash, m.image_id IS NOT NULL AS marked
        FROM unnest(of_images, of_hashes, of_sides, of_folders) AS c (image_id, hash, side, folder)
        JOIN imgdb.image AS i ON i.image_id = c.image_id
        LEFT JOIN (SELECT DISTINCT unnest(marked_images)) AS m (image_id)
            ON m.image_id = c.image_id
        WHERE i.sha256 IS NOT NULL
    ),
    file AS MATERIALIZED (
        SELECT c.image_id, c.side, c.folder, c.sha256, c.marked
        FROM candidate AS c
        JOIN (
            SELECT k.sha256
            FROM candidate AS k
            GROUP BY k.sha256
            HAVING
                count(*) > 1
                AND (min(k.hash) <> max(k.hash) OR count(k.hash) < count(*))
        ) AS unlike ON unlike.sha256 = c.sha256
    ),
    numbered AS (
        SELECT
            f.image_id, f.sha256, f.marked,
            dense_rank() OVER (PARTITION BY f.sha256, f.side, f.marked ORDER BY f.folder) AS place,
            row_number() OVER (
                PARTITION BY f.sha256, f.side, f.marked, f.folder ORDER BY f.image_id
            ) AS place_in_folder
        FROM file AS f
    )
    SELECT few.image_id, f.image_id
    FROM numbered AS few
    JOIN file AS f ON f.sha256 = few.sha256 AND f.image_id <> few.image_id
    WHERE few.marked OR few.place <= 3 AND few.place_in_folder = 1;
END
$$;

COMMENT ON FUNCTION imgdb._same_bytes_pairs(
    bigint[], bigint[], integer[], integer[], bigint[]
) IS
'Pairs that connect files of the same bytes among images where their hashes do not.';

CREATE OR REPLACE FUNCTION imgdb._different_pairs()
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH alias AS MATERIALIZED (
        SELECT marked.image_id, other.image_id AS alias_id
        FROM (
            SELECT d.image_id_a AS image_id FROM imgdb.not_duplicate AS d
            UNION
            SELECT d.image_id_b FROM imgdb.not_duplicate AS d
        ) AS marked
        JOIN imgdb.image AS i ON i.image_id = marked.image_id
        CROSS JOIN imgdb.collection AS c
        JOIN imgdb.image AS other ON other.collection_id = c.collection_id AND other.path = i.path
        WHERE
            other.image_id = i.image_id
            OR (i.sha256 IS NOT NULL AND other.sha256 IS NOT NULL)
    )
    SELECT DISTINCT least(a.alias_id, b.alias_id), greatest(a.alias_id, b.alias_id)
    FROM imgdb.not_duplicate AS d
    JOIN alias AS a ON a.image_id = d.image_id_a
    JOIN alias AS b ON b.image_id = d.image_id_b AND b.alias_id <> a.alias_id;
END
$$;

CREATE FUNCTION imgdb._diameter(of_hashes bigint[])
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN cardinality(of_hashes) <= 5000 THEN (
        SELECT coalesce(max(imgdb.distance(a.hash, b.hash)), 0)
        FROM unnest(of_hashes) AS a (hash)
        INNER JOIN unnest(of_hashes) AS b (hash) ON a.hash < b.hash
    )
END;

COMMENT ON FUNCTION imgdb._diameter(bigint[]) IS
'Largest distance between any two hashes; NULL for more than 5,000 hashes, or none.';

CREATE OR REPLACE FUNCTION imgdb._keep_order(
    keep_rule text, pixels bigint, of_bytes bigint, modified timestamptz, of_path text
)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    CASE keep_rule
        WHEN 'most-pixels' THEN RETURN -pixels;
        WHEN 'most-bytes' THEN RETURN -of_bytes;
        WHEN 'newest' THEN RETURN -extract(epoch FROM modified);
        WHEN 'oldest' THEN RETURN extract(epoch FROM modified);
        WHEN 'shortest-path' THEN RETURN length(of_path);
        ELSE
            RAISE EXCEPTION 'there is no rule "%" for what to keep', keep_rule USING
                ERRCODE = 'IM012',
                HINT = 'Rules are most-pixels, most-bytes, newest, oldest and shortest-path.';
    END CASE;
END
$$;

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

CREATE FUNCTION imgdb._turnable(
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

COMMENT ON FUNCTION imgdb._turnable(text, text, text, bigint, bigint) IS
'The images among which turned duplicates are looked for, with their hashes as they are; to_turn '
'are those whose files must be hashed in other orientations: all, or all but the reference.';

CREATE FUNCTION imgdb._turned_pairs(
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

COMMENT ON FUNCTION imgdb._turned_pairs(
    text, integer, text, text, boolean, bigint, bigint, bigint[], bigint[]
) IS
'Pairs of images of which one, in an orientation in which its hash is one of turned_hashes, is '
'near the other one as it is. Of the images of one hash 20 are paired, where only the hash counts.';

CREATE FUNCTION imgdb._hubs(
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

COMMENT ON FUNCTION imgdb._hubs(text, integer, integer, text, integer) IS
'The hashes whose images match more than flood_limit other images, most matches first: how many '
'images have the hash, how many others are within max_distance of one of them, and the first path. '
'Flat images do not count.';

CREATE FUNCTION imgdb._region_matches(
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

COMMENT ON FUNCTION imgdb._region_matches(
    integer, integer, integer[], bigint[], bytea, integer, integer, text, integer
) IS
'The images that share regions with a query, most votes first, then by path: what the image is to '
'the query (same, contains it, is a part of it, overlaps it), where in it the query lies, and '
'where in the query it lies. NULL as max_distance stands for the default of the space.';

CREATE FUNCTION imgdb._sampled_images(
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

COMMENT ON FUNCTION imgdb._sampled_images(text, integer, bigint) IS
'Images with a file and with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';

CREATE FUNCTION imgdb._searchable_images(collection_name text)
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

COMMENT ON FUNCTION imgdb._searchable_images(text) IS
'How many images that are not flat a collection, or all, has: in all, with a file that is there, '
'and with each hash; error IM011 for an unknown collection.';

CREATE FUNCTION imgdb._copies_of(
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

COMMENT ON FUNCTION imgdb._copies_of(bigint[], text, integer) IS
'Which other images of a collection, or of all, are taken for copies of images: those of the same '
'bytes, and those within alike_distance of it in every hash that both have. Each pair once.';

CREATE FUNCTION imgdb._false_matches(
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

COMMENT ON FUNCTION imgdb._false_matches(
    text, text, bigint[], bigint[], integer, integer, integer, bigint
) IS
'How many images of a collection lie at each distance of hashes of edited copies, but for the '
'originals and what _copies_of takes for copies of them; summed over the copies of an original. '
'With draw_size only so many images are looked at, drawn by a seed.';

-- By hand, at last
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA imgdb TO public;
REVOKE EXECUTE ON FUNCTION imgdb._append_hashes() FROM public;

DELETE FROM imgdb.prefix_bucket AS b
USING imgdb.space AS s
WHERE b.space_id = s.space_id AND s.name = 'pdq';
DELETE FROM imgdb.space AS s
WHERE s.name = 'pdq';

SELECT imgdb._prepare_probes(s.space_id) FROM imgdb.space AS s;
SELECT imgdb._put_append_triggers(t.table_id, t.column_name, t.space_id)
FROM imgdb.tracked_column AS t;
-- End by hand
