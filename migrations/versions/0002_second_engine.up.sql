-- noqa: disable=LT05
-- Made by tools/make_revision.py: what goes.
DROP FUNCTION imgdb._false_matches;
DROP FUNCTION imgdb._copies_of;
DROP FUNCTION imgdb._searchable_images;
DROP FUNCTION imgdb._sampled_images;
DROP FUNCTION imgdb._region_matches;
DROP FUNCTION imgdb._hubs;
DROP FUNCTION imgdb._turned_pairs;
DROP FUNCTION imgdb._turnable;
DROP FUNCTION imgdb._duplicates;
DROP FUNCTION imgdb._diameter;
DROP FUNCTION imgdb._same_bytes_pairs;
DROP FUNCTION imgdb._duplicate_candidates;
DROP FUNCTION imgdb.duplicate_groups;
DROP FUNCTION imgdb._connected_images;
DROP FUNCTION imgdb._empty_buckets;
DROP FUNCTION imgdb._end_first_import;
DROP FUNCTION imgdb._begin_first_import;
DROP FUNCTION imgdb._may_empty;
DROP FUNCTION imgdb._hold_collection;
DROP FUNCTION imgdb._hold_filing;
DROP FUNCTION imgdb._may_file;
DROP FUNCTION imgdb._fed_spaces;
DROP FUNCTION imgdb._store_import;
DROP FUNCTION imgdb._any_stored;
DROP FUNCTION imgdb._outdated_collections;
DROP FUNCTION imgdb._outdated_images;
DROP FUNCTION imgdb._compare_files;
DROP FUNCTION imgdb._exported_images;
DROP FUNCTION imgdb._matches;
DROP FUNCTION imgdb.similar_images;
DROP FUNCTION imgdb._found_images;
DROP FUNCTION imgdb._known_members;
DROP FUNCTION imgdb._take_hashes;
DROP FUNCTION imgdb._begin_merge;
DROP FUNCTION imgdb.space_statistics;
DROP TRIGGER space_rebuild_for_masks ON imgdb.space;
DROP FUNCTION imgdb._rebuild_for_masks;
DROP FUNCTION imgdb.rebuild;
DROP PROCEDURE imgdb.compact;
DROP FUNCTION imgdb._compact_prefixes;
DROP FUNCTION imgdb.explain;
DROP FUNCTION imgdb._pair_masks;
DROP FUNCTION imgdb._held;
DROP FUNCTION imgdb._filed_hashes;
DROP FUNCTION imgdb._tracked_hashes;
DROP FUNCTION imgdb._sources;
DROP FUNCTION imgdb._backfill;
DROP FUNCTION imgdb._put_append_triggers;
DROP FUNCTION imgdb._drop_append_triggers;
DROP FUNCTION imgdb._trigger_name;
DROP FUNCTION imgdb._table_tree;
DROP FUNCTION imgdb._hash_parts_query;
DROP FUNCTION imgdb._file_hashes;
DROP FUNCTION imgdb._append_buckets;
DROP FUNCTION imgdb.set_default_max_distance;
DROP FUNCTION imgdb._hold_off_compact_together;
DROP FUNCTION imgdb._hold_off_compact;
DROP FUNCTION imgdb._is_flat;

-- By hand
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

ALTER TABLE imgdb.space ADD COLUMN owner_name text NOT NULL DEFAULT current_user;
ALTER TABLE imgdb.space ADD COLUMN claimed_by bigint;
ALTER TABLE imgdb.space ADD COLUMN shadow_of smallint;
ALTER TABLE imgdb.space ADD CONSTRAINT space_shadow_of_key UNIQUE (shadow_of);
ALTER TABLE imgdb.space ADD CONSTRAINT space_shadow_of_fkey FOREIGN KEY (shadow_of)
REFERENCES imgdb.space (space_id) ON DELETE CASCADE;

COMMENT ON COLUMN imgdb.space.space_id IS 'Identity; a rebuild gives a space another one.';
COMMENT ON COLUMN imgdb.space.name IS 'What the functions call it by.';
COMMENT ON COLUMN imgdb.space.description IS 'What the hashes are and where they come from.';
COMMENT ON COLUMN imgdb.space.band_masks IS 'One mask per band; imgdb.rebuild changes them.';
COMMENT ON COLUMN imgdb.space.default_max_distance IS
'The largest distance that counts as alike where nobody says otherwise, 0 to 64.';
COMMENT ON COLUMN imgdb.space.owner_name IS
'The role that tracks columns into the space and looks after it, as all of its members may.';
COMMENT ON COLUMN imgdb.space.claimed_by IS
'The transaction in which the owner changes the space just now; NULL at all other times.';
COMMENT ON COLUMN imgdb.space.shadow_of IS
'The space that this one will replace when its rebuild is done; NULL for all others.';

DROP TABLE imgdb.probe;
CREATE TEMPORARY TABLE old_bucket ON COMMIT DROP AS TABLE imgdb.prefix_bucket;
DROP TABLE imgdb.prefix_bucket;
CREATE TEMPORARY TABLE old_tracked ON COMMIT DROP AS TABLE imgdb.tracked_column;
DROP TABLE imgdb.tracked_column;

CREATE TABLE imgdb.probe (
    space_id smallint NOT NULL,
    from_distance smallint NOT NULL,
    band_mask bigint NOT NULL,
    flip_masks bigint[] NOT NULL,
    CONSTRAINT probe_pkey PRIMARY KEY (space_id, from_distance),
    CONSTRAINT probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);

ALTER TABLE imgdb.probe ALTER COLUMN flip_masks SET STORAGE EXTERNAL; -- noqa: PRS

COMMENT ON TABLE imgdb.probe IS
'The prefixes that a search looks up, level by level: (query_hash & band_mask) XOR each flip mask.';

COMMENT ON COLUMN imgdb.probe.space_id IS 'The space whose bands these are.';

COMMENT ON COLUMN imgdb.probe.from_distance IS
'The level: searches of this distance and above need it. Levels 0 to r find all within r.';

COMMENT ON COLUMN imgdb.probe.band_mask IS 'The bits of the band.';

COMMENT ON COLUMN imgdb.probe.flip_masks IS
'Every mask of exactly t bits of the band, t being the level divided by the number of bands.';

CREATE TABLE imgdb.prefix_bucket ( -- noqa: PRS
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    part bigint NOT NULL,
    hashes bigint[] NOT NULL,
    CONSTRAINT prefix_bucket_pkey PRIMARY KEY (space_id, prefix, part),
    -- 200 hashes stay inside a page, are never TOASTed and can be kept PLAIN, which a search reads
    -- without copying.
    CONSTRAINT prefix_bucket_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
)
-- A flush adds to a row in place where its page has room: no new index entry, nothing to vacuum.
WITH (fillfactor = 70);

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

COMMENT ON TABLE imgdb.prefix_bucket IS
'All hashes of a space that share a prefix, in rows of at most 200.';

COMMENT ON COLUMN imgdb.prefix_bucket.space_id IS 'The space whose hashes these are.';

COMMENT ON COLUMN imgdb.prefix_bucket.prefix IS
'The bits that the hashes share in one band, all other bits zero: hash & band_mask.';

COMMENT ON COLUMN imgdb.prefix_bucket.part IS
'Tells rows of one prefix apart: later ones have greater numbers.';

COMMENT ON COLUMN imgdb.prefix_bucket.hashes IS
'The whole hashes. Those that no row holds any more stay until imgdb.drop_stale.';

CREATE SEQUENCE imgdb._part_sequence INCREMENT BY 1000000;

COMMENT ON SEQUENCE imgdb._part_sequence IS 'Numbers for prefix_bucket.part, a million for a load.';

CREATE TABLE imgdb.fresh_hashes (
    space_id smallint NOT NULL,
    hashes bigint[] NOT NULL,
    CONSTRAINT fresh_hashes_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
);

ALTER TABLE imgdb.fresh_hashes ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS

ALTER TABLE imgdb.fresh_hashes ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

COMMENT ON TABLE imgdb.fresh_hashes IS
'Hashes that writers appended and that are not in the buckets yet; every search reads them, too.';

COMMENT ON COLUMN imgdb.fresh_hashes.space_id IS 'The space whose hashes these are.';

COMMENT ON COLUMN imgdb.fresh_hashes.hashes IS 'What one statement brought, at most 200 a row.';

CREATE TABLE imgdb.space_state (
    space_id smallint NOT NULL,
    hash_count bigint NOT NULL DEFAULT 0,
    scan_from smallint NOT NULL DEFAULT 0,
    flushed_by xid8,
    flushed_at timestamptz,
    merged_at timestamptz,
    CONSTRAINT space_state_pkey PRIMARY KEY (space_id)
)
WITH (fillfactor = 50);

COMMENT ON TABLE imgdb.space_state IS 'What is known of the buckets of a space, kept by flushes.';

COMMENT ON COLUMN imgdb.space_state.space_id IS 'The space.';

COMMENT ON COLUMN imgdb.space_state.hash_count IS
'How many hashes are in the buckets, nearly: compact counts anew.';

COMMENT ON COLUMN imgdb.space_state.scan_from IS
'The smallest distance at which reading every hash costs less than looking up probes.';

COMMENT ON COLUMN imgdb.space_state.flushed_by IS
'The transaction that flushed last: one transaction flushes once.';

COMMENT ON COLUMN imgdb.space_state.flushed_at IS 'When the last flush was.';

COMMENT ON COLUMN imgdb.space_state.merged_at IS 'When the last compact was done.';

CREATE TABLE imgdb.tracked_column (
    track_key uuid NOT NULL DEFAULT gen_random_uuid(),
    table_id regclass NOT NULL,
    -- A dump carries the name of the table and this number as it was: where the two are not one
    -- table, the rows come from a dump, and the column is known by its name only.
    table_number oid NOT NULL,
    column_name name NOT NULL,
    column_number smallint NOT NULL,
    space_id smallint NOT NULL,
    CONSTRAINT tracked_column_pkey PRIMARY KEY (table_id, column_name, space_id),
    CONSTRAINT tracked_column_track_key_key UNIQUE (track_key),
    CONSTRAINT tracked_column_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id)
);

CREATE INDEX tracked_column_space_id_idx ON imgdb.tracked_column (space_id);

COMMENT ON TABLE imgdb.tracked_column IS
'Which table columns feed which space; track and untrack keep it. All triggers follow from it.';

COMMENT ON COLUMN imgdb.tracked_column.track_key IS
'What the triggers know the row by: no other database has it.';

COMMENT ON COLUMN imgdb.tracked_column.table_id IS 'The table.';

COMMENT ON COLUMN imgdb.tracked_column.table_number IS
'The number of the table when it was tracked.';

COMMENT ON COLUMN imgdb.tracked_column.column_name IS 'Its bigint column of hashes.';

COMMENT ON COLUMN imgdb.tracked_column.column_number IS
'The number of the column when it was tracked: another column of its name is not tracked.';

COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are indexed in.';

COMMENT ON INDEX imgdb.tracked_column_space_id_idx IS 'The columns of a space.';

CREATE TABLE imgdb.watch_list (
    watch_id bigint GENERATED ALWAYS AS IDENTITY,
    space_id smallint NOT NULL,
    hash bigint NOT NULL,
    radius smallint NOT NULL,
    label text NOT NULL,
    watched_since timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT watch_list_pkey PRIMARY KEY (watch_id),
    CONSTRAINT watch_list_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE,
    -- Beyond, an entry has thousands of prefixes.
    CONSTRAINT watch_list_radius_check CHECK (radius BETWEEN 0 AND 12),
    -- It goes into a notification, which has 8000 bytes.
    CONSTRAINT watch_list_label_check CHECK (length(label) <= 200)
);
CREATE INDEX watch_list_space_id_idx ON imgdb.watch_list (space_id);
COMMENT ON TABLE imgdb.watch_list IS
'Hashes of interest: what arrives near one is noted in imgdb.match.';
COMMENT ON COLUMN imgdb.watch_list.watch_id IS 'Identity.';
COMMENT ON COLUMN imgdb.watch_list.space_id IS 'The space that is watched.';
COMMENT ON COLUMN imgdb.watch_list.hash IS 'The hash.';
COMMENT ON COLUMN imgdb.watch_list.radius IS 'The largest distance that is a match, 0 to 12.';
COMMENT ON COLUMN imgdb.watch_list.label IS
'What the owner calls it. Everybody in the database can hear it (LISTEN).';
COMMENT ON COLUMN imgdb.watch_list.watched_since IS 'When it was added.';
COMMENT ON INDEX imgdb.watch_list_space_id_idx IS 'The entries of a space.';

CREATE TABLE imgdb.watch_probe (
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    watch_id bigint NOT NULL,
    hash bigint NOT NULL,
    radius smallint NOT NULL,
    CONSTRAINT watch_probe_pkey PRIMARY KEY (space_id, prefix, watch_id),
    CONSTRAINT watch_probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);
COMMENT ON TABLE imgdb.watch_probe IS
'The prefixes that hashes near an entry of the watch list have; made with the entry.';
COMMENT ON COLUMN imgdb.watch_probe.space_id IS 'The space that is watched.';
COMMENT ON COLUMN imgdb.watch_probe.prefix IS 'A prefix: hash & band_mask of what may be near.';
COMMENT ON COLUMN imgdb.watch_probe.watch_id IS 'The entry.';
COMMENT ON COLUMN imgdb.watch_probe.hash IS 'Its hash.';
COMMENT ON COLUMN imgdb.watch_probe.radius IS 'Its radius.';

CREATE TABLE imgdb.match (
    match_id bigint GENERATED ALWAYS AS IDENTITY,
    watch_id bigint NOT NULL,
    relation_name text,
    hash bigint NOT NULL,
    distance smallint NOT NULL,
    matched_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT match_pkey PRIMARY KEY (match_id),
    CONSTRAINT match_watch_id_fkey FOREIGN KEY (watch_id)
    REFERENCES imgdb.watch_list (watch_id) ON DELETE CASCADE
);
CREATE INDEX match_watch_id_idx ON imgdb.match (watch_id);
COMMENT ON TABLE imgdb.match IS
'What arrived near an entry of the watch list, until it is acknowledged.';
COMMENT ON COLUMN imgdb.match.match_id IS 'Identity.';
COMMENT ON COLUMN imgdb.match.watch_id IS 'The entry.';
COMMENT ON COLUMN imgdb.match.relation_name IS
'The table that was written; NULL for what was there before, or came by track or catch_up.';
COMMENT ON COLUMN imgdb.match.hash IS 'The hash that arrived: join the table on it.';
COMMENT ON COLUMN imgdb.match.distance IS 'Its distance to the entry.';
COMMENT ON COLUMN imgdb.match.matched_at IS 'When the transaction began that brought it.';
COMMENT ON INDEX imgdb.match_watch_id_idx IS 'The matches of an entry.';

INSERT INTO imgdb.prefix_bucket (space_id, prefix, part, hashes)
SELECT
    b.space_id,
    b.prefix,
    row_number() OVER (PARTITION BY b.space_id, b.prefix ORDER BY b.hashes),
    b.hashes
FROM pg_temp.old_bucket AS b;

INSERT INTO imgdb.tracked_column (table_id, table_number, column_name, column_number, space_id)
SELECT t.table_id, t.table_id, t.column_name, a.attnum, t.space_id
FROM pg_temp.old_tracked AS t
INNER JOIN pg_attribute AS a ON t.table_id = a.attrelid AND t.column_name = a.attname
WHERE NOT a.attisdropped;

-- A space that one role's tables feed is that role's.
UPDATE imgdb.space AS s
SET owner_name = t.owner_name
FROM (
    SELECT
        c.space_id,
        min(pg_get_userbyid(r.relowner)::text) AS owner_name
    FROM imgdb.tracked_column AS c
    INNER JOIN pg_class AS r ON c.table_id = r.oid
    GROUP BY c.space_id
    HAVING count(DISTINCT r.relowner) = 1
) AS t
WHERE s.space_id = t.space_id;

ALTER TABLE imgdb.image ADD COLUMN colours bytea;
ALTER TABLE imgdb.image ADD CONSTRAINT image_colours_check CHECK (
    colours IS NULL OR (sha256 IS NOT NULL AND octet_length(colours) = 27)
);
COMMENT ON COLUMN imgdb.image.colours IS
'Mean colours of nine cells, row by row, three bytes each: grey, and a and b of OKLab in steps of '
'1/400 from 128. NULL if they were not measured: imported, or stored before imgdb did it.';

CREATE TABLE imgdb.image_pdq (
    image_id bigint NOT NULL,
    pdq_1 bigint NOT NULL,
    pdq_2 bigint NOT NULL,
    pdq_3 bigint NOT NULL,
    pdq_4 bigint NOT NULL,
    quality smallint,
    pdq_recipe text NOT NULL,
    CONSTRAINT image_pdq_pkey PRIMARY KEY (image_id),
    CONSTRAINT image_pdq_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT image_pdq_quality_check CHECK (quality BETWEEN 0 AND 100)
);

CREATE INDEX image_pdq_pdq_1_idx ON imgdb.image_pdq (pdq_1);
CREATE INDEX image_pdq_pdq_2_idx ON imgdb.image_pdq (pdq_2);
CREATE INDEX image_pdq_pdq_3_idx ON imgdb.image_pdq (pdq_3);
CREATE INDEX image_pdq_pdq_4_idx ON imgdb.image_pdq (pdq_4);

COMMENT ON TABLE imgdb.image_pdq IS 'PDQ hashes of images, 256 bits in four words (ingest --pdq).';
COMMENT ON COLUMN imgdb.image_pdq.image_id IS 'The image.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_1 IS 'The first 16 of the 64 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_2 IS 'The next 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_3 IS 'The next 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_4 IS 'The last 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.quality IS
'How much there is to see, 0 to 100; below 50 the hash says little. NULL if it is not known.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_recipe IS
'Which recipe read the picture, as in image.recipe; ''imported'' if somebody else made the hash.';
COMMENT ON INDEX imgdb.image_pdq_pdq_1_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_2_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_3_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_4_idx IS 'Joins with matches in space pdq.';

-- The parts of its name are the hashes that it adds up: the first is what query_hashes begins with.
CREATE TABLE imgdb.rule (
    name text NOT NULL,
    default_max_distance integer NOT NULL,
    CONSTRAINT rule_pkey PRIMARY KEY (name),
    -- Everything that searches images by a sum takes two hashes.
    CONSTRAINT rule_name_check CHECK (name = 'phash+dhash'),
    CONSTRAINT rule_default_max_distance_check CHECK (default_max_distance BETWEEN 0 AND 128)
);

COMMENT ON TABLE imgdb.rule IS
'What counts as alike by a sum: phash+dhash. A hash alone has a space of its name.';
COMMENT ON COLUMN imgdb.rule.name IS 'What the functions call it by: its hashes, joined by +.';
COMMENT ON COLUMN imgdb.rule.default_max_distance IS
'The largest sum of distances that counts as alike where nobody says otherwise, 0 to 128.';

CREATE TABLE imgdb.collection_rule (
    collection_id integer NOT NULL,
    rule_name text NOT NULL,
    default_max_distance integer NOT NULL,
    CONSTRAINT collection_rule_pkey PRIMARY KEY (collection_id, rule_name),
    CONSTRAINT collection_rule_collection_id_fkey FOREIGN KEY (collection_id)
    REFERENCES imgdb.collection (collection_id) ON DELETE CASCADE,
    CONSTRAINT collection_rule_rule_name_check CHECK (
        rule_name IN ('phash+dhash', 'ahash', 'dhash', 'phash', 'whash')
    ),
    CONSTRAINT collection_rule_default_max_distance_check CHECK (
        default_max_distance BETWEEN 0
        AND CASE rule_name WHEN 'phash+dhash' THEN 128 ELSE 64 END
    )
);

COMMENT ON TABLE imgdb.collection_rule IS
'Defaults of collections of their own: how crowded the hashes are depends on the pictures.';
COMMENT ON COLUMN imgdb.collection_rule.collection_id IS 'The collection.';
COMMENT ON COLUMN imgdb.collection_rule.rule_name IS 'The rule, or the space of a hash alone.';
COMMENT ON COLUMN imgdb.collection_rule.default_max_distance IS
'The largest distance that counts as alike in a search of this collection.';

INSERT INTO imgdb.rule (name, default_max_distance) VALUES ('phash+dhash', 17);
UPDATE imgdb.space SET default_max_distance = CASE name WHEN 'dhash' THEN 4 ELSE 2 END
WHERE name IN ('ahash', 'dhash', 'whash') AND default_max_distance = 8;

CREATE INDEX image_dhash_alone_idx ON imgdb.image (dhash)
WHERE phash IS NULL AND dhash IS NOT NULL;
COMMENT ON INDEX imgdb.image_dhash_alone_idx IS 'Tells whether any image has a dhash and no phash.';

CREATE INDEX image_byte_size_idx ON imgdb.image (byte_size) WHERE byte_size IS NOT NULL;
COMMENT ON INDEX imgdb.image_byte_size_idx IS 'Finds what a file may have been called before.';

CREATE TABLE imgdb.decision (
    decision_id bigint GENERATED ALWAYS AS IDENTITY,
    image_id bigint NOT NULL,
    beside_id bigint NOT NULL,
    verdict text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT decision_pkey PRIMARY KEY (decision_id),
    CONSTRAINT decision_image_id_key UNIQUE (image_id),
    CONSTRAINT decision_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT decision_beside_id_fkey FOREIGN KEY (beside_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT decision_pair_check CHECK (image_id <> beside_id),
    CONSTRAINT decision_verdict_check CHECK (verdict IN ('remove', 'keep', 'different', 'skip'))
);

CREATE INDEX decision_beside_id_idx ON imgdb.decision (beside_id);

COMMENT ON TABLE imgdb.decision IS
'What a person decided about images that look alike; nothing is done with files.';
COMMENT ON COLUMN imgdb.decision.decision_id IS 'The later one is taken back first.';
COMMENT ON COLUMN imgdb.decision.image_id IS 'The image that was decided about.';
COMMENT ON COLUMN imgdb.decision.beside_id IS
'The image that it was looked at beside, which stays: a file is removed for it.';
COMMENT ON COLUMN imgdb.decision.verdict IS
'remove (it may go), keep (both stay), different (for good: imgdb.not_duplicate has the pair), or '
'skip (ask later).';
COMMENT ON COLUMN imgdb.decision.decided_at IS 'When it was decided.';
COMMENT ON INDEX imgdb.decision_beside_id_idx IS 'What was decided beside an image.';
-- End by hand

-- Made by tools/make_revision.py: what comes.
CREATE OR REPLACE FUNCTION imgdb.from_hex(hex text)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
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
        greatest(
            imgdb.distance(perceptual & 9223372036854775807, 0),
            imgdb.distance(average, 0),
            imgdb.distance(difference, 0),
            imgdb.distance(wavelet, 0)
        ) <= 4
END;

COMMENT ON FUNCTION imgdb._is_flat(bigint, bigint, bigint, bigint) IS
'Whether hashes are those of a picture without structure: with a phash all within 4 bits of a '
'solid colour''s, else equal to them.';

CREATE FUNCTION imgdb.colour_difference(a bytea, b bytea)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_most double precision := 0;
    v_a1 double precision;
    v_b1 double precision;
    v_a2 double precision;
    v_b2 double precision;
    v_square1 double precision;
    v_square2 double precision;
    v_product double precision;
    v_hue double precision;
BEGIN
    IF a = b THEN
        RETURN 0;
    END IF;
    -- Of each cell the second and the third byte: its grey does not count.
    FOR v_at IN 1..25 BY 3 LOOP
        v_a1 := pg_catalog.get_byte(a, v_at) - 128;
        v_b1 := pg_catalog.get_byte(a, v_at + 1) - 128;
        v_a2 := pg_catalog.get_byte(b, v_at) - 128;
        v_b2 := pg_catalog.get_byte(b, v_at + 1) - 128;
        v_square1 := v_a1 * v_a1 + v_b1 * v_b1;
        v_square2 := v_a2 * v_a2 + v_b2 * v_b2;
        v_product := pg_catalog.sqrt(v_square1 * v_square2);
        -- A root that is rounded may be less than what is subtracted.
        v_hue := greatest(v_product - (v_a1 * v_a2 + v_b1 * v_b2), 0);
        v_most := greatest(
            v_most,
            v_hue + v_hue
            + greatest(v_square1 + v_square2 - (v_product + v_product), 0)
            * 0.25::double precision
        );
    END LOOP;
    RETURN pg_catalog.floor(
        pg_catalog.sqrt(v_most) * 2.5::double precision + 0.5::double precision
    ) / 10::double precision;
END
$$;

COMMENT ON FUNCTION imgdb.colour_difference(bytea, bytea) IS
'How far the colours of two images (image.colours) are apart, in hundredths of OKLab: the largest '
'difference of two cells. Another hue counts in full, a paler or stronger colour half, brightness '
'not at all.';

CREATE FUNCTION imgdb.same_colours(a bytea, b bytea)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_along double precision := 0;
    v_across double precision := 0;
    v_square1 double precision := 0;
    v_square2 double precision := 0;
    v_grey1 bigint := 0;
    v_grey2 bigint := 0;
    v_scale double precision := 1;
    v_apart_a double precision;
    v_apart_b double precision;
    v_a1 integer;
    v_b1 integer;
    v_a2 integer;
    v_b2 integer;
BEGIN
    IF a = b THEN
        RETURN TRUE;
    END IF;
    IF imgdb.colour_difference(a, b) > 3::double precision THEN
        RETURN FALSE;
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        v_a1 := pg_catalog.get_byte(a, v_at + 1) - 128;
        v_b1 := pg_catalog.get_byte(a, v_at + 2) - 128;
        v_a2 := pg_catalog.get_byte(b, v_at + 1) - 128;
        v_b2 := pg_catalog.get_byte(b, v_at + 2) - 128;
        v_along := v_along + (v_a1 * v_a2 + v_b1 * v_b2)::double precision;
        v_across := v_across + (v_a1 * v_b2 - v_b1 * v_a2)::double precision;
        v_square1 := v_square1 + (v_a1 * v_a1 + v_b1 * v_b1)::double precision;
        v_square2 := v_square2 + (v_a2 * v_a2 + v_b2 * v_b2)::double precision;
        v_grey1 := v_grey1 + pg_catalog.get_byte(a, v_at) + 1;
        v_grey2 := v_grey2 + pg_catalog.get_byte(b, v_at) + 1;
    END LOOP;
    -- The tangent of ten degrees; or a step in each cell, which is no more than noise.
    IF pg_catalog.abs(v_across) > greatest(
        v_along * 0.176::double precision,
        pg_catalog.sqrt(pg_catalog.sqrt(v_square1 * v_square2)) * 3::double precision
    ) THEN
        RETURN FALSE;
    END IF;
    -- An edit multiplies all colours alike, and more or less light all greys: so they are compared
    -- after they were scaled to one mean. A step is a quarter of a hundredth.
    IF v_square1 > 0 AND v_square2 > 0 THEN
        v_scale := pg_catalog.sqrt(pg_catalog.sqrt(v_square2 / v_square1));
        v_scale := greatest(least(v_scale, 2), 0.5::double precision);
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        v_apart_a := (pg_catalog.get_byte(a, v_at + 1) - 128)::double precision * v_scale
            - (pg_catalog.get_byte(b, v_at + 1) - 128)::double precision / v_scale;
        v_apart_b := (pg_catalog.get_byte(a, v_at + 2) - 128)::double precision * v_scale
            - (pg_catalog.get_byte(b, v_at + 2) - 128)::double precision / v_scale;
        IF v_apart_a * v_apart_a + v_apart_b * v_apart_b > 36 THEN
            RETURN FALSE;
        END IF;
        IF pg_catalog.abs(
            (pg_catalog.get_byte(a, v_at) + 1) * v_grey2
            - (pg_catalog.get_byte(b, v_at) + 1) * v_grey1
        ) * (v_grey1 + v_grey2) > 40 * v_grey1 * v_grey2 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb.same_colours(bytea, bytea) IS
'Whether the colours of two images (image.colours) are the same, as far as edits leave them: '
'their colour_difference is at most 3, their hues are turned by at most 10 degrees, and after '
'scaling to one mean their cells differ by at most 1.5 (in colour) and 20 levels (in grey). '
'NULL if those of one are not known.';

CREATE FUNCTION imgdb.pdq_distance(pdq_a bigint[], pdq_b bigint[])
RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN imgdb.distance(pdq_a[1], pdq_b[1]) + imgdb.distance(pdq_a[2], pdq_b[2])
+ imgdb.distance(pdq_a[3], pdq_b[3]) + imgdb.distance(pdq_a[4], pdq_b[4]);

COMMENT ON FUNCTION imgdb.pdq_distance(bigint[], bigint[]) IS
'Number of differing bits of two PDQ hashes, each of four words, 0 to 256.';

CREATE FUNCTION imgdb.pdq_to_hex(pdq_words bigint[])
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN imgdb.to_hex(pdq_words[1]) || imgdb.to_hex(pdq_words[2])
|| imgdb.to_hex(pdq_words[3]) || imgdb.to_hex(pdq_words[4]);

COMMENT ON FUNCTION imgdb.pdq_to_hex(bigint[]) IS
'A PDQ hash of four words as 64 lower-case hex digits, as ThreatExchange spells it.';

CREATE FUNCTION imgdb.pdq_from_hex(hex text)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hex !~ '^[0-9A-Fa-f]{64}$' THEN
        RAISE EXCEPTION '"%" is not a PDQ hash', left(hex, 80) USING
            ERRCODE = 'IM003',
            HINT = 'A PDQ hash is 64 hex digits, as ThreatExchange spells it.';
    END IF;
    RETURN ARRAY[
        ('x' || substr(hex, 1, 16))::bit(64)::bigint,
        ('x' || substr(hex, 17, 16))::bit(64)::bigint,
        ('x' || substr(hex, 33, 16))::bit(64)::bigint,
        ('x' || substr(hex, 49, 16))::bit(64)::bigint
    ];
END
$$;

COMMENT ON FUNCTION imgdb.pdq_from_hex(text) IS
'The four words of the PDQ hash that 64 hex digits spell; anything else is error IM003.';

CREATE FUNCTION imgdb.from_hex_array(hex_array text[])
RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT coalesce(array_agg(imgdb.from_hex(h.hex) ORDER BY h.place), '{}')
    FROM unnest(hex_array) WITH ORDINALITY AS h (hex, place)
);

COMMENT ON FUNCTION imgdb.from_hex_array(text[]) IS
'The hashes that many texts of 16 hex digits spell, in their order.';

CREATE OR REPLACE FUNCTION imgdb._masks_split(masks bigint[])
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION imgdb._may_keep(of_owner text)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM pg_catalog.pg_roles AS r
    WHERE
        r.rolname = of_owner -- noqa: RF03
        AND pg_has_role(current_user, r.oid, 'USAGE')
);

COMMENT ON FUNCTION imgdb._may_keep(text) IS
'Whether the current user has the rights of that role; false if there is no such role.';

CREATE VIEW imgdb.own_space AS
SELECT
    s.space_id,
    s.name,
    s.description,
    s.band_masks,
    s.default_max_distance,
    s.owner_name,
    s.claimed_by
FROM imgdb.space AS s
WHERE imgdb._may_keep(s.owner_name)
WITH CASCADED CHECK OPTION;

COMMENT ON VIEW imgdb.own_space IS
'The spaces that the current user may look after. What is written here is written to imgdb.space.';

COMMENT ON COLUMN imgdb.own_space.space_id IS 'Identity.';

COMMENT ON COLUMN imgdb.own_space.name IS 'What the functions call it by.';

COMMENT ON COLUMN imgdb.own_space.description IS 'What the hashes are and where they come from.';

COMMENT ON COLUMN imgdb.own_space.band_masks IS 'One mask per band.';

COMMENT ON COLUMN imgdb.own_space.default_max_distance IS 'As in imgdb.space.';

COMMENT ON COLUMN imgdb.own_space.owner_name IS
'The current user, or a role that it is a member of.';

COMMENT ON COLUMN imgdb.own_space.claimed_by IS 'The transaction that changes the space just now.';

CREATE OR REPLACE FUNCTION imgdb._prepare_probes(for_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_bands integer := cardinality(v_masks);
    v_bits bigint[];
    v_level record;
    v_alike smallint := (
        SELECT min(s.space_id)
        FROM imgdb.space AS s
        WHERE
            s.band_masks = v_masks
            AND EXISTS (SELECT FROM imgdb.probe AS p WHERE p.space_id = s.space_id)
    );
BEGIN
    IF v_alike IS NOT NULL THEN
        INSERT INTO imgdb.probe (space_id, from_distance, band_mask, flip_masks)
        SELECT for_space_id, p.from_distance, p.band_mask, p.flip_masks
        FROM imgdb.probe AS p
        WHERE p.space_id = v_alike;
        RETURN;
    END IF;
    FOR v_band IN 0..v_bands - 1 LOOP
        SELECT array_agg(1::bigint << shift ORDER BY shift)
        INTO v_bits
        FROM generate_series(0, 63) AS shift
        WHERE v_masks[v_band + 1] & (1::bigint << shift) <> 0;
        SELECT ARRAY[0]::bigint[] AS flips, ARRAY[0] AS last INTO v_level;
        FOR v_flip_count IN 0..64 LOOP
            INSERT INTO imgdb.probe (space_id, from_distance, band_mask, flip_masks)
            VALUES (
                for_space_id, v_flip_count * v_bands + v_band, v_masks[v_band + 1],
                coalesce(v_level.flips, '{}')
            );
            -- 8,000 probes cost more than most scans.
            EXIT WHEN (v_flip_count + 1) * v_bands + v_band > 64
                OR cardinality(v_level.flips) * (cardinality(v_bits) - v_flip_count)
                > 8000 * (v_flip_count + 1);
            -- One more bit, behind the last: so each mask is made once.
            SELECT
                array_agg(f.flip | v_bits[b.place] ORDER BY b.place, f.flip) AS flips,
                array_agg(b.place ORDER BY b.place, f.flip) AS last
            INTO v_level
            FROM unnest(v_level.flips, v_level.last) AS f (flip, last)
            JOIN generate_series(1, cardinality(v_bits)) AS b (place) ON b.place > f.last;
        END LOOP;
    END LOOP;
    -- A level counts only with all before it.
    DELETE FROM imgdb.probe AS p
    WHERE
        p.space_id = for_space_id
        AND p.from_distance > (
            SELECT min(q.from_distance)
            FROM imgdb.probe AS q
            WHERE
                q.space_id = for_space_id
                AND NOT EXISTS (
                    SELECT FROM imgdb.probe AS n
                    WHERE n.space_id = for_space_id AND n.from_distance = q.from_distance + 1
                )
        );
END
$$;

COMMENT ON FUNCTION imgdb._prepare_probes(smallint) IS
'Makes the probes of a space from its band masks: all levels of at most 8,000 prefixes.';

CREATE FUNCTION imgdb._cost(of_space_id smallint, of_distance integer, of_count bigint)
RETURNS TABLE (probe_cost double precision, scan_cost double precision)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH band AS (
        SELECT
            n.mask,
            n.prefixes,
            -- The share of prefixes that have a bucket. exp() of less is an error.
            1 - exp(greatest(-of_count / n.prefixes, -50)) AS filled
        FROM (
            SELECT u.mask, 2 ^ bit_count(u.mask::bit(64)) AS prefixes
            FROM imgdb.space AS s
            CROSS JOIN unnest(s.band_masks) AS u (mask)
            WHERE s.space_id = of_space_id
        ) AS n
    )
    SELECT
        -- Levels that are not prepared cost more than anything.
        CASE
            WHEN count(*) <= of_distance THEN 'infinity'::double precision
            ELSE coalesce(
                sum(
                    cardinality(p.flip_masks)
                    * (0.5 + 1.3 * b.filled + 0.09 * of_count / b.prefixes)
                ),
                0
            )
        END,
        0.035 * of_count + 0.12 * (
            SELECT sum(a.filled * a.prefixes + of_count / 200.0) FROM band AS a
        )
    FROM imgdb.probe AS p
    JOIN band AS b ON b.mask = p.band_mask
    WHERE p.space_id = of_space_id AND p.from_distance <= of_distance;
END
$$;

COMMENT ON FUNCTION imgdb._cost(smallint, integer, bigint) IS
'What a search costs in a space of so many hashes, in microseconds: by probes, and by a scan.';

CREATE FUNCTION imgdb._scan_from(of_space_id smallint, of_count bigint)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT min(d.distance)
        FROM generate_series(0, 65) AS d (distance)
        CROSS JOIN LATERAL imgdb._cost(of_space_id, d.distance, of_count) AS c
        WHERE c.probe_cost >= c.scan_cost
    );
END
$$;

COMMENT ON FUNCTION imgdb._scan_from(smallint, bigint) IS
'The smallest distance at which a scan costs less than probes in a space of so many hashes.';

CREATE FUNCTION imgdb._begin_space()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._prepare_probes(new.space_id);
    INSERT INTO imgdb.space_state (space_id) VALUES (new.space_id);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._begin_space() IS 'Trigger: gives a new space its probes and its state.';

CREATE TRIGGER space_begin
AFTER INSERT ON imgdb.space
FOR EACH ROW
EXECUTE FUNCTION imgdb._begin_space();

CREATE FUNCTION imgdb._end_space()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The lock: no flush is at work, and none begins.
    DELETE FROM imgdb.space_state AS s WHERE s.space_id = old.space_id;
    DELETE FROM imgdb.fresh_hashes AS f WHERE f.space_id = old.space_id;
    DELETE FROM imgdb.prefix_bucket AS b WHERE b.space_id = old.space_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._end_space() IS 'Trigger: removes the hashes of a space that is dropped.';

CREATE TRIGGER space_end
AFTER DELETE ON imgdb.space
FOR EACH ROW
EXECUTE FUNCTION imgdb._end_space();

CREATE FUNCTION imgdb._refuse_masks()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the bands of a space are those of its buckets' USING
        ERRCODE = 'IM012',
        HINT = 'CALL imgdb.rebuild(space_name, new_masks) makes the buckets anew.';
END
$$;

COMMENT ON FUNCTION imgdb._refuse_masks() IS 'Trigger: band masks change by imgdb.rebuild only.';

CREATE TRIGGER space_refuse_masks
BEFORE UPDATE OF band_masks ON imgdb.space
FOR EACH ROW
WHEN (new.band_masks IS DISTINCT FROM old.band_masks)
EXECUTE FUNCTION imgdb._refuse_masks();

CREATE OR REPLACE FUNCTION imgdb._forget_dropped()
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.table_id);
END
$$;

CREATE OR REPLACE FUNCTION imgdb._space_id(space_name text)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION imgdb._check_query(query_hash bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF query_hash IS NULL THEN
        RAISE EXCEPTION 'query_hash is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give the hash to search for, a bigint; imgdb.from_hex turns hex digits into one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_query(bigint) IS 'Error IM012 if a query is NULL.';

CREATE FUNCTION imgdb._claim_space(space_name text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint;
    v_owner text;
BEGIN
    LOOP
        UPDATE imgdb.own_space AS s
        SET claimed_by = pg_current_xact_id()::text::bigint
        WHERE s.name = space_name
        RETURNING s.space_id INTO v_space_id;
        EXIT WHEN FOUND;
        v_space_id := imgdb._space_id(space_name);
        v_owner := (SELECT s.owner_name FROM imgdb.space AS s WHERE s.space_id = v_space_id);
        -- One's own, and not there: a rebuild has just put another one in its place.
        CONTINUE WHEN v_owner IS NULL OR imgdb._may_keep(v_owner);
        RAISE EXCEPTION 'space "%" belongs to %', space_name, v_owner USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it.';
    END LOOP;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._claim_space(text) IS
'Locks a space of the current user''s for changes by this transaction; error IM013 if it is '
'another''s.';

CREATE FUNCTION imgdb._release_space(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE imgdb.own_space AS s SET claimed_by = NULL WHERE s.space_id = of_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._release_space(smallint) IS
'Ends the claim. The lock stays until the transaction ends.';

CREATE FUNCTION imgdb._check_claim(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM imgdb.space AS s
        WHERE s.space_id = of_space_id AND s.claimed_by = pg_current_xact_id_if_assigned()::text::bigint
    ) THEN
        RAISE EXCEPTION 'space % is not claimed by this transaction', of_space_id USING
            ERRCODE = 'IM013',
            HINT = 'This is a step of imgdb''s own functions: call track, untrack, rebuild or catch_up.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_claim(smallint) IS
'Error IM013 unless this transaction claimed the space, which only its owner can.';

CREATE FUNCTION imgdb._masks_for(of_count bigint)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN of_count >= 30000000 THEN (
            SELECT array_agg(b.mask ORDER BY b.band)
            FROM (
                SELECT
                    i % 3 AS band,
                    bit_or(1::bigint << i) AS mask
                FROM generate_series(0, 63) AS i
                GROUP BY i % 3
            ) AS b
        )
        ELSE ARRAY[
            imgdb.from_hex('aa005500aa005500'),
            imgdb.from_hex('00aa005500aa0055'),
            imgdb.from_hex('5500aa005500aa00'),
            imgdb.from_hex('005500aa005500aa')
        ]
    END;
END
$$;

COMMENT ON FUNCTION imgdb._masks_for(bigint) IS 'The band masks that suit so many hashes.';

CREATE FUNCTION imgdb._make_space(space_name text, space_description text, new_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    IF space_name IS NULL THEN
        RAISE EXCEPTION 'space_name is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give the space a name.';
    END IF;
    BEGIN
        INSERT INTO imgdb.own_space (name, description, band_masks)
        VALUES (space_name, coalesce(space_description, ''), new_masks)
        RETURNING space_id INTO v_space_id;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'there is a space "%" already', space_name USING
                ERRCODE = 'IM008',
                HINT = 'Use it, or choose another name.';
    END;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._make_space(text, text, bigint[]) IS
'Makes a space of such bands that belongs to the current user, and returns its space_id; error '
'IM008 if the name is taken.';

CREATE OR REPLACE FUNCTION imgdb.create_space(space_name text, space_description text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN imgdb._make_space(space_name, space_description, imgdb._masks_for(0));
END
$$;

COMMENT ON FUNCTION imgdb.create_space(text, text) IS
'Makes a space that belongs to the current user, and returns its space_id; error IM008 if the name '
'is taken.';

CREATE OR REPLACE FUNCTION imgdb.drop_space(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Holds off a track into this space until this transaction ends.
    v_space_id smallint := imgdb._claim_space(space_name);
    v_tracked text;
BEGIN
    PERFORM imgdb._forget_dropped();
    SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id, t.column_name)
    INTO v_tracked
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_space_id;
    IF v_tracked IS NOT NULL THEN
        RAISE EXCEPTION 'space "%" is fed by %', space_name, v_tracked USING
            ERRCODE = 'IM007',
            HINT = 'imgdb.untrack these columns first.';
    END IF;
    DELETE FROM imgdb.own_space AS s WHERE s.space_id = v_space_id;
END
$$;

CREATE FUNCTION imgdb.set_default_max_distance(
    space_name text, max_distance integer, collection_name text DEFAULT NULL
)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_is_rule boolean := EXISTS (SELECT 1 FROM imgdb.rule AS r WHERE r.name = space_name);
    v_space_id smallint;
    v_collection_id integer;
    v_before integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
        PERFORM imgdb._rule_hashes(space_name);
        SELECT o.default_max_distance
        INTO v_before
        FROM imgdb.collection_rule AS o
        WHERE o.collection_id = v_collection_id AND o.rule_name = space_name
        FOR UPDATE;
        IF max_distance IS NULL THEN
            DELETE FROM imgdb.collection_rule AS o
            WHERE o.collection_id = v_collection_id AND o.rule_name = space_name;
            RETURN v_before;
        END IF;
    END IF;
    PERFORM imgdb._check_rule_distance(CASE WHEN v_is_rule THEN 2 ELSE 1 END, max_distance);
    IF collection_name IS NOT NULL THEN
        INSERT INTO imgdb.collection_rule AS o (collection_id, rule_name, default_max_distance)
        VALUES (v_collection_id, space_name, max_distance)
        ON CONFLICT ON CONSTRAINT collection_rule_pkey
        DO UPDATE SET default_max_distance = excluded.default_max_distance;
    ELSIF v_is_rule THEN
        SELECT r.default_max_distance
        INTO v_before
        FROM imgdb.rule AS r
        WHERE r.name = space_name
        FOR UPDATE;
        UPDATE imgdb.rule AS r
        SET default_max_distance = max_distance
        WHERE r.name = space_name AND r.default_max_distance <> max_distance;
    ELSE
        -- Locked, so that what is returned is what this call replaced.
        v_space_id := imgdb._claim_space(space_name);
        SELECT s.default_max_distance
        INTO v_before
        FROM imgdb.space AS s
        WHERE s.space_id = v_space_id;
        UPDATE imgdb.own_space AS s
        SET default_max_distance = max_distance, claimed_by = NULL
        WHERE s.space_id = v_space_id;
    END IF;
    RETURN v_before;
END
$$;

COMMENT ON FUNCTION imgdb.set_default_max_distance(text, integer, text) IS
'Sets the largest distance that counts as alike where nobody says otherwise, in a space or by a '
'rule, for all images or for those of a collection (NULL takes that back); returns the one before, '
'NULL if the collection had none; error IM001 for an unknown space or rule, IM002 for a distance '
'that none can have, IM009 for a collection and a space that holds no images, IM011 for an unknown '
'collection.';

CREATE FUNCTION imgdb._add_rows(
    for_space_id smallint,
    new_prefixes bigint[],
    new_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_part bigint := nextval('imgdb._part_sequence');
BEGIN
    INSERT INTO imgdb.prefix_bucket (space_id, prefix, part, hashes)
    SELECT for_space_id, cut.prefix, v_part + cut.first / 200, cut.hashes[cut.first:cut.first + 199]
    FROM (
        SELECT
            bucket.prefix,
            bucket.hashes,
            generate_series(1, cardinality(bucket.hashes), 200) AS first
        FROM (
            SELECT entry.prefix, array_agg(entry.hash ORDER BY entry.hash) AS hashes
            FROM (
                SELECT DISTINCT ON (given.prefix, given.hash) given.prefix, given.hash
                FROM unnest(new_prefixes, new_hashes) AS given (prefix, hash)
                ORDER BY given.prefix, given.hash
            ) AS entry
            GROUP BY entry.prefix
        ) AS bucket
    ) AS cut;
END
$$;

COMMENT ON FUNCTION imgdb._add_rows(smallint, bigint[], bigint[]) IS
'Adds pairs of prefix and hash as new bucket rows, grouped by prefix, at most 200 hashes a row.';

CREATE FUNCTION imgdb._count_in(of_space_id smallint, more_hashes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = of_space_id);
    v_after bigint := greatest(v_before + more_hashes, 0);
BEGIN
    UPDATE imgdb.space_state AS s
    SET
        hash_count = v_after,
        -- Looked at anew for each eighth more: it changes slowly.
        scan_from = CASE
            WHEN floor(6 * ln(v_before + 1.0)) = floor(6 * ln(v_after + 1.0)) THEN s.scan_from
            ELSE imgdb._scan_from(of_space_id, v_after)
        END,
        flushed_by = pg_current_xact_id(),
        flushed_at = now()
    WHERE s.space_id = of_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._count_in(smallint, bigint) IS
'Notes that the buckets of a space hold so many hashes more, and which searches then scan.';

CREATE FUNCTION imgdb._indexed_among(of_space_id smallint, of_mask bigint, sorted_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Arrays in a record stay as they are; as variables they would be copied at every use.
    v_asked record;
    v_found bigint[];
BEGIN
    SELECT
        array_agg(h.hash & of_mask ORDER BY h.hash & of_mask, h.hash) AS prefixes,
        array_agg(h.hash ORDER BY h.hash & of_mask, h.hash) AS hashes
    INTO v_asked
    FROM unnest(sorted_hashes) AS h (hash);
    SELECT array_agg(DISTINCT asked.hash)
    INTO v_found
    FROM (
        SELECT
            b.hashes,
            unnest(v_asked.hashes[
                -- Behind the last entry of a smaller prefix.
                CASE
                    WHEN b.prefix = -9223372036854775808 THEN 1
                    ELSE width_bucket(b.prefix - 1, v_asked.prefixes) + 1
                END:
                width_bucket(b.prefix, v_asked.prefixes)
            ]) AS hash
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id AND b.prefix = ANY ((SELECT v_asked.prefixes)::bigint[])
    ) AS asked
    WHERE asked.hash = ANY (asked.hashes);
    RETURN v_found;
END
$$;

COMMENT ON FUNCTION imgdb._indexed_among(smallint, bigint, bigint[]) IS
'Those of the sorted hashes that the buckets of a band hold, sorted; NULL if none.';

CREATE FUNCTION imgdb._fold_hashes(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_entry record;
    v_last record;
    v_new_prefixes bigint[];
    v_new_hashes bigint[];
BEGIN
    SELECT
        array_agg(e.prefix ORDER BY e.prefix, e.hash) AS prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) AS hashes
    INTO v_entry
    FROM (
        -- The prefix may be 0 in several bands.
        SELECT DISTINCT h.hash & band.mask AS prefix, h.hash
        FROM unnest(new_hashes) AS h (hash), unnest(v_masks) AS band (mask)
    ) AS e;
    -- The last row of each prefix, if it has room for all that comes.
    SELECT
        array_agg(l.prefix ORDER BY l.prefix) AS prefixes,
        array_agg(l.part ORDER BY l.prefix) AS parts
    INTO v_last
    FROM (
        SELECT DISTINCT ON (b.prefix) b.prefix, b.part, cardinality(b.hashes) AS filled
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = for_space_id AND b.prefix = ANY ((SELECT v_entry.prefixes)::bigint[])
        ORDER BY b.prefix, b.part DESC
    ) AS l
    WHERE
        l.filled + width_bucket(l.prefix, v_entry.prefixes) <= 200 + CASE
            WHEN l.prefix = -9223372036854775808 THEN 0
            ELSE width_bucket(l.prefix - 1, v_entry.prefixes)
        END;
    -- New ones in front: what stays at the end of a row is not written to the WAL again.
    UPDATE imgdb.prefix_bucket AS b
    SET hashes = v_entry.hashes[
        -- Behind the last entry of a smaller prefix.
        CASE
            WHEN b.prefix = -9223372036854775808 THEN 1
            ELSE width_bucket(b.prefix - 1, v_entry.prefixes) + 1
        END:
        width_bucket(b.prefix, v_entry.prefixes)
    ] || b.hashes
    WHERE
        b.space_id = for_space_id
        AND b.prefix = ANY ((SELECT v_last.prefixes)::bigint[])
        AND b.part = v_last.parts[width_bucket(b.prefix, v_last.prefixes)];
    SELECT array_agg(e.prefix), array_agg(e.hash)
    INTO v_new_prefixes, v_new_hashes
    FROM unnest(v_entry.prefixes, v_entry.hashes) AS e (prefix, hash)
    WHERE v_last.prefixes[width_bucket(e.prefix, v_last.prefixes)] IS DISTINCT FROM e.prefix;
    IF v_new_prefixes IS NOT NULL THEN
        PERFORM imgdb._add_rows(for_space_id, v_new_prefixes, v_new_hashes);
    END IF;
    PERFORM imgdb._count_in(for_space_id, cardinality(new_hashes));
END
$$;

COMMENT ON FUNCTION imgdb._fold_hashes(smallint, bigint[]) IS
'Puts hashes that the buckets of a space lack into them: into the last row of each prefix, or a '
'new one where that is full. The caller holds the lock of the space.';

CREATE FUNCTION imgdb._is_distributed()
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_found boolean := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_dist_partition '
        'WHERE logicalrelid = ''imgdb.prefix_bucket''::regclass)' INTO v_found;
    END IF;
    RETURN v_found;
END
$$;

COMMENT ON FUNCTION imgdb._is_distributed() IS 'Whether the buckets are on several nodes (Citus).';

CREATE FUNCTION imgdb._lock_space(of_space_id smallint, to_wait boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_wait THEN
        PERFORM FROM imgdb.space_state AS s WHERE s.space_id = of_space_id FOR UPDATE;
    ELSE
        PERFORM FROM imgdb.space_state AS s WHERE s.space_id = of_space_id FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN FOUND;
END
$$;

COMMENT ON FUNCTION imgdb._lock_space(smallint, boolean) IS
'Holds others off from the buckets of a space; false if one is at work there, or there are none.';

CREATE FUNCTION imgdb._known_among(of_space_id smallint, of_masks bigint[], sorted_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_mask bigint;
BEGIN
    FOREACH v_mask IN ARRAY of_masks LOOP
        EXIT WHEN sorted_hashes IS NULL;
        sorted_hashes := imgdb._indexed_among(of_space_id, v_mask, sorted_hashes);
    END LOOP;
    RETURN sorted_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._known_among(smallint, bigint[], bigint[]) IS
'Those of the sorted hashes that the buckets of all bands hold, sorted; NULL if none.';

CREATE FUNCTION imgdb._flush(of_space_id smallint, most_hashes integer, to_wait boolean)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[];
    v_rows tid[];
    v_hashes bigint[];
    v_known bigint[];
BEGIN
    IF NOT imgdb._lock_space(of_space_id, to_wait) THEN
        RETURN 0;
    END IF;
    -- Twice in a transaction would leave versions of rows that nothing can prune before it ends.
    SELECT s.band_masks
    INTO v_masks
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    WHERE s.space_id = of_space_id AND st.flushed_by IS DISTINCT FROM pg_current_xact_id();
    IF v_masks IS NULL THEN
        RETURN 0;
    END IF;
    SELECT array_agg(f.place)
    INTO v_rows
    FROM (
        SELECT g.ctid AS place, sum(cardinality(g.hashes)) OVER (ORDER BY g.ctid) AS running
        FROM imgdb.fresh_hashes AS g
        WHERE g.space_id = of_space_id
    ) AS f
    WHERE f.running <= greatest(most_hashes, 200);
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_hashes
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows)
    ) AS entry;
    IF v_hashes IS NULL THEN
        RETURN 0;
    END IF;
    v_known := imgdb._known_among(of_space_id, v_masks, v_hashes);
    IF imgdb._is_distributed() THEN
        DELETE FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows) AND f.hashes <@ v_known;
    ELSE
        DELETE FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows);
    END IF;
    v_hashes := imgdb._difference(v_hashes, v_known);
    IF v_hashes IS NULL THEN
        -- Nothing was written: this transaction may flush again.
        RETURN cardinality(v_rows);
    END IF;
    PERFORM imgdb._fold_hashes(of_space_id, v_hashes);
    RETURN cardinality(v_rows);
END
$$;

COMMENT ON FUNCTION imgdb._flush(smallint, integer, boolean) IS
'Folds about so many fresh hashes of a space into its buckets; returns how many rows it took. '
'0 if somebody else writes the buckets and to_wait is false.';

CREATE FUNCTION imgdb._load(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_hash_count bigint := (
        SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = for_space_id
    );
    v_widest integer := (SELECT max(bit_count(mask::bit(64))) FROM unnest(v_masks) AS u (mask));
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    SELECT array_agg(DISTINCT h.hash) INTO v_hashes FROM unnest(new_hashes) AS h (hash);
    v_hashes := imgdb._difference(
        v_hashes, imgdb._known_among(for_space_id, v_masks, v_hashes)
    );
    IF v_hashes IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(v_hashes) > least(v_hash_count, 4 * 2 ^ v_widest) THEN
        SELECT array_agg(given.hash & band.mask), array_agg(given.hash)
        INTO v_prefixes, new_hashes
        FROM unnest(v_hashes) AS given (hash), unnest(v_masks) AS band (mask);
        PERFORM imgdb._add_rows(for_space_id, v_prefixes, new_hashes);
        PERFORM imgdb._count_in(for_space_id, cardinality(v_hashes));
    ELSE
        PERFORM imgdb._fold_hashes(for_space_id, v_hashes);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._load(smallint, bigint[]) IS
'Puts many hashes into the buckets of a space at once. The caller holds the lock of the space.';

CREATE FUNCTION imgdb._append(for_space_id smallint, new_hashes bigint[], from_table text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer := cardinality(new_hashes);
    v_fresh record;
    v_may_flush boolean := current_setting('transaction_isolation') LIKE 'read %';
BEGIN
    IF v_may_flush AND v_count >= 10000 AND NOT imgdb._is_distributed()
    AND imgdb._lock_space(for_space_id, false) THEN
        PERFORM imgdb._load(for_space_id, new_hashes);
    ELSE
        INSERT INTO imgdb.fresh_hashes (space_id, hashes)
        SELECT for_space_id, new_hashes[first:first + 199]
        FROM generate_series(1, v_count, 200) AS first;
        IF v_may_flush AND random() * 200 < v_count THEN
            SELECT count(*) AS rows, sum(cardinality(f.hashes)) AS hashes
            INTO v_fresh
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = for_space_id;
            IF v_fresh.rows > 500 OR v_fresh.hashes > 1000 THEN
                -- More than statements bring from one look to the next, and not so much that one
                -- waits long: each hash takes some 45 us. Of many, which slow all searches, it
                -- takes a part.
                PERFORM imgdb._flush(
                    for_space_id,
                    greatest(500, v_count * 5 / 4, least(v_fresh.hashes / 4, 20000))::integer,
                    false
                );
            END IF;
        END IF;
    END IF;
    IF EXISTS (SELECT FROM imgdb.watch_list AS w WHERE w.space_id = for_space_id) THEN
        PERFORM imgdb._note_matches(for_space_id, new_hashes, from_table);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._append(smallint, bigint[], text) IS
'Makes hashes of a table searchable in a space: puts them into its fresh level, or many into its '
'buckets; and notes those that somebody watches for.';

CREATE FUNCTION imgdb._new_hashes_query(of_column name, for_update boolean)
RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN format(
        CASE
            -- What an old row held is searchable already.
            WHEN for_update THEN
                'SELECT d.hash FROM (SELECT DISTINCT ON (r.hash) r.hash, r.old FROM '
                '(SELECT %1$I, false FROM new_rows UNION ALL SELECT %1$I, true FROM old_rows) '
                'AS r (hash, old) WHERE r.hash IS NOT NULL ORDER BY r.hash, r.old DESC) AS d '
                'WHERE NOT d.old'
            ELSE 'SELECT %1$I FROM new_rows WHERE %1$I IS NOT NULL'
        END,
        of_column
    );
END
$$;

COMMENT ON FUNCTION imgdb._new_hashes_query(name, boolean) IS
'SQL that gives the hashes that a statement brought into a column.';

CREATE FUNCTION imgdb._ancestors(relation oid)
RETURNS oid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE up AS (
            SELECT relation AS table_id
            UNION
            SELECT i.inhparent FROM up JOIN pg_inherits AS i ON i.inhrelid = up.table_id
        )
        SELECT up.table_id FROM up
    );
END
$$;

COMMENT ON FUNCTION imgdb._ancestors(oid) IS
'The table itself, those that it is a partition of, and those that it inherits from.';

CREATE OR REPLACE FUNCTION imgdb._append_hashes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
    v_tracked record;
    v_columns name[];
    v_space_ids smallint[];
    v_lost name;
    v_hash bigint;
    v_hashes bigint[];
    v_is_old boolean := false;
BEGIN
    -- An older snapshot does not show what is watched since: such a transaction is told to run
    -- again, because who watches a hash writes these rows. It waits for none of them: who has
    -- written one may wait for this table, to change its triggers.
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        SELECT count(*) < tg_nargs
        INTO v_is_old
        FROM (
            SELECT FROM imgdb.tracked_column AS t
            WHERE t.track_key = ANY (tg_argv[0:]::uuid[])
            FOR SHARE SKIP LOCKED
        ) AS held;
    END IF;
    -- One at a time: for arrays PostgreSQL would make a new plan each time that this runs.
    FOREACH v_key IN ARRAY tg_argv[0:] LOOP
        SELECT
            t.column_name,
            t.space_id,
            EXISTS (
                SELECT
                FROM pg_attribute AS a
                WHERE
                    a.attrelid = tg_relid AND a.attname = t.column_name AND NOT a.attisdropped
                    -- Another type would bring casts of its own, which must not run with the
                    -- definer's rights.
                    AND a.atttypid = 'int8'::regtype
            )
            -- Columns of partitions have the names that those of the tracked table have, and
            -- numbers of their own.
            AND (t.table_number <> t.table_id OR EXISTS (
                SELECT
                FROM pg_attribute AS o
                WHERE
                    o.attrelid = t.table_id AND o.attname = t.column_name
                    AND o.attnum = t.column_number
            )) AS holds_hashes
        INTO v_tracked
        FROM imgdb.tracked_column AS t
        WHERE
            t.track_key = v_key::uuid
            AND (
                t.table_id = tg_relid
                OR t.table_id = ANY (imgdb._ancestors(tg_relid))
                OR tg_relid = ANY (imgdb._ancestors(t.table_id))
            );
        CONTINUE WHEN NOT FOUND;
        v_columns := v_columns || v_tracked.column_name;
        v_space_ids := v_space_ids || v_tracked.space_id;
        IF NOT v_tracked.holds_hashes THEN
            v_lost := v_tracked.column_name;
        END IF;
    END LOOP;
    IF v_is_old OR coalesce(cardinality(v_columns), 0) < tg_nargs
    AND current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'what is tracked of % changed after this transaction began',
            tg_relid::regclass USING
            ERRCODE = '40001',
            HINT = 'Run the transaction again.';
    ELSIF v_columns IS NULL THEN
        RAISE EXCEPTION '% has triggers of imgdb, but is not tracked in this database',
            tg_relid::regclass USING
            ERRCODE = 'IM009',
            HINT = 'It came here by a dump, or left its parent: imgdb.catch_up removes the triggers, '
            'imgdb.track tracks it.';
    ELSIF v_lost IS NOT NULL THEN
        RAISE EXCEPTION 'imgdb tracks column "%" of %: dropped, renamed, exchanged or no bigint any more',
            v_lost, tg_relid::regclass USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    FOR v_place IN 1 .. cardinality(v_columns) LOOP
        v_hashes := NULL;
        FOR v_hash IN
            EXECUTE imgdb._new_hashes_query(v_columns[v_place], tg_op = 'UPDATE')
        LOOP
            v_hashes := v_hashes || v_hash;
            -- A statement may bring more than one array holds.
            IF cardinality(v_hashes) = 1000000 THEN
                PERFORM imgdb._append(v_space_ids[v_place], v_hashes, tg_relid::regclass::text);
                v_hashes := NULL;
            END IF;
        END LOOP;
        IF v_hashes IS NOT NULL THEN
            PERFORM imgdb._append(v_space_ids[v_place], v_hashes, tg_relid::regclass::text);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._append_hashes() IS
'Trigger (track_key, ...): makes the hashes that a statement brought into tracked columns '
'searchable.';

CREATE FUNCTION imgdb._check_member(relation regclass, of_relation regclass)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table record;
    v_is_distributed boolean := false;
BEGIN
    SELECT
        c.relkind,
        c.relpersistence,
        pg_get_userbyid(c.relowner) AS owner_name,
        pg_has_role(current_user, c.relowner, 'USAGE') AS is_own,
        me.rolsuper
        AND NOT coalesce(owner.rolsuper, false)
        AND c.relowner <> (
            SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'imgdb'
        ) AS is_foreign
    INTO v_table
    FROM pg_class AS c
    JOIN pg_roles AS me ON me.rolname = current_user
    LEFT JOIN pg_roles AS owner ON owner.oid = c.relowner
    WHERE c.oid = relation;
    -- Nobody else can read a temporary table, so a care by another session could not tell what it
    -- holds.
    IF v_table IS NULL OR v_table.relkind NOT IN ('r', 'p') OR v_table.relpersistence = 't' THEN
        RAISE EXCEPTION '% is not a table that can be tracked',
            coalesce(CASE WHEN relation = of_relation THEN '' ELSE of_relation::text || ': ' END
            || relation::text, 'NULL') USING
            ERRCODE = 'IM010',
            HINT = 'Ordinary and partitioned tables can be; views, foreign and temporary tables cannot.';
    END IF;
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1)'
        INTO v_is_distributed USING relation;
    END IF;
    IF v_is_distributed THEN
        RAISE EXCEPTION '% is distributed by Citus: no trigger sees what comes to other nodes', relation
            USING
            ERRCODE = 'IM010',
            HINT = 'undistribute_table brings it back. What grows is put on other nodes by '
            'imgdb.distribute.';
    ELSIF v_table.is_foreign THEN
        RAISE EXCEPTION '% belongs to %, whose code a superuser must not run', relation,
            v_table.owner_name USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role (SET ROLE is not enough), or give the table to the owner of '
            'schema imgdb.';
    ELSIF NOT v_table.is_own THEN
        RAISE EXCEPTION '% belongs to %', relation, v_table.owner_name USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_member(regclass, regclass) IS
'Error IM010 unless a table can be tracked, IM013 unless the current user may and should read it.';

CREATE FUNCTION imgdb._hold_table(relation regclass)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
BEGIN
    LOOP
        -- Before the lock, since waiting for another's table is of no use; and after it.
        PERFORM imgdb._check_member(relation, relation);
        SELECT format('%I.%I', n.nspname, c.relname)
        INTO v_name
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = relation;
        EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', v_name);
        -- Renamed or replaced while the lock was waited for: what is locked is another table.
        EXIT WHEN to_regclass(v_name) = relation;
    END LOOP;
    PERFORM imgdb._check_member(tree.member, relation)
    FROM (
        WITH RECURSIVE down AS (
            SELECT relation::oid AS table_id
            UNION
            SELECT i.inhrelid FROM down JOIN pg_inherits AS i ON i.inhparent = down.table_id
        )
        SELECT down.table_id::regclass FROM down
    ) AS tree (member);
    RETURN v_name;
END
$$;

COMMENT ON FUNCTION imgdb._hold_table(regclass) IS
'Locks a table of the current user''s against being replaced, with all below it, checks that it is '
'what was tracked, and returns its name for dynamic SQL.';

CREATE FUNCTION imgdb._check_column(relation regclass, hash_column name)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_column record;
BEGIN
    SELECT a.attnum, a.atttypid, a.attgenerated, y.typtype
    INTO v_column
    FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
    WHERE
        a.attrelid = relation AND a.attname = hash_column
        AND a.attnum > 0 AND NOT a.attisdropped;
    IF v_column.atttypid = 'int8'::regtype AND v_column.attgenerated <> 'v' THEN
        RETURN v_column.attnum;
    END IF;
    RAISE EXCEPTION '%', CASE
        WHEN hash_column IS NULL THEN 'hash_column is NULL'
        WHEN v_column.attgenerated = 'v' THEN
            format('column "%s" of %s is virtual, so that no trigger sees it', hash_column, relation)
        WHEN v_column.typtype = 'd' THEN
            format('column "%s" of %s is of a domain, not of bigint itself', hash_column, relation)
        ELSE format('%s has no bigint column "%s"', relation, hash_column)
    END USING
        ERRCODE = 'IM004',
        HINT = 'Hashes are stored as bigint; imgdb.from_hex turns hex digits into one.';
END
$$;

COMMENT ON FUNCTION imgdb._check_column(regclass, name) IS
'The number of a column of hashes; error IM004 if it is none.';

CREATE FUNCTION imgdb._source_query(of_space_id smallint)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tracked record;
    v_query text := 'SELECT NULL::bigint WHERE false';
BEGIN
    FOR v_tracked IN
        SELECT t.table_id, t.table_number, t.column_name, t.column_number
        FROM imgdb.tracked_column AS t
        -- A dropped table is no source, whether or not it is forgotten yet.
        JOIN pg_class AS c ON c.oid = t.table_id
        WHERE t.space_id = of_space_id
        ORDER BY t.table_id, t.column_name
    LOOP
        v_query := v_query || format(
            ' UNION ALL SELECT t.%I FROM %s AS t',
            v_tracked.column_name, imgdb._hold_table(v_tracked.table_id)
        );
        IF imgdb._check_column(v_tracked.table_id, v_tracked.column_name) <> v_tracked.column_number
        AND v_tracked.table_id = v_tracked.table_number THEN
            RAISE EXCEPTION 'column "%" of % is another one than was tracked',
                v_tracked.column_name, v_tracked.table_id USING
                ERRCODE = 'IM004',
                HINT = 'imgdb.untrack it, then imgdb.track the one that holds the hashes now.';
        END IF;
    END LOOP;
    RETURN v_query;
END
$$;

COMMENT ON FUNCTION imgdb._source_query(smallint) IS
'SQL that reads all tracked columns of a space, whose tables are held from here on.';

CREATE FUNCTION imgdb._ordered_parts_query(source_query text, of_mask bigint)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(
    'SELECT array_agg(n.hash ORDER BY n.hash & %1$s, n.hash) FROM ('
    'SELECT d.hash, (row_number() OVER (ORDER BY d.hash & %1$s, d.hash) - 1) / 100000 AS part '
    'FROM (SELECT DISTINCT ON (s.hash & %1$s, s.hash) s.hash FROM (%2$s) AS s (hash) '
    'WHERE s.hash IS NOT NULL ORDER BY s.hash & %1$s, s.hash) AS d) AS n '
    'GROUP BY n.part ORDER BY n.part',
    format('(%s)::bigint', of_mask), source_query
);

COMMENT ON FUNCTION imgdb._ordered_parts_query(text, bigint) IS
'SQL that gives the distinct hashes of a query in arrays of 100,000, by prefix, then by hash.';

CREATE FUNCTION imgdb._indexed_between(
    of_space_id smallint,
    of_mask bigint,
    after_hash bigint,
    to_hash bigint
)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT array_agg(found.hash ORDER BY found.prefix, found.hash)
        FROM (
            SELECT DISTINCT ON (entry.prefix, entry.hash) entry.prefix, entry.hash
            FROM (
                SELECT b.prefix, unnest(b.hashes) AS hash
                FROM imgdb.prefix_bucket AS b
                WHERE
                    b.space_id = of_space_id
                    AND b.prefix >= coalesce(after_hash & of_mask, -9223372036854775808)
                    AND b.prefix <= coalesce(to_hash & of_mask, 9223372036854775807)
                    AND b.prefix & of_mask = b.prefix
            ) AS entry
            WHERE
                -- The bucket of prefix 0 serves all bands: what it holds for the others is left
                -- out.
                entry.hash & of_mask = entry.prefix
                AND (
                    after_hash IS NULL OR entry.prefix > after_hash & of_mask
                    OR entry.hash > after_hash
                )
                AND (to_hash IS NULL OR entry.prefix < to_hash & of_mask OR entry.hash <= to_hash)
            ORDER BY entry.prefix, entry.hash
            LIMIT 200000
        ) AS found
    );
END
$$;

COMMENT ON FUNCTION imgdb._indexed_between(smallint, bigint, bigint, bigint) IS
'The first 200,000 hashes in the buckets of a band that come after one hash and not after another, '
'by prefix, then by hash; NULL stands for either end, and for none found.';

CREATE FUNCTION imgdb._table_family(relation regclass)
RETURNS SETOF regclass
LANGUAGE plpgsql STABLE ROWS 2
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree AS (
        SELECT a.table_id FROM unnest(imgdb._ancestors(relation)) AS a (table_id)
        UNION
        SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.table_id
    )
    SELECT c.oid::regclass
    FROM tree JOIN pg_class AS c ON c.oid = tree.table_id
    ORDER BY c.oid;
END
$$;

COMMENT ON FUNCTION imgdb._table_family(regclass) IS
'The table itself, its ancestors, and the partitions and heirs of all of them.';

CREATE FUNCTION imgdb._wanted_keys(relation regclass)
RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT t.track_key::text
        FROM imgdb.tracked_column AS t
        WHERE
            (
                t.table_id = ANY (imgdb._ancestors(relation))
                OR relation = ANY (imgdb._ancestors(t.table_id))
            )
            -- A parent may lack a column of its heir, and then cannot write it.
            AND (
                t.table_id = relation
                OR EXISTS (
                    SELECT FROM pg_attribute AS a
                    WHERE a.attrelid = relation AND a.attname = t.column_name AND NOT a.attisdropped
                )
            )
        ORDER BY t.track_key
    );
END
$$;

COMMENT ON FUNCTION imgdb._wanted_keys(regclass) IS
'The arguments that the triggers of a table must have; none: no triggers.';

CREATE FUNCTION imgdb._append_triggers()
RETURNS TABLE (on_table regclass, trigger_name name, event text, track_keys text[], is_on boolean)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT
        t.tgrelid::regclass,
        t.tgname,
        CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' ELSE 'update' END,
        -- Each argument ends with a zero byte.
        string_to_array(left(encode(t.tgargs, 'escape'), -4), '\000'),
        t.tgenabled = 'A'
    FROM pg_trigger AS t
    WHERE t.tgfoid = 'imgdb._append_hashes()'::regprocedure AND NOT t.tgisinternal;
END
$$;

COMMENT ON FUNCTION imgdb._append_triggers() IS 'All triggers by which tables feed spaces.';

CREATE FUNCTION imgdb._sync_triggers(relation regclass, of_keys text[] DEFAULT '{}')
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_member record;
    v_name text;
    v_trigger record;
    v_changed boolean := false;
BEGIN
    -- What was detached from the table, and keeps its triggers, is found by its keys.
    FOR v_trigger IN
        SELECT t.on_table, t.trigger_name
        FROM imgdb._append_triggers() AS t
        WHERE
            (
                t.track_keys && of_keys
                OR t.on_table IN (SELECT f.member FROM imgdb._table_family(relation) AS f (member))
            )
            AND (
                cardinality(imgdb._wanted_keys(t.on_table)) = 0
                OR t.trigger_name <> 'imgdb_' || t.event
            )
        -- Parents first, as readers lock them.
        ORDER BY cardinality(imgdb._ancestors(t.on_table)), t.on_table
    LOOP
        EXECUTE format(
            'DROP TRIGGER %I ON %s', v_trigger.trigger_name, imgdb._hold_table(v_trigger.on_table)
        );
        v_changed := true;
    END LOOP;
    FOR v_member IN
        SELECT f.member, w.track_keys, e.event
        FROM imgdb._table_family(relation) AS f (member)
        JOIN pg_class AS c ON c.oid = f.member AND c.relkind IN ('r', 'p')
        CROSS JOIN LATERAL (SELECT imgdb._wanted_keys(f.member) AS track_keys) AS w
        CROSS JOIN unnest(ARRAY['insert', 'update']) AS e (event)
        WHERE
            cardinality(w.track_keys) > 0
            AND NOT EXISTS (
                SELECT FROM imgdb._append_triggers() AS t
                WHERE
                    t.on_table = f.member AND t.event = e.event AND t.is_on
                    AND t.track_keys = w.track_keys
            )
        -- Parents first, as writers lock them.
        ORDER BY cardinality(imgdb._ancestors(f.member)), f.member
    LOOP
        v_name := imgdb._hold_table(v_member.member);
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER imgdb_%s AFTER %1$s ON %s REFERENCING %s NEW TABLE AS new_rows '
            'FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes(%s)',
            v_member.event,
            v_name,
            CASE v_member.event WHEN 'update' THEN 'OLD TABLE AS old_rows' ELSE '' END,
            (SELECT string_agg(quote_literal(k), ', ') FROM unnest(v_member.track_keys) AS k)
        );
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER imgdb_%s', v_name, v_member.event);
        v_changed := true;
    END LOOP;
    RETURN v_changed;
END
$$;

COMMENT ON FUNCTION imgdb._sync_triggers(regclass, text[]) IS
'Makes the triggers of a table and its family what imgdb.tracked_column asks for; true if any '
'changed. Their tables are then locked for writers until the transaction ends.';

CREATE FUNCTION imgdb._note_tracked(
    relation regclass, hash_column name, hash_number smallint, for_space_id smallint
)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    INSERT INTO imgdb.tracked_column (table_id, table_number, column_name, column_number, space_id)
    VALUES (relation, relation, hash_column, hash_number, for_space_id)
    ON CONFLICT ON CONSTRAINT tracked_column_pkey DO NOTHING;
    -- After a restore or a rename that is meant: what it is called and numbered now. A row that says
    -- so already is not locked, since that would turn writers away.
    UPDATE imgdb.tracked_column AS t
    SET table_number = relation, column_number = hash_number
    WHERE
        t.table_id = relation AND t.column_name = hash_column AND t.space_id = for_space_id
        AND (t.table_number <> relation OR t.column_number <> hash_number);
END
$$;

COMMENT ON FUNCTION imgdb._note_tracked(regclass, name, smallint, smallint) IS
'Writes a row of imgdb.tracked_column, for a claimed space.';

CREATE FUNCTION imgdb._lock_claimed(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    PERFORM imgdb._lock_space(of_space_id, true);
END
$$;

COMMENT ON FUNCTION imgdb._lock_claimed(smallint) IS
'Waits until nobody else writes the buckets of a claimed space, and holds others off until commit.';

CREATE FUNCTION imgdb._add_band(for_space_id smallint, of_mask bigint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    SELECT array_agg(n.hash & of_mask), array_agg(n.hash)
    INTO v_prefixes, v_hashes
    FROM unnest(new_hashes) AS n (hash);
    PERFORM imgdb._add_rows(for_space_id, v_prefixes, v_hashes);
    -- Once for all bands.
    IF EXISTS (
        SELECT FROM imgdb.watch_list AS w JOIN imgdb.space AS s ON s.space_id = w.space_id
        WHERE w.space_id = for_space_id AND s.band_masks[1] = of_mask
    ) THEN
        PERFORM imgdb._note_matches(for_space_id, new_hashes, NULL);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._add_band(smallint, bigint, bigint[]) IS
'Adds hashes to the buckets of one band of a claimed space.';

CREATE FUNCTION imgdb._count_added(for_space_id smallint, more_hashes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    PERFORM imgdb._count_in(for_space_id, more_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._count_added(smallint, bigint) IS
'Notes that a claimed space holds so many hashes more.';

CREATE FUNCTION imgdb._index_source(
    for_space_id smallint, source_query text, as_first_band boolean
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_mask bigint;
    v_part bigint[];
    v_missing bigint[];
    v_fresh bigint[];
    v_after bigint;
    v_count bigint := 0;
    v_most bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'a column cannot be tracked in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    FOREACH v_mask IN ARRAY v_masks LOOP
        v_count := 0;
        v_after := NULL;
        FOR v_part IN EXECUTE imgdb._ordered_parts_query(source_query, v_mask) LOOP
            v_missing := v_part;
            -- A few are looked up; many are compared with their range of the buckets, which may
            -- hold more than one answer gives.
            IF cardinality(v_part) < 10000 THEN
                v_missing := imgdb._difference(
                    v_part,
                    imgdb._indexed_among(for_space_id, v_mask, imgdb._difference(v_part, NULL))
                );
            END IF;
            WHILE cardinality(v_part) >= 10000 LOOP
                DECLARE
                    v_indexed bigint[] := imgdb._indexed_between(
                        for_space_id, v_mask, v_after, v_part[cardinality(v_part)]
                    );
                BEGIN
                    EXIT WHEN v_indexed IS NULL;
                    v_missing := imgdb._difference(v_missing, v_indexed);
                    v_after := v_indexed[cardinality(v_indexed)];
                    EXIT WHEN cardinality(v_indexed) < 200000;
                END;
            END LOOP;
            -- Fresh hashes are found already. Nobody flushes meanwhile, so what came since the
            -- table was read is among them.
            SELECT array_agg(DISTINCT entry.hash)
            INTO v_fresh
            FROM (
                SELECT unnest(f.hashes) AS hash
                FROM imgdb.fresh_hashes AS f
                WHERE f.space_id = for_space_id
            ) AS entry;
            IF v_fresh IS NOT NULL THEN
                v_missing := imgdb._difference(v_missing, v_fresh);
            END IF;
            IF as_first_band AND v_mask <> v_masks[1] THEN
                v_missing := imgdb._indexed_among(for_space_id, v_masks[1], v_missing);
            END IF;
            IF v_missing IS NOT NULL THEN
                PERFORM imgdb._add_band(for_space_id, v_mask, v_missing);
                v_count := v_count + cardinality(v_missing);
            END IF;
            v_after := v_part[cardinality(v_part)];
        END LOOP;
        v_most := greatest(v_most, v_count);
    END LOOP;
    IF v_most > 0 THEN
        PERFORM imgdb._count_added(for_space_id, v_most);
    END IF;
    RETURN v_most;
END
$$;

COMMENT ON FUNCTION imgdb._index_source(smallint, text, boolean) IS
'Indexes what a query gives and a claimed space lacks, band by band, in later ones only what the '
'first holds if that is wanted; returns how many hashes.';

CREATE OR REPLACE FUNCTION imgdb.track(relation regclass, hash_column name, space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := imgdb._hold_table(relation);
    v_number smallint := imgdb._check_column(relation, hash_column);
    v_space_id smallint;
    v_count bigint;
BEGIN
    IF EXISTS (
        SELECT FROM imgdb.tracked_column AS t
        WHERE t.table_id = relation AND t.column_name = hash_column
    ) THEN
        RAISE EXCEPTION 'column "%" of % is tracked already', hash_column, relation USING
            ERRCODE = 'IM005',
            HINT = 'imgdb.tracked_column says into which space; imgdb.untrack ends that.';
    END IF;
    IF NOT EXISTS (SELECT FROM imgdb.space AS s WHERE s.name = space_name) THEN
        EXECUTE format('SELECT count(t.%I) FROM %s AS t', hash_column, v_name) INTO v_count;
        PERFORM imgdb._make_space(space_name, '', imgdb._masks_for(v_count));
    END IF;
    v_space_id := imgdb._claim_space(space_name);
    -- Before the table: who writes it may hold this.
    PERFORM imgdb._lock_claimed(v_space_id);
    PERFORM imgdb._note_tracked(relation, hash_column, v_number, v_space_id);
    -- Waits for every writer at work and holds new ones off: from here on none is missed.
    PERFORM imgdb._sync_triggers(relation);
    PERFORM imgdb._index_source(
        v_space_id, format('SELECT t.%I FROM %s AS t', hash_column, v_name), false
    );
    PERFORM imgdb._release_space(v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Indexes the hashes of a bigint column, those there now and all that come, in a space, which is '
'made, with bands that suit how many there are, if there is none of that name. Writers to the '
'table wait until the transaction ends.';

CREATE FUNCTION imgdb._forget_tracked(relation regclass, hash_column name, of_space_id smallint)
RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key text;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    DELETE FROM imgdb.tracked_column AS t
    WHERE t.table_id = relation AND t.column_name = hash_column AND t.space_id = of_space_id
    RETURNING t.track_key::text INTO v_key;
    RETURN v_key;
END
$$;

COMMENT ON FUNCTION imgdb._forget_tracked(regclass, name, smallint) IS
'Removes a row of imgdb.tracked_column, for a claimed space, and returns its key.';

CREATE OR REPLACE FUNCTION imgdb.untrack(relation regclass, hash_column name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space record;
    v_keys text[] := '{}';
BEGIN
    FOR v_space IN
        SELECT s.space_id, s.name
        FROM imgdb.tracked_column AS t JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE t.table_id = relation AND t.column_name = hash_column
        ORDER BY s.space_id
    LOOP
        PERFORM imgdb._claim_space(v_space.name);
        v_keys := v_keys || imgdb._forget_tracked(relation, hash_column, v_space.space_id);
        PERFORM imgdb._release_space(v_space.space_id);
    END LOOP;
    IF cardinality(v_keys) = 0 THEN
        RAISE EXCEPTION 'column "%" of % is not tracked', hash_column, relation USING
            ERRCODE = 'IM009',
            HINT = 'SELECT * FROM imgdb.tracked_column lists the tracked columns.';
    END IF;
    PERFORM imgdb._sync_triggers(relation, v_keys);
END
$$;

COMMENT ON FUNCTION imgdb.untrack(regclass, name) IS
'Stops indexing the hashes of a column. Those that no other column holds go with the next '
'imgdb.drop_stale.';

CREATE FUNCTION imgdb._column_query(relation regclass, hash_column name, since_age integer)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_column(relation, hash_column);
    RETURN format('SELECT t.%I FROM %s AS t', hash_column, imgdb._hold_table(relation))
        -- Rows are numbered by the transaction that wrote them.
        || CASE WHEN since_age IS NULL THEN '' ELSE format(' WHERE age(t.xmin) <= %s', since_age) END;
END
$$;

COMMENT ON FUNCTION imgdb._column_query(regclass, name, integer) IS
'SQL that reads a column, or only what transactions of at most that age wrote.';

CREATE FUNCTION imgdb.catch_up(relation regclass)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tracked record;
    v_spaces smallint[] := '{}';
    v_before bigint := pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
    v_changed boolean;
    v_count bigint := 0;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION 'relation is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give a tracked table.';
    END IF;
    PERFORM imgdb._hold_table(relation);
    FOR v_tracked IN
        SELECT t.table_id, t.column_name, s.name, s.space_id
        FROM imgdb.tracked_column AS t
        JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE
            t.table_id = ANY (imgdb._ancestors(relation))
            OR relation = ANY (imgdb._ancestors(t.table_id))
        ORDER BY s.space_id, t.table_id, t.column_name
    LOOP
        PERFORM imgdb._claim_space(v_tracked.name);
        PERFORM imgdb._lock_claimed(v_tracked.space_id);
        PERFORM imgdb._note_tracked(
            v_tracked.table_id,
            v_tracked.column_name,
            imgdb._check_column(v_tracked.table_id, v_tracked.column_name),
            v_tracked.space_id
        );
        v_count := v_count + imgdb._index_source(
            v_tracked.space_id,
            imgdb._column_query(v_tracked.table_id, v_tracked.column_name, NULL),
            true
        );
        v_spaces := v_spaces || v_tracked.space_id;
    END LOOP;
    v_changed := imgdb._sync_triggers(relation);
    IF v_changed THEN
        FOR v_tracked IN
            SELECT t.table_id, t.column_name, t.space_id
            FROM imgdb.tracked_column AS t
            WHERE
                t.space_id = ANY (v_spaces)
                AND (
                    t.table_id = ANY (imgdb._ancestors(relation))
                    OR relation = ANY (imgdb._ancestors(t.table_id))
                )
        LOOP
            v_count := v_count + imgdb._index_source(
                v_tracked.space_id,
                imgdb._column_query(
                    v_tracked.table_id,
                    v_tracked.column_name,
                    (pg_current_xact_id()::text::bigint - v_before)::integer
                ),
                true
            );
        END LOOP;
    END IF;
    IF cardinality(v_spaces) = 0 AND NOT v_changed THEN
        RAISE EXCEPTION '% is not tracked', relation USING
            ERRCODE = 'IM009',
            HINT = 'imgdb.track begins that; SELECT * FROM imgdb.tracked_column lists what is tracked.';
    END IF;
    PERFORM imgdb._release_space(s.space_id) FROM unnest(v_spaces) AS s (space_id);
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.catch_up(regclass) IS
'Puts missing triggers on a table and its family, removes those that are not wanted, indexes what '
'is in its tracked columns and not in their spaces, and returns how many hashes that were. Writers '
'wait only for missing triggers.';

CREATE OR REPLACE FUNCTION imgdb.scan(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    -- Every hash stands in every band, so one band is enough to read.
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry
    WHERE imgdb.distance(entry.hash, query_hash) <= max_distance;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash) FROM unnest(v_fresh) AS found (hash);
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
        AND (v_fresh IS NULL OR entry.hash <> ALL (v_fresh))
    ORDER BY entry.hash;
END
$$;

CREATE OR REPLACE FUNCTION imgdb.within(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint;
    v_probes bigint[];
    v_fresh bigint[];
BEGIN
    SELECT min(probe.space_id), array_agg((query_hash & probe.band_mask) # probe.flip_mask)
    INTO v_space_id, v_probes
    FROM (
        SELECT p.space_id, p.band_mask, unnest(p.flip_masks) AS flip_mask
        FROM imgdb.probe AS p
        WHERE
            p.space_id = (
                SELECT s.space_id
                FROM imgdb.space AS s
                JOIN imgdb.space_state AS st ON st.space_id = s.space_id
                WHERE s.name = space_name AND st.scan_from > max_distance
            )
            -- PostgreSQL would plan for each distance anew, which takes longer than the probes.
            AND p.from_distance <= (SELECT max_distance)
    ) AS probe;
    IF v_probes IS NULL OR query_hash IS NULL THEN
        RETURN QUERY SELECT * FROM imgdb.scan(space_name, query_hash, max_distance);
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry
    WHERE imgdb.distance(entry.hash, query_hash) <= max_distance;
    IF v_fresh IS NOT NULL THEN
        RETURN QUERY
        SELECT found.hash, imgdb.distance(found.hash, query_hash) FROM unnest(v_fresh) AS found (hash);
    END IF;
    RETURN QUERY
    SELECT DISTINCT ON (candidate.hash) candidate.hash, imgdb.distance(candidate.hash, query_hash)
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes)
    ) AS candidate
    WHERE
        imgdb.distance(candidate.hash, query_hash) <= max_distance
        AND (v_fresh IS NULL OR candidate.hash <> ALL (v_fresh))
    ORDER BY candidate.hash;
END
$$;

COMMENT ON FUNCTION imgdb.within(text, bigint, integer) IS
'All hashes of a space within max_distance of query_hash: by prefix buckets, or by a scan where '
'that costs less (imgdb.explain tells).';

CREATE OR REPLACE FUNCTION imgdb.within_any(
    space_name text,
    query_hashes bigint[],
    max_distance integer
)
RETURNS TABLE (query_hash bigint, hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 100 COST 100000
SET search_path = pg_catalog, pg_temp
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
    v_fresh record;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF query_hashes IS NULL THEN
        RAISE EXCEPTION 'query_hashes is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give an array of hashes; NULL inside of it asks nothing.';
    END IF;
    SELECT sum(cardinality(p.flip_masks))
    INTO v_probe_count
    FROM imgdb.probe AS p
    JOIN imgdb.space_state AS st ON st.space_id = p.space_id
    WHERE
        p.space_id = v_space_id AND p.from_distance <= max_distance AND st.scan_from > max_distance;
    IF v_probe_count IS NULL THEN
        RETURN QUERY
        SELECT q.query, found.hash, found.distance
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN imgdb.scan(space_name, q.query, max_distance) AS found;
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT entry.hash) AS hashes
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    FOR query_hash, hash, distance IN
        SELECT q.query, entry.hash, imgdb.distance(entry.hash, q.query)
        FROM unnest(v_queries) AS q (query)
        CROSS JOIN unnest(v_fresh.hashes) AS entry (hash)
        WHERE imgdb.distance(entry.hash, q.query) <= max_distance
    LOOP
        RETURN NEXT;
    END LOOP;
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
            WHERE p.space_id = v_space_id AND p.from_distance <= max_distance
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
            WHERE
                imgdb.distance(candidate.hash, candidate.query) <= max_distance
                AND v_fresh.hashes[width_bucket(candidate.hash, v_fresh.hashes)]
                IS DISTINCT FROM candidate.hash
            ORDER BY candidate.query, candidate.hash
        LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;

CREATE FUNCTION imgdb._nearest_hashes(
    of_space_id smallint,
    query_hash bigint,
    match_limit integer,
    max_distance integer
)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
    v_scan_cost double precision;
    v_best bigint[];
    v_more bigint[];
    v_bound integer := max_distance;
    v_level record;
    v_probes bigint[];
BEGIN
    SELECT s.name, c.scan_cost
    INTO v_name, v_scan_cost
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    CROSS JOIN LATERAL imgdb._cost(s.space_id, 0, st.hash_count) AS c
    WHERE s.space_id = of_space_id;
    SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
    INTO v_best
    FROM (
        SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
        FROM (
            SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = of_space_id
        ) AS entry
        WHERE imgdb.distance(entry.hash, query_hash) <= v_bound
        ORDER BY distance, entry.hash
        LIMIT match_limit
    ) AS near;
    FOR v_level IN
        SELECT p.from_distance, p.band_mask, p.flip_masks
        FROM imgdb.probe AS p
        WHERE p.space_id = of_space_id
        ORDER BY p.from_distance
    LOOP
        IF cardinality(v_best) >= match_limit THEN
            v_bound := imgdb.distance(v_best[match_limit], query_hash);
        END IF;
        -- The level before has found all within the bound.
        IF v_level.from_distance > v_bound THEN
            RETURN v_best;
        END IF;
        EXIT WHEN 1.75 * cardinality(v_level.flip_masks) > v_scan_cost;
        SELECT array_agg((query_hash & v_level.band_mask) # flip)
        INTO v_probes
        FROM unnest(v_level.flip_masks) AS flip;
        SELECT array_agg(candidate.hash)
        INTO v_more
        FROM (
            SELECT unnest(bucket.hashes) AS hash
            FROM imgdb.prefix_bucket AS bucket
            WHERE bucket.space_id = of_space_id AND bucket.prefix = ANY (v_probes)
        ) AS candidate
        WHERE imgdb.distance(candidate.hash, query_hash) <= v_bound;
        IF v_more IS NOT NULL THEN
            SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
            INTO v_best
            FROM (
                SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
                FROM unnest(v_best || v_more) AS entry (hash)
                ORDER BY distance, entry.hash
                LIMIT match_limit
            ) AS near;
        END IF;
    END LOOP;
    IF cardinality(v_best) >= match_limit THEN
        v_bound := imgdb.distance(v_best[match_limit], query_hash);
    END IF;
    RETURN (
        SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
        FROM (
            -- What a scan of one band does not find is a stale hash that is left in another one: it
            -- made the bound, so it counts here, too.
            SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
            FROM (
                SELECT s.hash FROM imgdb.scan(v_name, query_hash, v_bound) AS s
                UNION ALL
                SELECT unnest(v_best)
            ) AS entry
            ORDER BY distance, entry.hash
            LIMIT match_limit
        ) AS near
    );
END
$$;

COMMENT ON FUNCTION imgdb._nearest_hashes(smallint, bigint, integer, integer) IS
'The hashes of a space nearest to query_hash, by distance, then by hash, whether or not a row '
'holds them still; NULL if there are none.';

CREATE FUNCTION imgdb._held_among(of_space_id smallint, doubtful_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_found bigint[];
    v_held bigint[] := '{}';
BEGIN
    FOR v_source IN
        SELECT
            t.table_id,
            t.column_name,
            format('%I.%I', n.nspname, c.relname) AS table_name,
            c.relkind IN ('r', 'p')
            AND pg_has_role(current_user, c.relowner, 'USAGE')
            AND (NOT me.rolsuper OR coalesce(owner.rolsuper, false) OR c.relowner = home.nspowner)
            AND EXISTS (
                SELECT FROM pg_index AS x JOIN pg_attribute AS a ON a.attrelid = x.indrelid
                WHERE
                    x.indrelid = c.oid AND a.attname = t.column_name AND x.indkey[0] = a.attnum
                    AND x.indisvalid
            )
            AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid AND c.relkind = 'r')
            AS can_ask
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_namespace AS home ON home.nspname = 'imgdb'
        JOIN pg_roles AS me ON me.rolname = current_user
        LEFT JOIN pg_roles AS owner ON owner.oid = c.relowner
        WHERE t.space_id = of_space_id
    LOOP
        IF NOT v_source.can_ask THEN
            RETURN doubtful_hashes;
        END IF;
        EXECUTE format(
            'SELECT array_agg(DISTINCT t.%1$I) FROM %2$s AS t WHERE t.%1$I = ANY ($1)',
            v_source.column_name, v_source.table_name
        ) INTO v_found USING doubtful_hashes;
        v_held := v_held || v_found;
    END LOOP;
    RETURN v_held;
END
$$;

COMMENT ON FUNCTION imgdb._held_among(smallint, bigint[]) IS
'Those of the hashes that a tracked column of the space holds; all of them if the current user may '
'not ask, or a column has no index.';

CREATE OR REPLACE FUNCTION imgdb.nearest(
    space_name text,
    query_hash bigint,
    match_limit integer,
    max_distance integer DEFAULT 64
)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_wanted bigint := match_limit;
    v_best bigint[];
    v_held bigint[];
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    IF match_limit IS NULL OR match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', coalesce(match_limit::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many of the nearest hashes you want.';
    END IF;
    -- Hashes whose rows are gone must not take the places of others: then more are looked at.
    LOOP
        v_best := imgdb._nearest_hashes(
            v_space_id, query_hash, least(v_wanted, 2147483647)::integer, max_distance
        );
        v_held := imgdb._held_among(v_space_id, v_best);
        SELECT array_agg(b.hash ORDER BY b.place)
        INTO v_held
        FROM unnest(v_best) WITH ORDINALITY AS b (hash, place)
        WHERE b.hash = ANY (v_held);
        EXIT WHEN v_best IS NULL OR cardinality(v_best) < v_wanted
            OR cardinality(v_held) >= match_limit;
        v_wanted := 2 * v_wanted;
    END LOOP;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash)
    FROM unnest(v_held[:match_limit]) WITH ORDINALITY AS found (hash, place)
    ORDER BY found.place;
END
$$;

CREATE FUNCTION imgdb._pair_masks(max_distance integer, of_count bigint)
RETURNS TABLE (group_mask bigint, skipped_masks bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
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
    ORDER BY e.choices * (1 + of_count / 12.0 / 2 ^ e.bits)
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

CREATE FUNCTION imgdb._pairs_query(
    source_query text, given_hashes bigint[], of_count bigint, max_distance integer
)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_group_mask bigint;
    v_skipped_masks bigint[];
BEGIN
    IF max_distance = 0 OR of_count IS NULL THEN
        RETURN;
    END IF;
    FOR v_group_mask, v_skipped_masks IN
        SELECT m.group_mask, m.skipped_masks FROM imgdb._pair_masks(max_distance, of_count) AS m
    LOOP
        -- A pair that agrees in more bands than it must stands in several groups: it is given by
        -- the choice of the first bands, so a band left out before the last must differ.
        RETURN QUERY EXECUTE format(
            $query$
            SELECT pair.hash_a, pair.hash_b, imgdb.distance(pair.hash_a, pair.hash_b)
            FROM (
                SELECT first.hash_a, unnest(first.hashes) AS hash_b
                FROM (
                    SELECT unnest(together.hashes) AS hash_a, together.hashes
                    FROM (
                        SELECT array_agg(DISTINCT one.hash) AS hashes
                        FROM (%s) AS one (hash)
                        GROUP BY one.hash & $2
                        HAVING count(*) > 1
                    ) AS together
                ) AS first
            ) AS pair
            WHERE
                pair.hash_a < pair.hash_b
                AND imgdb.distance(pair.hash_a, pair.hash_b) <= $3
                AND NOT EXISTS (
                    SELECT FROM unnest($4) AS skipped (mask)
                    WHERE (pair.hash_a # pair.hash_b) & skipped.mask = 0
                )
            $query$,
            source_query
        )
        USING given_hashes, v_group_mask, max_distance, v_skipped_masks;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._pairs_query(text, bigint[], bigint, integer) IS
'All pairs within max_distance of each other among the hashes of a query, in which $1 stands for '
'given_hashes; each once.';

CREATE OR REPLACE FUNCTION imgdb._pairs_among(among_hashes bigint[], max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT *
    FROM imgdb._pairs_query(
        'SELECT unnest($1)', among_hashes, cardinality(among_hashes), max_distance
    );
END
$$;

CREATE OR REPLACE FUNCTION imgdb.pairs(space_name text, max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_count bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    RETURN QUERY
    SELECT *
    FROM imgdb._pairs_query(
        format(
            'SELECT entry.hash FROM (SELECT b.prefix, unnest(b.hashes) AS hash '
            'FROM imgdb.prefix_bucket AS b '
            'WHERE b.space_id = %s AND b.prefix & (%s)::bigint = b.prefix) AS entry '
            'WHERE entry.hash & (%2$s)::bigint = entry.prefix UNION ALL SELECT unnest($1)',
            v_space_id, v_mask
        ),
        v_fresh,
        v_count + coalesce(cardinality(v_fresh), 0),
        max_distance
    );
END
$$;

CREATE FUNCTION imgdb.explain(space_name text, query_hash bigint, max_distance integer)
RETURNS TABLE (strategy text, probes integer, candidates bigint, matches bigint, reason text)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_state record;
    v_probes bigint[];
    v_strategy text;
    v_candidates bigint;
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    SELECT st.hash_count, st.scan_from <= max_distance AS to_scan, c.probe_cost, c.scan_cost
    INTO v_state
    FROM imgdb.space_state AS st
    CROSS JOIN LATERAL imgdb._cost(st.space_id, max_distance, st.hash_count) AS c
    WHERE st.space_id = v_space_id;
    IF v_state.to_scan THEN
        v_strategy := 'scan';
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix;
    ELSE
        v_strategy := 'prefix buckets';
        SELECT array_agg((query_hash & p.band_mask) # flip_mask)
        INTO v_probes
        FROM imgdb.probe AS p
        CROSS JOIN unnest(p.flip_masks) AS flip_mask
        WHERE p.space_id = v_space_id AND p.from_distance <= max_distance;
        SELECT coalesce(sum(cardinality(bucket.hashes)), 0)
        INTO v_candidates
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix = ANY (v_probes);
    END IF;
    RETURN QUERY
    SELECT
        v_strategy,
        coalesce(cardinality(v_probes), 0),
        v_candidates + (
            SELECT coalesce(sum(cardinality(f.hashes)), 0)
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = v_space_id
        ),
        (SELECT count(*) FROM imgdb.within(space_name, query_hash, max_distance)),
        format(
            'of %s hashes: probes %s ms, scan %s ms',
            v_state.hash_count,
            CASE
                WHEN v_state.probe_cost = 'infinity' THEN 'far more'
                ELSE to_char(v_state.probe_cost / 1000, 'FM999999990.0')
            END,
            to_char(v_state.scan_cost / 1000, 'FM999999990.0')
        );
END
$$;

COMMENT ON FUNCTION imgdb.explain(text, bigint, integer) IS
'What within does for a query: its strategy (prefix buckets or scan), probes, candidates, matches, '
'and the reason: what both would cost by estimate.';

CREATE FUNCTION imgdb._all_hashes(space_name text)
RETURNS TABLE (hash bigint)
LANGUAGE plpgsql STABLE ROWS 1000000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
BEGIN
    RETURN QUERY
    SELECT unnest(f.hashes) FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id;
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    RETURN QUERY
    SELECT entry.hash
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE entry.hash & v_mask = entry.prefix;
END
$$;

COMMENT ON FUNCTION imgdb._all_hashes(text) IS 'All hashes of a space, some of them several times.';

CREATE FUNCTION imgdb._search_cost(space_name text, max_distance integer)
RETURNS TABLE (hash_count bigint, query_cost double precision)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    RETURN QUERY
    SELECT st.hash_count, least(c.probe_cost, c.scan_cost)
    FROM imgdb.space_state AS st
    CROSS JOIN LATERAL imgdb._cost(v_space_id, max_distance, st.hash_count) AS c
    WHERE st.space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._search_cost(text, integer) IS
'Nearly how many hashes are in the buckets of a space, and what one search costs, in microseconds.';

CREATE FUNCTION imgdb._watch_prefixes(of_space_id smallint, of_hash bigint, of_radius integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT (of_hash & p.band_mask) # flip
        FROM imgdb.probe AS p CROSS JOIN unnest(p.flip_masks) AS flip
        WHERE p.space_id = of_space_id AND p.from_distance <= of_radius
    );
END
$$;

COMMENT ON FUNCTION imgdb._watch_prefixes(smallint, bigint, integer) IS
'The prefixes that hashes within a radius have in the bands of a space.';

CREATE FUNCTION imgdb._keep_watch_probes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- What goes with its space goes by the foreign key.
    IF tg_op <> 'INSERT' THEN
        DELETE FROM imgdb.watch_probe AS p
        WHERE
            p.space_id = old.space_id
            AND p.prefix = ANY (imgdb._watch_prefixes(old.space_id, old.hash, old.radius))
            AND p.watch_id = old.watch_id;
    END IF;
    IF tg_op = 'DELETE' THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM imgdb.probe AS p
        WHERE p.space_id = new.space_id AND p.from_distance <= new.radius) <= new.radius THEN
        RAISE EXCEPTION 'the bands of space % are too wide for radius %', new.space_id, new.radius USING
            ERRCODE = 'IM002',
            HINT = 'Watch with a smaller max_distance, or rebuild the space with other masks.';
    END IF;
    INSERT INTO imgdb.watch_probe (space_id, prefix, watch_id, hash, radius)
    SELECT new.space_id, u.prefix, new.watch_id, new.hash, new.radius
    FROM unnest(imgdb._watch_prefixes(new.space_id, new.hash, new.radius)) AS u (prefix);
    -- A transaction with an older snapshot does not see the entry, and is told to run again
    -- (imgdb._append_hashes). Once a transaction: else each version would be passed by the next.
    UPDATE imgdb.tracked_column AS t
    SET space_id = t.space_id
    WHERE t.space_id = new.space_id AND t.xmin::text <> pg_current_xact_id()::xid::text;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._keep_watch_probes() IS
'Trigger: makes and removes the prefixes of an entry of the watch list.';

CREATE TRIGGER watch_list_keep_probes
AFTER INSERT OR DELETE OR UPDATE ON imgdb.watch_list
FOR EACH ROW
EXECUTE FUNCTION imgdb._keep_watch_probes();

CREATE FUNCTION imgdb._may_watch(of_space_id smallint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM imgdb.space AS s
    WHERE
        s.space_id = of_space_id -- noqa: RF03
        AND (
            imgdb._may_keep(s.owner_name)
            OR EXISTS (
                SELECT FROM imgdb.tracked_column AS t
                INNER JOIN pg_catalog.pg_class AS c ON t.table_id = c.oid
                INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
                WHERE
                    t.space_id = s.space_id AND n.nspname = 'imgdb'
                    AND has_table_privilege(c.oid, 'INSERT')
            )
        )
);

COMMENT ON FUNCTION imgdb._may_watch(smallint) IS
'Whether the current user owns the space, or may write a table of imgdb''s own that feeds it.';

CREATE VIEW imgdb.own_watch_list
WITH (security_barrier = true)
AS
SELECT
    w.watch_id,
    w.space_id,
    w.hash,
    w.radius,
    w.label,
    w.watched_since
FROM imgdb.watch_list AS w
WHERE imgdb._may_watch(w.space_id)
WITH CASCADED CHECK OPTION;

COMMENT ON VIEW imgdb.own_watch_list IS
'The watch lists of spaces that the current user may watch.';

COMMENT ON COLUMN imgdb.own_watch_list.watch_id IS 'Identity: imgdb.unwatch takes it.';

COMMENT ON COLUMN imgdb.own_watch_list.space_id IS 'The space that is watched.';

COMMENT ON COLUMN imgdb.own_watch_list.hash IS 'The hash.';

COMMENT ON COLUMN imgdb.own_watch_list.radius IS 'The largest distance that is a match.';

COMMENT ON COLUMN imgdb.own_watch_list.label IS 'What the owner calls it.';

COMMENT ON COLUMN imgdb.own_watch_list.watched_since IS 'When it was added.';

CREATE VIEW imgdb.own_match
WITH (security_barrier = TRUE)
AS
SELECT
    m.match_id,
    m.matched_at,
    m.distance,
    m.relation_name,
    m.hash,
    m.watch_id,
    (
        SELECT s.name
        FROM imgdb.watch_list AS w INNER JOIN imgdb.space AS s ON w.space_id = s.space_id
        WHERE w.watch_id = m.watch_id
    ) AS space,
    (
        SELECT w.label FROM imgdb.watch_list AS w
        WHERE w.watch_id = m.watch_id
    ) AS label
FROM imgdb.match AS m
WHERE
    EXISTS (
        SELECT FROM imgdb.watch_list AS w
        WHERE w.watch_id = m.watch_id AND imgdb._may_watch(w.space_id)
    );

COMMENT ON VIEW imgdb.own_match IS
'The matches in spaces that the current user may watch. imgdb.acknowledge removes them.';

COMMENT ON COLUMN imgdb.own_match.match_id IS 'Identity: imgdb.acknowledge takes it.';

COMMENT ON COLUMN imgdb.own_match.matched_at IS 'When the transaction began that brought it.';

COMMENT ON COLUMN imgdb.own_match.space IS 'The space.';

COMMENT ON COLUMN imgdb.own_match.label IS 'What the entry of the watch list is called.';

COMMENT ON COLUMN imgdb.own_match.distance IS 'The distance to the entry.';

COMMENT ON COLUMN imgdb.own_match.relation_name IS 'As in imgdb.match.';

COMMENT ON COLUMN imgdb.own_match.hash IS 'The hash that arrived.';

COMMENT ON COLUMN imgdb.own_match.watch_id IS 'The entry.';

CREATE FUNCTION imgdb._note_matches(
    of_space_id smallint, new_hashes bigint[], from_relation text, for_entry bigint DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_hashagg = off
AS $$
DECLARE
    v_space record;
    v_nearest record;
BEGIN
    SELECT s.name, s.band_masks INTO v_space FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    WITH noted AS (
        INSERT INTO imgdb.match (watch_id, relation_name, hash, distance)
        SELECT w.watch_id, from_relation, near.hash, near.distance
        FROM (
            SELECT DISTINCT ON (p.watch_id, n.hash)
                p.watch_id, n.hash, imgdb.distance(p.hash, n.hash) AS distance
            FROM unnest(new_hashes) AS n (hash)
            CROSS JOIN unnest(v_space.band_masks) AS band (mask)
            JOIN imgdb.watch_probe AS p
                ON p.space_id = of_space_id AND p.prefix = n.hash & band.mask
            WHERE
                imgdb.distance(p.hash, n.hash) <= p.radius
                AND (for_entry IS NULL OR p.watch_id = for_entry)
            ORDER BY p.watch_id, n.hash
        ) AS near
        JOIN imgdb.watch_list AS w ON w.watch_id = near.watch_id
        FOR KEY SHARE OF w
        RETURNING match_id, watch_id, distance
    )
    SELECT noted.match_id, w.label, noted.distance, count(*) OVER () AS count
    INTO v_nearest
    FROM noted JOIN imgdb.watch_list AS w ON w.watch_id = noted.watch_id
    ORDER BY noted.distance, noted.match_id
    LIMIT 1;
    IF FOUND THEN
        PERFORM pg_notify(
            'imgdb_match',
            json_build_object(
                'label', v_nearest.label,
                'relation', from_relation,
                'distance', v_nearest.distance,
                'space', left(v_space.name, 200),
                'match_id', v_nearest.match_id,
                'matches', v_nearest.count
            )::text
        );
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._note_matches(smallint, bigint[], text, bigint) IS
'Notes which hashes are near entries of the watch list of their space, or near one of them, and '
'notifies of the nearest.';

CREATE FUNCTION imgdb._hold_writers(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_source record;
    v_name text;
BEGIN
    FOR v_source IN
        SELECT DISTINCT t.table_id, c.relname, c.relnamespace = 'imgdb'::regnamespace AS is_ours
        FROM imgdb.tracked_column AS t JOIN pg_class AS c ON c.oid = t.table_id
        WHERE t.space_id = of_space_id
        ORDER BY t.table_id
    LOOP
        -- Who may write imgdb's own tables need not own them, and nobody can replace them.
        v_name := format('imgdb.%I', v_source.relname);
        IF NOT v_source.is_ours THEN
            v_name := imgdb._hold_table(v_source.table_id);
        END IF;
        EXECUTE format('LOCK TABLE %s IN SHARE MODE', v_name);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._hold_writers(smallint) IS
'Waits for who writes tables that feed a space, and holds others off until commit.';

CREATE FUNCTION imgdb._look_back()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_found bigint[] := (
        SELECT array_agg(m.hash)
        FROM imgdb.space AS s
        CROSS JOIN LATERAL imgdb.within_any(s.name, ARRAY[new.hash], new.radius) AS m
        WHERE s.space_id = new.space_id
    );
BEGIN
    IF v_found IS NOT NULL THEN
        PERFORM imgdb._note_matches(new.space_id, v_found, NULL, new.watch_id);
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._look_back() IS
'Trigger: notes what is in the space and near a new entry of its watch list.';

CREATE TRIGGER watch_list_look_back
AFTER INSERT ON imgdb.watch_list
FOR EACH ROW
WHEN (current_setting('row_security') = 'on')
EXECUTE FUNCTION imgdb._look_back();

CREATE FUNCTION imgdb.watch(
    space_name text, query_hash bigint, max_distance integer DEFAULT 8, watch_label text DEFAULT ''
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_watch_id bigint;
BEGIN
    PERFORM imgdb._check_query(query_hash);
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 12 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 12', coalesce(max_distance::text, 'NULL')
            USING
            ERRCODE = 'IM002',
            HINT = 'What arrives is compared within 12 bits at most; 8 is a usual choice.';
    ELSIF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'a hash cannot be watched in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    ELSIF NOT imgdb._may_watch(v_space_id) THEN
        RAISE EXCEPTION 'space "%" belongs to %', space_name,
            (SELECT s.owner_name FROM imgdb.space AS s WHERE s.space_id = v_space_id) USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it; imgdb''s own spaces are watched by '
            'roles that may write, too.';
    END IF;
    PERFORM imgdb._hold_writers(v_space_id);
    INSERT INTO imgdb.own_watch_list (space_id, hash, radius, label)
    VALUES (v_space_id, query_hash, max_distance, coalesce(watch_label, ''))
    RETURNING watch_id INTO v_watch_id;
    RETURN v_watch_id;
END
$$;

COMMENT ON FUNCTION imgdb.watch(text, bigint, integer, text) IS
'Puts a hash on the watch list of a space and returns its watch_id: what is within max_distance (0 '
'to 12), there now or arriving later, is noted in imgdb.match. Writers to the tables of the space '
'wait until the transaction ends.';

CREATE FUNCTION imgdb.unwatch(watch_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.own_watch_list AS w WHERE w.watch_id = ANY (watch_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.unwatch(bigint[]) IS
'Takes entries off the watch list, with their matches, and returns how many entries.';

CREATE FUNCTION imgdb.acknowledge(match_ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.own_match AS m WHERE m.match_id = ANY (match_ids);
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.acknowledge(bigint[]) IS
'Removes matches that somebody has seen, and returns how many.';

CREATE OR REPLACE FUNCTION imgdb.check_space(space_name text, sample_count integer, max_distance integer)
RETURNS TABLE (sampled integer, mismatches bigint)
LANGUAGE plpgsql VOLATILE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_count bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = v_space_id);
    v_queries bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF sample_count IS NULL OR sample_count < 1 THEN
        RAISE EXCEPTION 'sample_count is %, not 1 or more', coalesce(sample_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many hashes to try; 100 is a good start.';
    END IF;
    -- Some bits of each are turned, up to max_distance of them, for a query seldom is a hash
    -- itself.
    SELECT array_agg(chosen.hash # chosen.turned)
    INTO v_queries
    FROM (
        SELECT
            drawn.hash,
            (
                SELECT coalesce(bit_or(1::bigint << floor(random() * 64)::integer), 0)
                -- Not random() itself: it would be drawn once, for all hashes.
                FROM generate_series(1, drawn.turns)
            ) AS turned
        FROM (
            SELECT s.hash, floor(random() * (max_distance + 1))::integer AS turns
            FROM (
                SELECT entry.hash
                FROM (
                    SELECT b.prefix, unnest(b.hashes) AS hash
                    FROM imgdb.prefix_bucket AS b
                    WHERE b.space_id = v_space_id AND b.prefix & v_mask = b.prefix
                ) AS entry
                -- So that only some are sorted.
                WHERE entry.hash & v_mask = entry.prefix AND random() * v_count < 10 * sample_count
                UNION ALL
                SELECT unnest(f.hashes) FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
            ) AS s
            ORDER BY random()
            LIMIT sample_count
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
            WHERE fast.hashes IS DISTINCT FROM twin.hashes
        );
END
$$;

CREATE OR REPLACE FUNCTION imgdb.missing_hashes(space_name text)
RETURNS TABLE (hash bigint, band integer)
LANGUAGE plpgsql VOLATILE ROWS 10 COST 1000000
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_source text := imgdb._source_query(v_space_id);
    v_fresh bigint[] := (
        SELECT array_agg(DISTINCT entry.hash)
        FROM (
            SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
        ) AS entry
    );
    v_part bigint[];
    v_missing bigint[];
BEGIN
    FOR v_band IN 1..cardinality(v_masks) LOOP
        FOR v_part IN EXECUTE imgdb._ordered_parts_query(v_source, v_masks[v_band]) LOOP
            v_missing := imgdb._difference(v_part, v_fresh);
            v_missing := imgdb._difference(
                v_missing, imgdb._indexed_among(v_space_id, v_masks[v_band], v_missing)
            );
            RETURN QUERY SELECT m.hash, v_band - 1 FROM unnest(v_missing) AS m (hash);
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.missing_hashes(text) IS
'Hashes that a tracked column holds and a band (from 0) lacks: none, or imgdb.catch_up is due.';

CREATE FUNCTION imgdb.tracking_problems()
RETURNS TABLE (relation text, problem text)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    -- A trigger that is wanted and not there.
    SELECT member.table_id::regclass::text, format('has no %s trigger that is on and up to date', e.event)
    FROM (
        SELECT DISTINCT f.member AS table_id
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        CROSS JOIN LATERAL imgdb._table_family(t.table_id) AS f (member)
    ) AS member
    JOIN pg_class AS c ON c.oid = member.table_id AND c.relkind IN ('r', 'p')
    CROSS JOIN unnest(ARRAY['insert', 'update']) AS e (event)
    WHERE
        cardinality(imgdb._wanted_keys(member.table_id)) > 0
        AND NOT EXISTS (
            SELECT FROM imgdb._append_triggers() AS t
            WHERE
                t.on_table = member.table_id AND t.event = e.event AND t.is_on
                AND t.track_keys = imgdb._wanted_keys(member.table_id)
        )
    UNION ALL
    -- One that is there and not wanted.
    SELECT t.on_table::text, format('has trigger %s, which nothing asks for', t.trigger_name)
    FROM imgdb._append_triggers() AS t
    WHERE
        cardinality(imgdb._wanted_keys(t.on_table)) = 0 OR t.trigger_name <> 'imgdb_' || t.event
    UNION ALL
    -- A table or a column that is not what was tracked.
    SELECT
        t.table_id::text,
        CASE
            WHEN c.oid IS NULL THEN 'is tracked, but dropped'
            WHEN c.relkind NOT IN ('r', 'p') THEN 'is tracked, but no table any more'
            WHEN a.attnum IS NULL
                THEN format('column "%s" is tracked, but dropped, renamed or no bigint', t.column_name)
            ELSE format('column "%s" is tracked, but exchanged for another one', t.column_name)
        END
    FROM imgdb.tracked_column AS t
    LEFT JOIN pg_class AS c ON c.oid = t.table_id
    LEFT JOIN pg_attribute AS a ON
        a.attrelid = c.oid AND a.attname = t.column_name AND NOT a.attisdropped
        AND a.atttypid = 'int8'::regtype
    WHERE
        c.oid IS NULL OR c.relkind NOT IN ('r', 'p') OR a.attnum IS NULL
        OR (t.table_number = t.table_id AND a.attnum <> t.column_number)
    UNION ALL
    SELECT member.table_id::regclass::text, 'cannot have triggers, and is below a tracked table'
    FROM (
        SELECT DISTINCT f.member AS table_id
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        CROSS JOIN LATERAL imgdb._table_family(t.table_id) AS f (member)
    ) AS member
    JOIN pg_class AS c ON c.oid = member.table_id AND c.relkind NOT IN ('r', 'p')
    UNION ALL
    SELECT format('space "%s"', s.name), 'is left from a rebuild that was stopped: run it again'
    FROM imgdb.space AS s
    WHERE s.shadow_of IS NOT NULL;
    -- One after the other, since buckets may be on several nodes. Identities are given in a row.
    FOR v_id IN 1..(SELECT max(s.space_id) + 100 FROM imgdb.space AS s) LOOP
        IF NOT EXISTS (SELECT 1 FROM imgdb.space AS s WHERE s.space_id = v_id) THEN
            PERFORM 1 FROM imgdb.prefix_bucket AS p WHERE p.space_id = v_id LIMIT 1;
            IF FOUND THEN
                RETURN QUERY SELECT format('space %s', v_id), 'has hashes, but is no space';
            END IF;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.tracking_problems() IS
'Where triggers, tables and spaces differ from what imgdb.tracked_column asks for: rows that are '
'in a table may not be found. imgdb.catch_up mends triggers.';

CREATE FUNCTION imgdb._may_maintain()
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN TRUE;

COMMENT ON FUNCTION imgdb._may_maintain() IS 'Its EXECUTE right lets a role compact all spaces.';

CREATE FUNCTION imgdb._check_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT has_function_privilege(session_user, 'imgdb._may_maintain()', 'EXECUTE') THEN
        PERFORM imgdb._check_claim(of_space_id);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_care(smallint) IS
'Error IM013 unless the space is claimed, or the session may compact all.';

CREATE FUNCTION imgdb._merge(of_space_id smallint, from_prefix bigint, most_hashes integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last bigint;
    v_looked record;
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF NOT imgdb._lock_space(of_space_id, true) THEN
        RETURN NULL;
    END IF;
    -- A walk along the index, that ends: what is behind the last prefix is for the next time.
    SELECT max(n.prefix)
    INTO v_last
    FROM (
        SELECT b.prefix
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id AND b.prefix >= coalesce(from_prefix, -9223372036854775808)
        ORDER BY b.prefix
        LIMIT greatest(most_hashes / 20, 1)
    ) AS n;
    SELECT array_agg(g.prefix) AS prefixes
    INTO v_looked
    FROM (
        SELECT b.prefix
        FROM imgdb.prefix_bucket AS b
        WHERE
            b.space_id = of_space_id
            AND b.prefix BETWEEN coalesce(from_prefix, -9223372036854775808) AND v_last
        GROUP BY b.prefix
        -- The ordered aggregate makes PostgreSQL sort (imgdb._add_rows says why).
        HAVING count(*) > ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)
    ) AS g;
    IF v_looked.prefixes IS NOT NULL THEN
        -- One statement: its snapshot shows what it deletes, and nothing else goes.
        WITH gone AS (
            DELETE FROM imgdb.prefix_bucket AS b
            WHERE b.space_id = of_space_id AND b.prefix = ANY ((SELECT v_looked.prefixes)::bigint[])
            RETURNING b.prefix, b.hashes
        )
        SELECT array_agg(entry.prefix), array_agg(entry.hash)
        INTO v_prefixes, v_hashes
        FROM (SELECT gone.prefix, unnest(gone.hashes) AS hash FROM gone) AS entry;
        PERFORM imgdb._add_rows(of_space_id, v_prefixes, v_hashes);
    END IF;
    RETURN v_last;
END
$$;

COMMENT ON FUNCTION imgdb._merge(smallint, bigint, integer) IS
'Merges the rows of prefixes of a space that have more than they need, and drops doubles.';

CREATE FUNCTION imgdb._flush_all(of_space_id smallint)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF EXISTS (SELECT 1 FROM imgdb.space AS s WHERE s.space_id = of_space_id) THEN
        RETURN imgdb._flush(of_space_id, 50000, true);
    END IF;
    -- A writer with an old snapshot may have brought some to a space that was dropped or rebuilt.
    DELETE FROM imgdb.fresh_hashes AS f WHERE f.space_id = of_space_id;
    RETURN 0;
END
$$;

COMMENT ON FUNCTION imgdb._flush_all(smallint) IS
'Flushes many fresh hashes of a space, or forgets them if there is no such space.';

CREATE FUNCTION imgdb._count_anew(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF imgdb._lock_space(of_space_id, true) THEN
        SELECT coalesce(sum(cardinality(b.hashes)), 0) / max(cardinality(s.band_masks))
        INTO v_count
        FROM imgdb.space AS s
        LEFT JOIN imgdb.prefix_bucket AS b ON b.space_id = s.space_id
        WHERE s.space_id = of_space_id;
        UPDATE imgdb.space_state AS s
        SET
            hash_count = v_count,
            scan_from = imgdb._scan_from(of_space_id, v_count),
            merged_at = now()
        WHERE s.space_id = of_space_id;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._count_anew(smallint) IS 'Counts the hashes in the buckets of a space.';

CREATE FUNCTION imgdb._begin_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := (SELECT s.name FROM imgdb.space AS s WHERE s.space_id = of_space_id);
BEGIN
    IF NOT has_function_privilege('imgdb._may_maintain()', 'EXECUTE') AND v_name IS NOT NULL THEN
        PERFORM imgdb._claim_space(v_name);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._begin_care(smallint) IS
'Claims a space, unless the current user may compact all.';

CREATE FUNCTION imgdb._end_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT has_function_privilege('imgdb._may_maintain()', 'EXECUTE') THEN
        PERFORM imgdb._release_space(of_space_id);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._end_care(smallint) IS 'Ends what imgdb._begin_care began.';

CREATE FUNCTION imgdb._spaces_to_compact(space_name text)
RETURNS smallint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF space_name IS NOT NULL THEN
        RETURN ARRAY[imgdb._space_id(space_name)];
    ELSIF has_function_privilege('imgdb._may_maintain()', 'EXECUTE') THEN
        RETURN ARRAY(
            SELECT s.space_id FROM imgdb.space AS s
            UNION
            SELECT f.space_id FROM imgdb.fresh_hashes AS f
            ORDER BY 1
        );
    END IF;
    RETURN ARRAY(SELECT s.space_id FROM imgdb.own_space AS s ORDER BY 1);
END
$$;

COMMENT ON FUNCTION imgdb._spaces_to_compact(text) IS
'The space of that name; for NULL all spaces that the current user may compact.';

CREATE FUNCTION imgdb._merge_next(of_space_id smallint, from_prefix bigint, most_hashes integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last bigint;
BEGIN
    PERFORM imgdb._begin_care(of_space_id);
    v_last := imgdb._merge(of_space_id, from_prefix, greatest(most_hashes, 1));
    IF v_last IS NULL OR v_last = 9223372036854775807 THEN
        PERFORM imgdb._count_anew(of_space_id);
        v_last := NULL;
    END IF;
    PERFORM imgdb._end_care(of_space_id);
    RETURN v_last + 1;
END
$$;

COMMENT ON FUNCTION imgdb._merge_next(smallint, bigint, integer) IS
'Merges from a prefix on, and returns where to go on; NULL at the end, after counting anew.';

CREATE FUNCTION imgdb._flush_next(of_space_id smallint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows integer;
BEGIN
    PERFORM imgdb._begin_care(of_space_id);
    v_rows := imgdb._flush_all(of_space_id);
    PERFORM imgdb._end_care(of_space_id);
    -- Distributed buckets show later what was flushed: once is enough.
    RETURN v_rows > 0 AND NOT imgdb._is_distributed();
END
$$;

COMMENT ON FUNCTION imgdb._flush_next(smallint) IS
'Flushes many fresh hashes of a space; true if there may be more.';

CREATE PROCEDURE imgdb.compact(space_name text DEFAULT NULL, batch_size integer DEFAULT 200000)
LANGUAGE plpgsql
AS $$
DECLARE
    v_space_id smallint;
    v_more boolean;
    v_next bigint;
BEGIN
    -- Outside of a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    FOREACH v_space_id IN ARRAY imgdb._spaces_to_compact(space_name) LOOP
        v_more := true;
        WHILE v_more LOOP
            v_more := imgdb._flush_next(v_space_id);
            COMMIT AND CHAIN;
        END LOOP;
        v_next := imgdb._merge_next(v_space_id, NULL, batch_size);
        COMMIT AND CHAIN;
        WHILE v_next IS NOT NULL LOOP
            v_next := imgdb._merge_next(v_space_id, v_next, batch_size);
            COMMIT AND CHAIN;
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE imgdb.compact (text, integer) IS
'Puts fresh hashes into the buckets of a space, or of all, merges the rows of each prefix and '
'drops doubles. Commits after every batch_size hashes: CALL it outside of a transaction. VACUUM '
'gives the space back.';

CREATE FUNCTION imgdb._make_shadow(of_space_id smallint, wanted_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shadow_id smallint;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    -- One that a rebuild left which was stopped.
    DELETE FROM imgdb.tracked_column AS t
    USING imgdb.space AS s
    WHERE s.shadow_of = of_space_id AND t.space_id = s.space_id;
    DELETE FROM imgdb.space AS s WHERE s.shadow_of = of_space_id;
    INSERT INTO imgdb.space (
        name, description, band_masks, default_max_distance, owner_name, shadow_of, claimed_by
    )
    SELECT
        s.name || ' (rebuild)', s.description,
        coalesce(
            wanted_masks,
            -- Masks of somebody's own stay.
            CASE
                WHEN s.band_masks IN (imgdb._masks_for(0), imgdb._masks_for(1000000000))
                    THEN imgdb._masks_for(st.hash_count)
            END,
            s.band_masks
        ),
        s.default_max_distance, s.owner_name, s.space_id, s.claimed_by
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    WHERE s.space_id = of_space_id
    RETURNING space_id INTO v_shadow_id;
    INSERT INTO imgdb.tracked_column (
        table_id, table_number, column_name, column_number, space_id
    )
    SELECT t.table_id, t.table_id, t.column_name, a.attnum, v_shadow_id
    FROM imgdb.tracked_column AS t
    JOIN pg_attribute AS a ON a.attrelid = t.table_id AND a.attname = t.column_name
    WHERE t.space_id = of_space_id;
    RETURN v_shadow_id;
END
$$;

COMMENT ON FUNCTION imgdb._make_shadow(smallint, bigint[]) IS
'Makes the space that will replace a claimed one, tracking the same columns.';

CREATE FUNCTION imgdb._check_shadow(of_space_id smallint, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM imgdb.space AS s WHERE s.space_id = of_shadow_id AND s.shadow_of = of_space_id
    ) THEN
        RAISE EXCEPTION 'another rebuild of the space has begun since this one did' USING
            ERRCODE = '40001',
            HINT = 'Nothing is lost. Wait for the other one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_shadow(smallint, smallint) IS
'Error 40001 unless that space is the shadow of the other.';

CREATE FUNCTION imgdb._use_shadow(of_space_id smallint, of_shadow_id smallint)
RETURNS text[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_keys text[];
    v_name text := (SELECT s.name FROM imgdb.space AS s WHERE s.space_id = of_space_id);
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    PERFORM imgdb._check_shadow(of_space_id, of_shadow_id);
    WITH gone AS (
        DELETE FROM imgdb.tracked_column AS t WHERE t.space_id = of_space_id RETURNING t.track_key
    )
    SELECT array_agg(gone.track_key::text) INTO v_keys FROM gone;
    UPDATE imgdb.space AS s SET shadow_of = NULL WHERE s.space_id = of_shadow_id;
    UPDATE imgdb.watch_list AS w SET space_id = of_shadow_id WHERE w.space_id = of_space_id;
    DELETE FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    UPDATE imgdb.space AS s SET name = v_name WHERE s.space_id = of_shadow_id;
    RETURN coalesce(v_keys, '{}');
END
$$;

COMMENT ON FUNCTION imgdb._use_shadow(smallint, smallint) IS
'Puts the shadow of a claimed space in its place; returns the keys of the columns that fed the old '
'one.';

CREATE FUNCTION imgdb._begin_rebuild(of_space text, wanted_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(of_space);
    v_shadow_id smallint;
BEGIN
    PERFORM imgdb._forget_dropped();
    -- Says what is wrong with a table or a column before anything is made.
    PERFORM imgdb._source_query(v_space_id);
    v_shadow_id := imgdb._make_shadow(v_space_id, wanted_masks);
    PERFORM imgdb._sync_triggers(t.table_id)
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_shadow_id;
    PERFORM imgdb._release_space(s.space_id)
    FROM unnest(ARRAY[v_space_id, v_shadow_id]) AS s (space_id);
    RETURN v_shadow_id;
END
$$;

COMMENT ON FUNCTION imgdb._begin_rebuild(text, bigint[]) IS
'Makes the shadow of a space, which it returns, and has the triggers of its columns feed both. '
'Writers wait until the transaction ends.';

CREATE FUNCTION imgdb._fill_shadow(of_space text, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Before the claim, which waits, and after it.
    PERFORM imgdb._check_shadow(imgdb._space_id(of_space), of_shadow_id);
    PERFORM imgdb._claim_space(s.name) FROM imgdb.space AS s WHERE s.space_id = of_shadow_id;
    PERFORM imgdb._check_shadow(imgdb._space_id(of_space), of_shadow_id);
    PERFORM imgdb._lock_claimed(of_shadow_id);
    PERFORM imgdb._index_source(of_shadow_id, imgdb._source_query(of_shadow_id), false);
    PERFORM imgdb._release_space(of_shadow_id);
END
$$;

COMMENT ON FUNCTION imgdb._fill_shadow(text, smallint) IS
'Indexes in the shadow of a space what its columns hold. Writers go on.';

CREATE FUNCTION imgdb._end_rebuild(of_space text, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(of_space);
    v_keys text[];
    v_table regclass;
BEGIN
    v_keys := imgdb._use_shadow(v_space_id, of_shadow_id);
    FOR v_table IN
        SELECT DISTINCT t.table_id
        FROM imgdb.tracked_column AS t JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE s.name = of_space
    LOOP
        PERFORM imgdb._sync_triggers(v_table, v_keys);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._end_rebuild(text, smallint) IS
'Puts the shadow of a space in its place, and removes the old buckets.';

CREATE PROCEDURE imgdb.rebuild(space_name text, new_masks bigint[] DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    v_shadow_id smallint;
BEGIN
    -- Outside of a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    v_shadow_id := imgdb._begin_rebuild(space_name, new_masks);
    COMMIT AND CHAIN;
    PERFORM imgdb._fill_shadow(space_name, v_shadow_id);
    COMMIT AND CHAIN;
    PERFORM imgdb._end_rebuild(space_name, v_shadow_id);
    COMMIT;
END
$$;

COMMENT ON PROCEDURE imgdb.rebuild (text, bigint []) IS -- noqa: LT01
'Makes the buckets of a space anew from its tracked columns, with new band masks, or those that '
'suit how many hashes there are. Searches and writers go on. CALL it outside of a transaction.';

CREATE FUNCTION imgdb._remove_hashes(of_space_id smallint, gone_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = of_space_id);
    v_gone record;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    SELECT
        array_agg(e.prefix ORDER BY e.prefix, e.hash) AS prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) AS hashes
    INTO v_gone
    FROM (
        SELECT DISTINCT g.hash & band.mask AS prefix, g.hash
        FROM unnest(gone_hashes) AS g (hash), unnest(v_masks) AS band (mask)
    ) AS e;
    -- What is left of a row finds room on its page, which costs no index entry. A row is compared
    -- with those of its prefix, behind the last entry of a smaller one.
    DELETE FROM imgdb.prefix_bucket AS b
    WHERE
        b.space_id = of_space_id
        AND b.prefix = ANY ((SELECT v_gone.prefixes)::bigint[])
        AND b.hashes <@ v_gone.hashes[
            CASE
                WHEN b.prefix = -9223372036854775808 THEN 1
                ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
            END:
            width_bucket(b.prefix, v_gone.prefixes)
        ];
    UPDATE imgdb.prefix_bucket AS b
    SET hashes = imgdb._difference(b.hashes, v_gone.hashes[
        CASE
            WHEN b.prefix = -9223372036854775808 THEN 1
            ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
        END:
        width_bucket(b.prefix, v_gone.prefixes)
    ])
    WHERE
        b.space_id = of_space_id
        AND b.prefix = ANY ((SELECT v_gone.prefixes)::bigint[])
        AND b.hashes && v_gone.hashes[
            CASE
                WHEN b.prefix = -9223372036854775808 THEN 1
                ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
            END:
            width_bucket(b.prefix, v_gone.prefixes)
        ];
    PERFORM imgdb._count_in(of_space_id, -cardinality(gone_hashes));
END
$$;

COMMENT ON FUNCTION imgdb._remove_hashes(smallint, bigint[]) IS
'Removes hashes from all buckets of a claimed space.';

CREATE FUNCTION imgdb._put_back(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    INSERT INTO imgdb.fresh_hashes (space_id, hashes)
    SELECT for_space_id, new_hashes[first:first + 199]
    FROM generate_series(1, cardinality(new_hashes), 200) AS first;
END
$$;

COMMENT ON FUNCTION imgdb._put_back(smallint, bigint[]) IS
'Puts hashes into the fresh level of a claimed space.';

CREATE FUNCTION imgdb._drop_if_stale(of_space_id smallint, source_query text, stale_hashes bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $$
DECLARE
    v_stale bigint[] := imgdb._difference(stale_hashes, NULL);
    v_back bigint[];
BEGIN
    IF v_stale IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM imgdb._remove_hashes(of_space_id, v_stale);
    EXECUTE format(
        'SELECT array_agg(DISTINCT s.hash) FROM (%s) AS s (hash) WHERE s.hash = ANY ($1)',
        source_query
    ) INTO v_back USING v_stale;
    IF v_back IS NOT NULL THEN
        PERFORM imgdb._put_back(of_space_id, v_back);
    END IF;
    RETURN cardinality(v_stale) - coalesce(cardinality(v_back), 0);
END
$$;

COMMENT ON FUNCTION imgdb._drop_if_stale(smallint, text, bigint[]) IS
'Removes hashes from the buckets of a claimed space, and puts those back that the query still '
'gives.';

CREATE FUNCTION imgdb.drop_stale(space_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_source text;
    v_part bigint[];
    v_indexed bigint[];
    v_stale bigint[] := '{}';
    v_after bigint;
    v_to bigint;
    v_count bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'stale hashes cannot be dropped in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    PERFORM imgdb._forget_dropped();
    PERFORM imgdb._lock_claimed(v_space_id);
    v_source := imgdb._source_query(v_space_id);
    -- Each part of the tracked hashes ends a range of the buckets; the last range has no end.
    FOR v_part IN EXECUTE
        format(
            '(%s) UNION ALL SELECT NULL::bigint[]', imgdb._ordered_parts_query(v_source, v_mask)
        )
    LOOP
        v_to := v_part[cardinality(v_part)];
        LOOP
            v_indexed := imgdb._indexed_between(v_space_id, v_mask, v_after, v_to);
            EXIT WHEN v_indexed IS NULL;
            v_after := v_indexed[cardinality(v_indexed)];
            v_stale := v_stale || imgdb._difference(v_indexed, v_part);
            -- Many at once: hashes that are neighbours here are strewn over the other bands, and
            -- each version of a row stays until the transaction ends.
            IF cardinality(v_stale) >= 1000000 THEN
                v_count := v_count + imgdb._drop_if_stale(v_space_id, v_source, v_stale);
                v_stale := '{}';
            END IF;
            EXIT WHEN cardinality(v_indexed) < 200000;
        END LOOP;
        v_after := v_to;
    END LOOP;
    v_count := v_count + imgdb._drop_if_stale(v_space_id, v_source, v_stale);
    PERFORM imgdb._release_space(v_space_id);
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.drop_stale(text) IS
'Removes hashes that no tracked column holds any more from a space of the current user''s, and '
'returns how many. Fresh ones stay until they are flushed.';

CREATE OR REPLACE FUNCTION imgdb._bucket_rows(of_space_id smallint)
RETURNS TABLE (row_count bigint, needed_count bigint, bucket_count bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        coalesce(sum(bucket.row_count), 0)::bigint,
        coalesce(sum(ceil(bucket.hash_count / 200.0)), 0)::bigint,
        count(*)
    FROM (
        -- The ordered aggregate makes PostgreSQL sort (imgdb._add_rows says why).
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
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT s.name
    FROM imgdb.space AS s
    CROSS JOIN LATERAL imgdb._bucket_rows(s.space_id) AS filled
    WHERE
        filled.row_count >= least_rows
        AND filled.row_count >= least_fragmentation * filled.needed_count
        OR (
            SELECT count(*) > 500 OR sum(cardinality(f.hashes)) > 2000
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = s.space_id
        )
    ORDER BY s.space_id;
END
$$;

COMMENT ON FUNCTION imgdb._fragmented_spaces(bigint, double precision) IS
'The spaces of at least so many bucket rows, and so many for each that is needed, and those with '
'many fresh hashes.';

CREATE FUNCTION imgdb._bucket_bytes()
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bytes bigint;
BEGIN
    IF imgdb._is_distributed() THEN
        EXECUTE 'SELECT pg_catalog.citus_total_relation_size(''imgdb.prefix_bucket'')' INTO v_bytes;
    ELSE
        v_bytes := pg_total_relation_size('imgdb.prefix_bucket');
    END IF;
    RETURN v_bytes;
END
$$;

COMMENT ON FUNCTION imgdb._bucket_bytes() IS
'Bytes of the buckets of all spaces, with their index.';

CREATE FUNCTION imgdb.space_statistics(space_name text)
RETURNS TABLE (
    distinct_hashes bigint,
    fresh_hashes bigint,
    bucket_rows bigint,
    buckets bigint,
    fragmentation double precision,
    bytes bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
    v_fresh_count bigint;
    v_row_count bigint := (SELECT count(*) FROM imgdb.prefix_bucket);
BEGIN
    SELECT array_agg(DISTINCT entry.hash), count(*)
    INTO v_fresh, v_fresh_count
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    v_fresh := imgdb._difference(v_fresh, imgdb._indexed_among(v_space_id, v_mask, v_fresh));
    RETURN QUERY
    SELECT
        coalesce(cardinality(v_fresh), 0) + (
            -- Sorted on disk where there are many.
            SELECT count(DISTINCT entry.hash)
            FROM (
                SELECT bucket.prefix, unnest(bucket.hashes) AS hash
                FROM imgdb.prefix_bucket AS bucket
                WHERE bucket.space_id = v_space_id AND bucket.prefix & v_mask = bucket.prefix
            ) AS entry
            WHERE entry.hash & v_mask = entry.prefix
        ),
        v_fresh_count,
        filled.row_count,
        filled.bucket_count,
        coalesce(filled.row_count / nullif(filled.needed_count, 0)::double precision, 1),
        (
            imgdb._bucket_bytes()
            * coalesce(filled.row_count::double precision / nullif(v_row_count, 0), 0)
        )::bigint
    FROM imgdb._bucket_rows(v_space_id) AS filled;
END
$$;

COMMENT ON FUNCTION imgdb.space_statistics(text) IS
'Distinct hashes, fresh ones (a hash may be fresh several times), bucket rows, buckets, '
'fragmentation (rows per row needed) and bytes of a space: its share, by rows, of the table and '
'index that all spaces share. Reads all buckets; imgdb.space_health does not.';

CREATE OR REPLACE FUNCTION imgdb.fullest_buckets(space_name text, bucket_limit integer)
RETURNS TABLE (bucket_prefix bigint, hash_count bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
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

CREATE VIEW imgdb.space_health AS
WITH fresh AS (
    SELECT
        f.space_id,
        count(*) AS fresh_rows,
        sum(cardinality(f.hashes)) AS fresh_hashes
    FROM imgdb.fresh_hashes AS f
    GROUP BY f.space_id
),

tracked AS (
    SELECT
        t.space_id,
        count(*) AS tracked_columns
    FROM imgdb.tracked_column AS t
    GROUP BY t.space_id
)

SELECT
    s.name,
    s.owner_name,
    st.hash_count,
    st.scan_from,
    st.flushed_at,
    st.merged_at,
    cardinality(s.band_masks) AS bands,
    coalesce(fresh.fresh_rows, 0) AS fresh_rows,
    coalesce(fresh.fresh_hashes, 0) AS fresh_hashes,
    coalesce(tracked.tracked_columns, 0) AS tracked_columns,
    s.shadow_of IS NOT NULL AS is_being_rebuilt
FROM imgdb.space AS s
INNER JOIN imgdb.space_state AS st ON s.space_id = st.space_id
LEFT JOIN fresh ON s.space_id = fresh.space_id
LEFT JOIN tracked ON s.space_id = tracked.space_id;

COMMENT ON VIEW imgdb.space_health IS
'One row a space, for a monitor: owner, hashes in the buckets (nearly), fresh rows and hashes, '
'the distance from which on a search reads every hash, the last flush and compact, and how many '
'columns feed it. Reads no bucket.';

COMMENT ON COLUMN imgdb.space_health.name IS 'The space.';

COMMENT ON COLUMN imgdb.space_health.owner_name IS 'The role that looks after it.';

COMMENT ON COLUMN imgdb.space_health.bands IS 'How many bands its hashes are split into.';

COMMENT ON COLUMN imgdb.space_health.hash_count IS 'Hashes in its buckets, nearly.';

COMMENT ON COLUMN imgdb.space_health.fresh_rows IS
'Rows of its fresh level; thousands of them mean that nobody flushes.';

COMMENT ON COLUMN imgdb.space_health.fresh_hashes IS 'Hashes in its fresh level.';

COMMENT ON COLUMN imgdb.space_health.scan_from IS
'The smallest distance at which a search reads every hash.';

COMMENT ON COLUMN imgdb.space_health.flushed_at IS 'When fresh hashes were last put into buckets.';

COMMENT ON COLUMN imgdb.space_health.merged_at IS 'When the last compact was done.';

COMMENT ON COLUMN imgdb.space_health.tracked_columns IS 'How many columns feed it.';

COMMENT ON COLUMN imgdb.space_health.is_being_rebuilt IS
'Whether it is the shadow that a rebuild fills.';

CREATE FUNCTION imgdb._shard_count()
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer := 0;
BEGIN
    IF imgdb._is_distributed() THEN
        EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_shard '
        'WHERE logicalrelid = ''imgdb.prefix_bucket''::regclass' INTO v_count;
    END IF;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._shard_count() IS
'Over how many shards the buckets are distributed (Citus); 0: they are all here.';

CREATE FUNCTION imgdb.distribute(shard_count integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shards integer := imgdb._shard_count();
    v_workers integer;
BEGIN
    IF shard_count IS NULL OR shard_count NOT BETWEEN 1 AND 32 THEN
        RAISE EXCEPTION 'shard_count is %, not between 1 and 32',
            coalesce(shard_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Two to four for each worker are enough; more than 32 would be uneven.';
    ELSIF v_shards = shard_count THEN
        RETURN;
    ELSIF v_shards > 0 THEN
        RAISE EXCEPTION 'the buckets are distributed over % shards already', v_shards USING
            ERRCODE = 'IM012',
            HINT = 'imgdb.undistribute brings them back; then distribute them anew.';
    ELSIF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        RAISE EXCEPTION 'this database has no Citus' USING
            ERRCODE = 'IM012',
            HINT = 'CREATE EXTENSION citus here and on each worker, then citus_add_node(host, port).';
    END IF;
    EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_node '
    'WHERE isactive AND shouldhaveshards AND noderole = ''primary''' INTO v_workers;
    IF v_workers = 0 THEN
        RAISE EXCEPTION 'there is no worker that may hold shards' USING
            ERRCODE = 'IM012',
            HINT = 'SELECT citus_add_node(host, port) on the coordinator adds one.';
    END IF;
    -- Nodes that came after imgdb lack what their part of a search or of a care calls.
    EXECUTE 'SELECT pg_catalog.create_distributed_function(''imgdb.distance(bigint,bigint)'')';
    EXECUTE 'SELECT pg_catalog.create_distributed_function(''imgdb._difference(bigint[],bigint[])'')';
    EXECUTE 'SELECT pg_catalog.create_distributed_table(''imgdb.prefix_bucket'', ''prefix'', '
    'shard_count => $1, colocate_with => ''none'')' USING shard_count;
    EXECUTE 'SELECT pg_catalog.truncate_local_data_after_distributing_table(''imgdb.prefix_bucket'')';
END
$$;

COMMENT ON FUNCTION imgdb.distribute(integer) IS
'Puts the buckets of all spaces on the workers of a Citus cluster, in 1 to 32 shards by prefix. '
'Writers wait. Asked again for as many it changes nothing. For the owner of schema imgdb.';

CREATE FUNCTION imgdb.undistribute()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_command text;
    v_commands text[];
BEGIN
    IF NOT imgdb._is_distributed() THEN
        RETURN;
    END IF;
    -- Citus makes the table anew, without its comments.
    SELECT array_agg(
        format(
            'COMMENT ON %s IS %L',
            CASE
                WHEN d.objsubid = 0 THEN 'TABLE imgdb.prefix_bucket'
                ELSE format('COLUMN imgdb.prefix_bucket.%I', a.attname)
            END,
            d.description
        )
    )
    INTO v_commands
    FROM pg_description AS d
    LEFT JOIN pg_attribute AS a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
    WHERE d.objoid = 'imgdb.prefix_bucket'::regclass AND d.classoid = 'pg_class'::regclass;
    EXECUTE 'SELECT pg_catalog.undistribute_table(''imgdb.prefix_bucket'')';
    FOREACH v_command IN ARRAY v_commands LOOP
        EXECUTE v_command;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.undistribute() IS
'Brings the buckets of all spaces back from the workers of a Citus cluster. Writers wait. For the '
'owner of schema imgdb.';

CREATE OR REPLACE FUNCTION imgdb._collection_id(collection_name text)
RETURNS integer
LANGUAGE plpgsql STABLE STRICT
SET search_path = pg_catalog, pg_temp
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
'The identity of a collection; error IM011 if there is none of that name. NULL, which stands for '
'all collections, stays NULL.';

CREATE FUNCTION imgdb._known_members(
    for_collection_id integer,
    archive_path text,
    size bigint,
    modified timestamptz,
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (images bigint, failed_paths text[], failed_reasons text[], failed_details text[])
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
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
        -- It was gone for a while, and its members with it; or those that it had are elsewhere.
        AND NOT EXISTS (
            SELECT FROM imgdb.image AS i
            WHERE
                i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                AND i.missing_since > a.read_at
        )
        AND (
            NOT need_pdq
            OR NOT EXISTS (
                SELECT FROM imgdb.image AS i
                WHERE
                    i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                    AND i.missing_since IS NULL
                    AND NOT EXISTS (
                        SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id
                    )
            )
        )
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

COMMENT ON FUNCTION imgdb._known_members(integer, text, bigint, timestamptz, text, boolean) IS
'How many images an archive gave and which of its members failed; no row unless it was read, has '
'not changed or been gone since, and its images have the regions and PDQ hashes that are needed.';

CREATE OR REPLACE FUNCTION imgdb._store_archives(
    for_collection_id integer, paths text[], sizes bigint[], times timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION imgdb._near_images(rule_hashes name[], half_distance integer)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_queries constant text :=
        'unnest($2, $3) WITH ORDINALITY AS q (hash, second, query_number)';
    v_row text := 'i.image_id, i.collection_id, i.path, i.flat, i.sha256, i.missing_since, '
        || pg_catalog.format('i.%I AS hash, ', rule_hashes[1])
        || coalesce('i.' || pg_catalog.quote_ident(rule_hashes[2]), 'NULL::bigint') || ' AS second';
    v_distance text := imgdb._distance_to_query(rule_hashes);
    v_first text := half_distance;
    v_second text := half_distance;
    v_parts text[];
BEGIN
    IF half_distance > 16 THEN
        RETURN pg_catalog.format(
            'SELECT %1$s, near.distance, near.query_number FROM imgdb.image AS i '
            'CROSS JOIN LATERAL (SELECT %2$s AS distance, q.query_number::integer FROM %3$s '
            'ORDER BY 1, 2 LIMIT 1) AS near WHERE near.distance <= $1',
            v_row, v_distance, v_queries
        );
    END IF;
    IF
        rule_hashes[2] = 'dhash' AND half_distance <= 10
        -- EXISTS would read the table where statistics say that there are many.
        AND (SELECT pg_catalog.min(i.dhash) FROM imgdb.image AS i WHERE i.phash IS NULL) IS NULL
    THEN
        v_first := pg_catalog.format(
            'CASE WHEN imgdb.distance(q.second, 0) <= %1$s '
            'THEN $1 - imgdb.distance(q.second, 0) ELSE %1$s END',
            half_distance
        );
        v_second := pg_catalog.format(
            'CASE WHEN q.hash IS NULL THEN %1$s '
            'ELSE least(imgdb.distance(q.second, 0) - 1, %1$s) END',
            half_distance
        );
    END IF;
    FOR v_place IN 1..pg_catalog.cardinality(rule_hashes) LOOP
        v_parts[v_place] := pg_catalog.format(
            'SELECT %1$s, %2$s AS distance, q.query_number::integer '
            'FROM (SELECT * FROM %3$s WHERE %4$s IS NOT NULL AND %6$s >= 0) AS q '
            'CROSS JOIN LATERAL imgdb.within(%5$L, query_hash => %4$s, max_distance => %6$s) AS m '
            'JOIN imgdb.image AS i ON i.%5$I = m.hash',
            v_row, v_distance, v_queries,
            CASE v_place WHEN 1 THEN 'q.hash' ELSE 'q.second' END, rule_hashes[v_place],
            CASE v_place WHEN 1 THEN v_first ELSE v_second END
        );
    END LOOP;
    RETURN 'SELECT DISTINCT ON (n.image_id) n.* FROM ('
        || pg_catalog.array_to_string(v_parts, ' UNION ALL ')
        || ') AS n WHERE n.distance <= $1 ORDER BY n.image_id, n.distance, n.query_number';
END
$$;

COMMENT ON FUNCTION imgdb._near_images(name[], integer) IS
'The statement that finds the images within $1 of the queries $2 (their first hashes) and $3 '
'(their second ones) by a rule of these hashes, of which one at least is within half_distance: '
'that is $1 for a rule of one hash.';

CREATE FUNCTION imgdb._distance_to_query(rule_hashes name[])
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN pg_catalog.format(
        'imgdb._rule_distance(i.%I, %s, q.hash, q.second, %L)',
        rule_hashes[1],
        coalesce('i.' || pg_catalog.quote_ident(rule_hashes[2]), 'NULL::bigint'),
        rule_hashes[2] IS NOT NULL
    );
END
$$;

COMMENT ON FUNCTION imgdb._distance_to_query(name[]) IS
'The expression for the distance of imgdb.image AS i to a query q (hash, second) by a rule.';

CREATE FUNCTION imgdb._found_images(
    space_name text,
    query_hashes bigint[],
    query_seconds bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean,
    include_missing boolean
)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    distance integer,
    query_number integer,
    same_bytes boolean,
    missing boolean,
    images bigint
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_hashes);
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_second text := coalesce('i.' || pg_catalog.quote_ident(v_hashes[2]), 'NULL::bigint');
    v_search text :=
        'SELECT o.image_id, o.collection, o.path, o.distance, o.query_number, o.same_bytes, '
        'o.missing, CASE WHEN o.held > $9 THEN o.held ELSE 1 END '
        'FROM (SELECT f.*, %2$s AS held, %3$s AS place FROM ('
        'SELECT n.image_id, c.name AS collection, n.path, n.hash, n.second, n.distance, '
        'n.query_number, false AS same_bytes, n.missing_since IS NOT NULL AS missing '
        'FROM (%1$s) AS n '
        'JOIN imgdb.collection AS c ON c.collection_id = n.collection_id '
        'WHERE ($4 IS NULL OR n.collection_id = $4) AND ($6 OR NOT n.flat) '
        'AND ($7 IS NULL OR n.image_id <> ALL ($7)) %4$s) AS f '
        'WHERE $10 OR NOT f.missing) AS o '
        'WHERE o.place = 1 OR o.held <= $9 '
        'ORDER BY o.missing, o.same_bytes DESC, o.distance, o.path, o.image_id LIMIT $5';
    v_same_bytes text := '';
    v_held text := '1::bigint';
    v_place text := '1';
    v_asked_for bigint[];
    v_different bigint[];
    v_max_distance integer := max_distance;
    v_found bigint;
BEGIN
    PERFORM imgdb._check_rule_distance(v_count, max_distance);
    IF match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', match_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all matches.';
    END IF;
    IF EXISTS (SELECT 1 FROM imgdb.not_duplicate) THEN
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.array_agg(DISTINCT i.image_id) '
            'FROM unnest($1, $2) AS q (hash, second) '
            'JOIN imgdb.image AS i ON i.%I = q.hash AND %s IS NOT DISTINCT FROM q.second',
            v_hashes[1], v_second
        ) INTO v_asked_for USING query_hashes, query_seconds;
        v_different := imgdb._different_from(v_asked_for) || imgdb._different_from(
            ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
        );
    END IF;
    IF query_sha256 IS NOT NULL THEN
        -- They are found even where the row lacks the hash, or has one made by other rules.
        v_same_bytes := pg_catalog.format(
            'AND n.sha256 IS DISTINCT FROM $8 UNION ALL '
            'SELECT i.image_id, c.name, i.path, i.%I, %s, %s, 1, true, '
            'i.missing_since IS NOT NULL '
            'FROM (SELECT ($2)[1] AS hash, ($3)[1] AS second) AS q '
            'CROSS JOIN imgdb.image AS i '
            'JOIN imgdb.collection AS c ON c.collection_id = i.collection_id '
            'WHERE i.sha256 = $8 AND ($4 IS NULL OR i.collection_id = $4)',
            v_hashes[1], v_second, imgdb._distance_to_query(v_hashes)
        );
    END IF;
    IF flood_limit IS NOT NULL THEN
        v_held := 'CASE WHEN pg_catalog.num_nonnulls(f.hash, f.second) = 0 THEN 1 '
            'ELSE pg_catalog.count(*) OVER (PARTITION BY f.hash, f.second) END';
        v_place := 'pg_catalog.row_number() OVER '
            '(PARTITION BY f.hash, f.second '
            'ORDER BY f.missing, f.same_bytes DESC, f.path, f.image_id)';
    END IF;
    -- The nearest few are mostly within a distance that needs not read every row.
    IF match_limit IS NOT NULL AND max_distance / v_count > 16 THEN
        FOREACH v_max_distance IN ARRAY ARRAY[4, 8, 12, max_distance] LOOP
            EXIT WHEN v_max_distance = max_distance;
            v_max_distance := v_max_distance * v_count;
            EXECUTE 'SELECT pg_catalog.count(*) FROM (' || pg_catalog.format(
                v_search, imgdb._near_images(v_hashes, v_max_distance / v_count), v_held, v_place,
                v_same_bytes
            ) || ') AS line (image_id, collection, path, distance, number, same, missing, images) '
                'WHERE NOT line.missing'
            INTO v_found
            USING v_max_distance, query_hashes, query_seconds, v_collection_id, match_limit,
                include_flat, v_different, query_sha256, flood_limit, include_missing;
            EXIT WHEN v_found = match_limit;
        END LOOP;
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format(
        v_search, imgdb._near_images(v_hashes, v_max_distance / v_count), v_held, v_place,
        v_same_bytes
    )
    USING v_max_distance, query_hashes, query_seconds, v_collection_id, match_limit, include_flat,
        v_different, query_sha256, flood_limit, include_missing;
END
$$;

COMMENT ON FUNCTION imgdb._found_images(
    text, bigint[], bigint[], bytea, integer, text, integer, integer, boolean, boolean
) IS
'Images of the same bytes, then those within max_distance of any query, each with the number of '
'the query that it is nearest to; those whose files are gone come last, in the same order, or not '
'at all. query_hashes has the hashes of the queries, query_seconds those '
'that a rule adds to them. With a flood_limit one image stands for all of a hash that more images '
'have; images says for how many.';

CREATE FUNCTION imgdb.similar_images(
    space_name text DEFAULT 'phash+dhash',
    query_hash bigint DEFAULT NULL,
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    include_flat boolean DEFAULT FALSE,
    query_hashes bigint[] DEFAULT NULL
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_hashes);
    v_given bigint[] := coalesce(query_hashes, ARRAY[query_hash]);
BEGIN
    IF pg_catalog.cardinality(v_given) <> v_count
        OR pg_catalog.num_nonnulls(VARIADIC v_given) = 0
        OR pg_catalog.num_nonnulls(query_hash, query_hashes) > 1 THEN
        RAISE EXCEPTION '% takes % of a picture', space_name,
            CASE v_count WHEN 1 THEN 'one hash' ELSE v_count || ' hashes' END USING
            ERRCODE = 'IM012',
            HINT = CASE
                WHEN v_count = 1 THEN 'Give query_hash.'
                ELSE 'Give query_hashes => ARRAY['
                    || pg_catalog.array_to_string(v_hashes, ', ') || '].'
            END;
    END IF;
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb._found_images(
        space_name, v_given[:1], v_given[2:2], NULL,
        coalesce(max_distance, imgdb._default_distance(space_name, collection_name)),
        collection_name, match_limit, NULL, include_flat, true
    ) AS f
    ORDER BY f.missing, f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.similar_images(
    text, bigint, integer, text, integer, boolean, bigint[]
) IS
'The images within max_distance of a picture, nearest first, then by path, those whose files are '
'gone last; flat ones if asked for. '
'A space is asked with query_hash, rule phash+dhash with query_hashes: the phash, then the dhash. '
'Without a distance that of the collection counts, else that of the rule or space.';

CREATE FUNCTION imgdb._matches(
    space_name text,
    query_ahashes bigint[],
    query_dhashes bigint[],
    query_phashes bigint[],
    query_whashes bigint[],
    query_pdqs bigint[],
    query_orientations text[],
    query_colours bytea[],
    query_relations text[],
    query_widths integer[],
    query_heights integer[],
    region_counts integer[],
    region_boxes integer[],
    region_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean,
    include_missing boolean,
    only_same_colours boolean
)
RETURNS TABLE (
    path text,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    orientation text,
    relation text,
    votes integer,
    same_bytes boolean,
    images bigint,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz,
    colour_difference double precision,
    same_colours boolean
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_is_by_pdq boolean := imgdb._is_by_pdq(space_name);
    v_limit integer := CASE WHEN NOT only_same_colours THEN match_limit END;
    v_flood integer := CASE WHEN NOT only_same_colours THEN flood_limit END;
    v_hashes name[] := CASE WHEN NOT v_is_by_pdq THEN imgdb._rule_hashes(space_name) END;
BEGIN
    -- What it calls does so, too; but a plan that meets an empty table first calls nothing.
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    WITH whole AS MATERIALIZED (
        SELECT f.image_id, f.distance, f.query_number, f.same_bytes, f.images
        FROM imgdb._found_images(
            space_name,
            CASE v_hashes[1]
                WHEN 'ahash' THEN query_ahashes
                WHEN 'dhash' THEN query_dhashes
                WHEN 'phash' THEN query_phashes
                WHEN 'whash' THEN query_whashes
            END,
            -- No other rule has a second hash.
            CASE WHEN pg_catalog.cardinality(v_hashes) = 2 THEN query_dhashes END,
            query_sha256,
            coalesce(max_distance, imgdb._default_distance(space_name, collection_name)),
            collection_name,
            v_limit,
            v_flood,
            include_flat,
            include_missing
        ) AS f
        WHERE NOT v_is_by_pdq
        UNION ALL
        SELECT f.image_id, f.distance, f.query_number, f.same_bytes, f.images
        FROM imgdb._found_by_pdq(
            space_name, query_pdqs, query_phashes, query_sha256, max_distance, collection_name,
            v_limit, v_flood, include_flat, include_missing
        ) AS f
        WHERE v_is_by_pdq
    ),
    shared AS MATERIALIZED (
        SELECT DISTINCT ON (p.image_id) p.image_id, p.relation, p.votes, l.query_number
        FROM (
            SELECT
                c.query_number::integer AS query_number,
                c.regions,
                pg_catalog.sum(c.regions) OVER (ORDER BY c.query_number)::integer AS last
            FROM unnest(region_counts) WITH ORDINALITY AS c (regions, query_number)
        ) AS l
        CROSS JOIN LATERAL imgdb._region_matches(
            query_widths[l.query_number],
            query_heights[l.query_number],
            region_boxes[4 * (l.last - l.regions) + 1:4 * l.last],
            region_hashes[l.last - l.regions + 1:l.last],
            query_sha256,
            NULL,
            NULL,
            0.1,
            collection_name,
            NULL
        ) AS p
        WHERE l.regions > 0 AND (include_missing OR p.missing_since IS NULL)
        ORDER BY p.image_id, p.votes DESC, l.query_number
    ),
    found AS (
        SELECT
            w.distance,
            s.votes,
            coalesce(w.same_bytes, false) AS same_bytes,
            coalesce(w.images, 1) AS images,
            coalesce(w.query_number, s.query_number) AS query_number,
            CASE
                WHEN w.same_bytes THEN 'same'
                ELSE coalesce(s.relation, query_relations[w.query_number])
            END AS relation,
            coalesce(w.image_id, s.image_id) AS image_id,
            query_colours[w.query_number] AS asked_colours
        FROM whole AS w
        FULL JOIN shared AS s ON s.image_id = w.image_id
    )
    SELECT
        i.path,
        f.distance,
        imgdb.distance(i.ahash, query_ahashes[f.query_number]),
        imgdb.distance(i.dhash, query_dhashes[f.query_number]),
        imgdb.distance(i.phash, query_phashes[f.query_number]),
        imgdb.distance(i.whash, query_whashes[f.query_number]),
        query_orientations[f.query_number],
        f.relation,
        f.votes,
        f.same_bytes,
        f.images,
        c.name,
        f.image_id,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since,
        imgdb.colour_difference(i.colours, f.asked_colours),
        imgdb.same_colours(i.colours, f.asked_colours)
    FROM found AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE
        NOT only_same_colours
        OR f.same_bytes
        OR imgdb.same_colours(i.colours, f.asked_colours)
    ORDER BY
        i.missing_since IS NOT NULL, f.same_bytes DESC, f.distance, f.votes DESC NULLS LAST, i.path,
        f.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._matches(
    text, bigint[], bigint[], bigint[], bigint[], bigint[], text[], bytea[], text[], integer[],
    integer[], integer[], integer[], bigint[], bytea, integer, text, integer, integer, boolean,
    boolean, boolean
) IS
'Images like a picture, or those of the same colours, with the distances in all hashes that each '
'has, the difference of colours and what is known of each file. Files of the same bytes come '
'first, then the nearest, then what only shares regions (distance is NULL there), most votes '
'first; what is gone comes last. NULL as max_distance stands for the default of the collection, or '
'of the rule, NULL as flood_limit for none.';

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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
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

CREATE FUNCTION imgdb._forget_pdq()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.image_pdq AS p WHERE p.image_id = NEW.image_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_pdq() IS 'Forgets the PDQ hash of a file that has changed.';

CREATE TRIGGER image_forget_pdq
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_pdq();

CREATE FUNCTION imgdb._rule_hashes(space_name text)
RETURNS name[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM imgdb.rule AS r WHERE r.name = space_name) THEN
        RETURN pg_catalog.string_to_array(space_name, '+')::name[];
    END IF;
    RETURN ARRAY[imgdb._image_column(space_name)];
END
$$;

COMMENT ON FUNCTION imgdb._rule_hashes(text) IS
'The columns of imgdb.image that a rule adds up: two, or that of a space; error IM001 or IM009.';

CREATE FUNCTION imgdb._default_distance(space_name text, collection_name text)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT o.default_max_distance
            FROM imgdb.collection_rule AS o
            JOIN imgdb.collection AS c ON c.collection_id = o.collection_id
            WHERE c.name = collection_name AND o.rule_name = space_name
        ),
        (SELECT r.default_max_distance FROM imgdb.rule AS r WHERE r.name = space_name),
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
END
$$;

COMMENT ON FUNCTION imgdb._default_distance(text, text) IS
'The distance that counts as alike where nobody says otherwise: that of the collection, else that '
'of the rule or space.';

CREATE FUNCTION imgdb._check_rule_distance(rule_size integer, max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF rule_size = 1 THEN
        PERFORM imgdb._check_distance(max_distance);
    ELSIF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 64 * rule_size THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and %',
            coalesce(max_distance::text, 'NULL'), 64 * rule_size USING
            ERRCODE = 'IM002',
            HINT = 'It is a sum: the differing bits of all hashes of the rule.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_rule_distance(integer, integer) IS
'Error IM002 unless max_distance is one of a hash (0 to 64), or of a sum of so many.';

CREATE FUNCTION imgdb._rule_distance(
    hash_a bigint, second_a bigint, hash_b bigint, second_b bigint, is_sum boolean
)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN is_sum
        THEN coalesce(
            imgdb.distance(hash_a, hash_b) + imgdb.distance(second_a, second_b),
            2 * imgdb.distance(hash_a, hash_b),
            2 * imgdb.distance(second_a, second_b)
        )
    ELSE imgdb.distance(hash_a, hash_b)
END;

COMMENT ON FUNCTION imgdb._rule_distance(bigint, bigint, bigint, bigint, boolean) IS
'The distance of two images by a rule: of their hashes, or the sum of that and of their second '
'ones; where one of the four is NULL, twice the distance of the others.';

CREATE FUNCTION imgdb._collections()
RETURNS TABLE (name text, images bigint, missing bigint, failures bigint, bytes bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        c.name,
        coalesce(i.images, 0),
        coalesce(i.missing, 0),
        coalesce(f.failures, 0),
        coalesce(i.bytes, 0)
    FROM imgdb.collection AS c
    LEFT JOIN (
        SELECT
            g.collection_id,
            count(*) AS images,
            count(g.missing_since) AS missing,
            sum(g.byte_size)::bigint AS bytes
        FROM imgdb.image AS g
        GROUP BY g.collection_id
    ) AS i ON i.collection_id = c.collection_id
    LEFT JOIN (
        SELECT
            g.collection_id,
            count(*) AS failures
        FROM imgdb.ingest_failure AS g
        GROUP BY g.collection_id
    ) AS f ON f.collection_id = c.collection_id
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._collections() IS
'The collections by name: their images, those of them whose files are gone, the files that failed, '
'and the bytes of all files.';

CREATE FUNCTION imgdb._rename_collection(collection_name text, new_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE imgdb.collection SET name = new_name
    WHERE collection_id = imgdb._collection_id(collection_name);
END
$$;

COMMENT ON FUNCTION imgdb._rename_collection(text, text) IS
'Gives a collection another name; error IM011 if there is none of that name.';

CREATE FUNCTION imgdb._remove_collection(collection_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_images bigint;
BEGIN
    PERFORM FROM imgdb.collection AS c WHERE c.collection_id = v_collection_id FOR UPDATE;
    DELETE FROM imgdb.archive AS a WHERE a.collection_id = v_collection_id;
    DELETE FROM imgdb.ingest_failure AS f WHERE f.collection_id = v_collection_id;
    DELETE FROM imgdb.image AS i WHERE i.collection_id = v_collection_id;
    GET DIAGNOSTICS v_images = ROW_COUNT;
    DELETE FROM imgdb.collection AS c WHERE c.collection_id = v_collection_id;
    RETURN v_images;
END
$$;

COMMENT ON FUNCTION imgdb._remove_collection(text) IS
'Removes a collection with its images, failures, archives, regions and marks, and tells how many '
'images these were; error IM011 if there is none of that name. No file is touched.';

CREATE FUNCTION imgdb._copies(new_digests bytea[], new_phashes bigint[])
RETURNS TABLE (copies bigint, same_hash bigint, groups bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        (
            SELECT coalesce(sum(g.held - 1), 0)::bigint
            FROM (
                SELECT count(*) AS held
                FROM imgdb.image AS i
                WHERE i.sha256 IS NOT NULL AND (new_digests IS NULL OR i.sha256 = ANY (new_digests))
                GROUP BY i.sha256
                HAVING count(*) > 1
            ) AS g
        ),
        coalesce(sum(h.held), 0)::bigint,
        count(*)
    FROM (
        SELECT count(*) AS held
        FROM imgdb.image AS i
        WHERE i.phash IS NOT NULL AND (new_phashes IS NULL OR i.phash = ANY (new_phashes))
        GROUP BY i.phash
        HAVING count(*) > 1
    ) AS h;
END
$$;

COMMENT ON FUNCTION imgdb._copies(bytea[], bigint[]) IS
'Of the images with these digests and hashes, or of all: how many have the bytes of another one, '
'how many share their phash with others, and how many groups these are.';

CREATE FUNCTION imgdb._check_pdq(pdq_words bigint[], max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF num_nulls(pdq_words[1], pdq_words[2], pdq_words[3], pdq_words[4]) > 0
        OR cardinality(pdq_words) <> 4
    THEN
        RAISE EXCEPTION 'a PDQ hash is four words, not %', coalesce(pdq_words::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'imgdb.pdq_from_hex makes them of 64 hex digits.';
    END IF;
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 256 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 256',
            coalesce(max_distance::text, 'NULL') USING
            ERRCODE = 'IM002',
            HINT = 'It counts the differing bits of two PDQ hashes; 31 is the usual choice.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_pdq(bigint[], integer) IS
'Error IM012 unless it is a PDQ hash, IM002 unless 0 <= max_distance <= 256.';

CREATE FUNCTION imgdb.scan_pdq(query_pdq bigint[], max_distance integer)
RETURNS TABLE (image_id bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._check_pdq(query_pdq, max_distance);
    RETURN QUERY
    SELECT near.image_id, near.distance
    FROM (
        SELECT
            p.image_id,
            imgdb.distance(p.pdq_1, query_pdq[1]) + imgdb.distance(p.pdq_2, query_pdq[2])
            + imgdb.distance(p.pdq_3, query_pdq[3]) + imgdb.distance(p.pdq_4, query_pdq[4])
            AS distance
        FROM imgdb.image_pdq AS p
    ) AS near
    WHERE near.distance <= max_distance
    ORDER BY near.distance, near.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.scan_pdq(bigint[], integer) IS
'All images whose PDQ hash is within max_distance (0 to 256) of query_pdq, nearest first, by '
'reading every one: twin of within_pdq.';

CREATE FUNCTION imgdb.within_pdq(query_pdq bigint[], max_distance integer)
RETURNS TABLE (image_id bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 4000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_most integer := max_distance / 4;
    -- The words behind the rest of that division are one bit nearer; none is nearer than 0.
    v_least integer[] := ARRAY(
        SELECT greatest(CASE WHEN word <= max_distance % 4 THEN v_most ELSE v_most - 1 END, 0)
        FROM generate_series(0, 3) AS word
    );
BEGIN
    PERFORM imgdb._check_pdq(query_pdq, max_distance);
    -- Beyond, a search of words reads them all, and most match.
    IF v_most > 12 THEN
        RETURN QUERY SELECT * FROM imgdb.scan_pdq(query_pdq, max_distance);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT near.image_id, near.distance
    FROM (
        SELECT
            p.image_id,
            imgdb.distance(p.pdq_1, query_pdq[1]) + imgdb.distance(p.pdq_2, query_pdq[2])
            + imgdb.distance(p.pdq_3, query_pdq[3]) + imgdb.distance(p.pdq_4, query_pdq[4])
            AS distance
        FROM (
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[1], v_least[1]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_1 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[2], v_least[2]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_2 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[3], v_least[3]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_3 = m.hash OFFSET 0
            ) AS p
            UNION ALL
            SELECT p.*
            FROM imgdb.within('pdq', query_pdq[4], v_least[4]) AS m
            CROSS JOIN LATERAL (
                SELECT * FROM imgdb.image_pdq AS i WHERE i.pdq_4 = m.hash OFFSET 0
            ) AS p
        ) AS p
    ) AS near
    WHERE near.distance <= max_distance
    ORDER BY near.distance, near.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.within_pdq(bigint[], integer) IS
'All images whose PDQ hash is within max_distance (0 to 256) of query_pdq, nearest first: by the '
'prefix buckets of its words up to distance 51, by reading every one beyond.';

CREATE FUNCTION imgdb._exported_images(of_collection text)
RETURNS TABLE (
    path text, collection text, ahash text, dhash text, phash text, whash text, colours text,
    flat boolean,
    recipe text, byte_size bigint, modified_at timestamptz, sha256 text, format text,
    width integer, height integer, frames integer, missing_since timestamptz, pdq text,
    pdq_quality smallint, pdq_recipe text, region_recipe text, regions text, different_from text,
    ingested_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000
BEGIN ATOMIC
    -- noqa: disable=all
    SELECT
        i.path, c.name, imgdb.to_hex(i.ahash), imgdb.to_hex(i.dhash), imgdb.to_hex(i.phash),
        imgdb.to_hex(i.whash), encode(i.colours, 'hex'), i.flat, i.recipe, i.byte_size,
        i.modified_at, encode(i.sha256, 'hex'), i.format, i.width, i.height, i.frames, i.missing_since,
        imgdb.to_hex(p.pdq_1) || imgdb.to_hex(p.pdq_2) || imgdb.to_hex(p.pdq_3) || imgdb.to_hex(p.pdq_4),
        p.quality, p.pdq_recipe, i.region_recipe,
        CASE WHEN i.region_recipe IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(
                jsonb_build_array(r.box_left, r.box_top, r.box_width, r.box_height, imgdb.to_hex(r.region_hash))
                ORDER BY r.region
            ), '[]')::text
            FROM imgdb.image_region AS r
            WHERE r.image_id = i.image_id
        ) END,
        (
            SELECT jsonb_agg(jsonb_build_array(oc.name, o.path, d.marked_at) ORDER BY o.image_id)::text
            FROM imgdb.not_duplicate AS d
            JOIN imgdb.image AS o ON o.image_id = d.image_id_b
            JOIN imgdb.collection AS oc ON oc.collection_id = o.collection_id
            WHERE d.image_id_a = i.image_id
        ),
        i.ingested_at
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE of_collection IS NULL OR c.name = of_collection;
    -- noqa: enable=all
END;

COMMENT ON FUNCTION imgdb._exported_images(text) IS
'What is known of the images of a collection, or of all: what imgdb export writes. regions are '
'lists of left, top, width, height and hash; different_from has collection, path and time of other '
'images.';

CREATE FUNCTION imgdb.find_images(
    space_name text DEFAULT 'phash+dhash',
    query_hash bigint DEFAULT NULL,
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL,
    match_limit integer DEFAULT NULL,
    query_hashes bigint[] DEFAULT NULL
)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_most integer := imgdb._default_distance(space_name, collection_name);
BEGIN
    IF max_distance > v_most THEN
        RAISE EXCEPTION 'max_distance is %, more than the % that count as alike', max_distance, v_most
            USING
            ERRCODE = 'IM002',
            HINT = 'imgdb.similar_images takes any distance, from roles that may read.';
    END IF;
    RETURN QUERY
    SELECT f.image_id, f.collection, f.path, f.distance
    FROM imgdb.similar_images(
        space_name, query_hash, coalesce(max_distance, v_most), collection_name, match_limit,
        query_hashes => query_hashes
    ) AS f;
END
$$;

COMMENT ON FUNCTION imgdb.find_images(text, bigint, integer, text, integer, bigint[]) IS
'As imgdb.similar_images, for roles that may not read: never a hash, never a flat image, and no '
'distance beyond the default of the collection, rule or space (error IM002).';

CREATE FUNCTION imgdb._is_by_pdq(space_name text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(space_name IN ('pdq', 'phash-pdq'), FALSE);

COMMENT ON FUNCTION imgdb._is_by_pdq(text) IS
'Whether images are compared by their PDQ hashes: pdq looks for them alone, phash-pdq takes what '
'is within 12 by phash and lets PDQ decide.';

CREATE FUNCTION imgdb._found_by_pdq(
    space_name text,
    query_words bigint[],
    query_phashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean,
    include_missing boolean
)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    distance integer,
    query_number integer,
    same_bytes boolean,
    missing boolean,
    images bigint
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_max_distance integer := coalesce(max_distance, CASE space_name WHEN 'pdq' THEN 31 ELSE 70 END);
    v_different bigint[];
BEGIN
    PERFORM imgdb._check_pdq(query_words[q * 4 - 3:q * 4], v_max_distance)
    FROM generate_series(1, greatest(cardinality(query_words) / 4, 1)) AS q;
    IF EXISTS (SELECT 1 FROM imgdb.not_duplicate) THEN
        v_different := imgdb._different_from(ARRAY(
            SELECT p.image_id
            FROM generate_series(1, cardinality(query_words) / 4) AS q
            JOIN imgdb.image_pdq AS p
                ON p.pdq_1 = query_words[q * 4 - 3] AND p.pdq_2 = query_words[q * 4 - 2]
                AND p.pdq_3 = query_words[q * 4 - 1] AND p.pdq_4 = query_words[q * 4]
        )) || imgdb._different_from(
            ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
        );
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            q AS query_number,
            query_words[q * 4 - 3:q * 4] AS words,
            query_phashes[q] AS phash
        FROM generate_series(1, cardinality(query_words) / 4) AS q
    ),
    near AS (
        SELECT DISTINCT ON (m.image_id) m.image_id, m.distance, m.query_number
        FROM (
            SELECT w.image_id, w.distance, a.query_number
            FROM asked AS a
            CROSS JOIN LATERAL imgdb.within_pdq(a.words, v_max_distance) AS w
            WHERE space_name = 'pdq'
            UNION ALL
            SELECT
                p.image_id,
                imgdb.pdq_distance(ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4], a.words),
                a.query_number
            FROM asked AS a
            CROSS JOIN LATERAL imgdb.within('phash', query_hash => a.phash, max_distance => 12) AS w
            JOIN imgdb.image AS i ON i.phash = w.hash
            JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
            WHERE space_name = 'phash-pdq'
        ) AS m
        WHERE m.distance <= v_max_distance
        ORDER BY m.image_id, m.distance, m.query_number
    ),
    found AS (
        SELECT n.image_id, n.distance, n.query_number, FALSE AS same_bytes
        FROM near AS n
        JOIN imgdb.image AS i ON i.image_id = n.image_id
        WHERE
            (query_sha256 IS NULL OR i.sha256 IS DISTINCT FROM query_sha256)
            AND (include_flat OR NOT i.flat)
            AND (v_different IS NULL OR n.image_id <> ALL (v_different))
        UNION ALL
        -- They are found even where no PDQ hash is stored.
        SELECT
            i.image_id,
            (
                SELECT
                    imgdb.pdq_distance(
                        ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4], query_words[1:4]
                    )
                FROM imgdb.image_pdq AS p
                WHERE p.image_id = i.image_id
            ),
            1,
            TRUE
        FROM imgdb.image AS i
        WHERE i.sha256 = query_sha256
    ),
    line AS (
        SELECT
            f.*,
            c.name AS collection,
            i.path,
            i.missing_since IS NOT NULL AS missing,
            CASE
                WHEN p.image_id IS NULL THEN 1
                ELSE count(*) OVER (PARTITION BY p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4)
            END AS held,
            row_number() OVER (
                PARTITION BY p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4
                ORDER BY i.missing_since IS NOT NULL, f.same_bytes DESC, i.path, f.image_id
            ) AS place
        FROM found AS f
        JOIN imgdb.image AS i ON i.image_id = f.image_id
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        LEFT JOIN imgdb.image_pdq AS p ON p.image_id = f.image_id
        WHERE
            (v_collection_id IS NULL OR i.collection_id = v_collection_id)
            AND (include_missing OR i.missing_since IS NULL)
    )
    SELECT
        o.image_id, o.collection, o.path, o.distance, o.query_number, o.same_bytes, o.missing,
        CASE WHEN o.held > flood_limit THEN o.held ELSE 1 END
    FROM line AS o
    WHERE flood_limit IS NULL OR o.place = 1 OR o.held <= flood_limit
    ORDER BY o.missing, o.same_bytes DESC, o.distance, o.path, o.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._found_by_pdq(
    text, bigint[], bigint[], bytea, integer, text, integer, integer, boolean, boolean
) IS
'Images of the same bytes, then those within max_distance (NULL: 31 for pdq, 70 for phash-pdq) by '
'PDQ of any query, each with the number of the query that it is nearest to; those whose files are '
'gone come last, or not at all.';

CREATE FUNCTION imgdb._image(wanted_id bigint)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz,
    ingested_at timestamptz,
    sha256 text,
    ahash text,
    dhash text,
    phash text,
    whash text,
    flat boolean,
    recipe text
)
LANGUAGE plpgsql STABLE STRICT ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT
        i.image_id,
        c.name,
        i.path::text,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since,
        i.ingested_at,
        encode(i.sha256, 'hex'),
        imgdb.to_hex(i.ahash),
        imgdb.to_hex(i.dhash),
        imgdb.to_hex(i.phash),
        imgdb.to_hex(i.whash),
        i.flat,
        i.recipe
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE i.image_id = wanted_id;
END
$$;

COMMENT ON FUNCTION imgdb._image(bigint) IS 'What is known of one image; no row if there is none.';

CREATE FUNCTION imgdb._newest_image()
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT i.ingested_at FROM imgdb.image AS i ORDER BY i.image_id DESC LIMIT 1);
END
$$;

COMMENT ON FUNCTION imgdb._newest_image() IS
'When the image that was added last was stored; NULL without any.';

CREATE FUNCTION imgdb._remove_image(wanted_path text, collection_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_image_id bigint;
BEGIN
    DELETE FROM imgdb.image AS i
    WHERE
        i.path = wanted_path
        AND i.collection_id = imgdb._collection_id(collection_name)
    RETURNING i.image_id INTO v_image_id;
    RETURN v_image_id;
END
$$;

COMMENT ON FUNCTION imgdb._remove_image(text, text) IS
'Removes one image of a collection and tells its image_id, NULL if there is none of that path; '
'error IM011 if there is no such collection. No file is touched.';

CREATE FUNCTION imgdb.find_pdq(query_pdq bigint[], max_distance integer DEFAULT 31)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_distance > 31 THEN
        RAISE EXCEPTION 'max_distance is %, more than the 31 that count as alike', max_distance USING
            ERRCODE = 'IM002',
            HINT = 'imgdb.within_pdq takes any distance, from roles that may read.';
    END IF;
    RETURN QUERY
    SELECT i.image_id, c.name, i.path, m.distance
    FROM imgdb.within_pdq(query_pdq, max_distance) AS m
    JOIN imgdb.image AS i ON i.image_id = m.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ORDER BY m.distance, i.path, i.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.find_pdq(bigint[], integer) IS
'As imgdb.within_pdq, for roles that may not read: never a hash, and no distance beyond 31 (error '
'IM002); says where the images are, too.';

CREATE OR REPLACE FUNCTION imgdb._make_collection(collection_name text)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
    current_recipes text[],
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (ordinal bigint, state text, reason text, detail text)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
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
                        OR need_pdq AND NOT EXISTS (
                            SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id
                        )
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
        OR i.recipe <> ALL (current_recipes)
        OR i.sha256 IS NOT NULL AND i.colours IS NULL
        OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        OR need_pdq
        AND NOT EXISTS (
            SELECT FROM imgdb.image_pdq AS p
            WHERE p.image_id = i.image_id
        )
        OR (i.byte_size, i.modified_at) IS DISTINCT FROM (given.byte_size, given.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._compare_files(
    integer, text[], bigint[], timestamptz[], text[], text, boolean
) IS
'What is to do for files by size and time: new, changed, found (unchanged, was missing), outdated '
'(unchanged, of another recipe or without colours), incomplete (unchanged, without the regions or '
'the PDQ hash that are needed) or failed (unchanged since it failed); nothing is said of the '
'others, which are unchanged.';

CREATE OR REPLACE FUNCTION imgdb._stage_images()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
            colours bytea NOT NULL,
            region_recipe text
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._store_images(for_collection_id integer, rewrite boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        INSERT INTO imgdb.image AS i (
            collection_id, path, byte_size, modified_at, sha256, format, width, height, frames,
            ahash, dhash, phash, whash, flat, recipe, colours, region_recipe
        )
        SELECT
            for_collection_id, n.path, n.byte_size, n.modified_at, n.sha256, n.format, n.width,
            n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash, n.flat, n.recipe,
            n.colours, n.region_recipe
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
            colours = excluded.colours,
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
            OR (
                i.byte_size, i.modified_at, i.sha256, i.recipe, i.colours, i.ahash, i.dhash, i.phash,
                i.whash
            )
            IS DISTINCT FROM (
                excluded.byte_size, excluded.modified_at, excluded.sha256, excluded.recipe,
                excluded.colours, excluded.ahash, excluded.dhash, excluded.phash, excluded.whash
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
'Stores the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

CREATE OR REPLACE FUNCTION imgdb._stage_regions()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
    target_recipes text[],
    needed_hashes text[],
    needed_region_recipe text,
    older_than timestamptz,
    after_path text,
    page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET search_path = pg_catalog, pg_temp
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
            i.recipe <> ALL (target_recipes)
            OR i.colours IS NULL
            OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
            OR i.ingested_at < older_than
            OR 'ahash' = ANY (needed_hashes) AND i.ahash IS NULL
            OR 'dhash' = ANY (needed_hashes) AND i.dhash IS NULL
            OR 'phash' = ANY (needed_hashes) AND i.phash IS NULL
            OR 'whash' = ANY (needed_hashes) AND i.whash IS NULL
            OR 'pdq' = ANY (needed_hashes)
            AND NOT EXISTS (
                SELECT FROM imgdb.image_pdq AS p
                WHERE p.image_id = i.image_id
            )
        )
    ORDER BY i.path
    LIMIT page_size;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_images(
    integer, text, text[], text[], text, timestamptz, text, integer
) IS
'A page of the paths of images that have a file and are of another recipe, lack a hash, colours or '
'the regions that are needed, or were hashed before a time; in the order of the paths.';

CREATE FUNCTION imgdb._outdated_collections(
    collection_name text,
    old_recipe text,
    target_recipes text[],
    needed_hashes text[],
    needed_region_recipe text,
    older_than timestamptz
)
RETURNS TABLE (collection text, images bigint)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT c.name, outdated.images
    FROM imgdb.collection AS c
    CROSS JOIN LATERAL (
        SELECT count(*) AS images
        FROM imgdb._outdated_images(
            c.collection_id, old_recipe, target_recipes, needed_hashes, needed_region_recipe,
            older_than, '', NULL
        )
    ) AS outdated
    WHERE outdated.images > 0 AND (collection_name IS NULL OR c.name = collection_name)
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_collections(text, text, text[], text[], text, timestamptz) IS
'How many images of each collection are outdated; error IM011 for an unknown collection.';

CREATE OR REPLACE FUNCTION imgdb._stage_import()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CREATE TEMPORARY TABLE fresh_hash (
        line bigint NOT NULL,
        path text COLLATE "C" NOT NULL,
        ahash bigint,
        dhash bigint,
        phash bigint,
        whash bigint,
        pdq bigint[],
        pdq_quality smallint,
        -- What follows comes from an export only; recipe is never NULL then.
        collection text,
        collection_id integer,
        recipe text,
        flat boolean,
        byte_size bigint,
        modified_at timestamptz,
        sha256 bytea,
        format text,
        width integer,
        height integer,
        frames integer,
        colours bytea,
        missing_since timestamptz,
        ingested_at timestamptz,
        pdq_recipe text,
        region_recipe text,
        regions jsonb,
        different_from jsonb
    ) ON COMMIT DROP;
END
$$;

CREATE OR REPLACE FUNCTION imgdb._repeated_imports(line_limit integer)
RETURNS TABLE (line bigint, first_line bigint, line_count bigint)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT numbered.line, numbered.first_line, count(*) OVER ()
    FROM (
        SELECT n.line, min(n.line) OVER (PARTITION BY n.collection, n.path) AS first_line
        FROM pg_temp.fresh_hash AS n
    ) AS numbered
    WHERE numbered.line > numbered.first_line
    ORDER BY numbered.line
    LIMIT line_limit;
END
$$;

CREATE FUNCTION imgdb._store_marks(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b, marked_at)
    SELECT
        least(i.image_id, o.image_id), greatest(i.image_id, o.image_id),
        min((mark.said ->> 2)::timestamptz)
    FROM pg_temp.fresh_hash AS n
    JOIN imgdb.image AS i
        ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
    CROSS JOIN LATERAL jsonb_array_elements(n.different_from) AS mark (said)
    LEFT JOIN imgdb.collection AS c ON c.name = mark.said ->> 0
    JOIN imgdb.image AS o
        ON
            o.collection_id
            = CASE WHEN n.collection_id IS NULL THEN for_collection_id ELSE c.collection_id END
            AND o.path = mark.said ->> 1 AND o.image_id <> i.image_id
    GROUP BY 1, 2
    ON CONFLICT ON CONSTRAINT not_duplicate_pkey DO NOTHING;
END
$$;

COMMENT ON FUNCTION imgdb._store_marks(integer) IS
'Marks the images of pg_temp.fresh_hash as different from those that it names, where these are '
'known.';

CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pdq_count bigint := 0;
BEGIN
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.collection IS NOT NULL) THEN
        UPDATE pg_temp.fresh_hash AS n
        SET collection_id = c.collection_id
        FROM imgdb.collection AS c
        WHERE c.name = n.collection;
    END IF;
    DELETE FROM pg_temp.fresh_hash AS n
    USING imgdb.image AS i
    WHERE
        i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        AND i.sha256 IS NOT NULL;
    UPDATE imgdb.image AS i
    SET
        ahash = n.ahash,
        dhash = n.dhash,
        phash = n.phash,
        whash = n.whash,
        flat = coalesce(n.flat, imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash)),
        recipe = coalesce(n.recipe, i.recipe),
        byte_size = n.byte_size,
        modified_at = n.modified_at,
        sha256 = n.sha256,
        format = n.format,
        width = n.width,
        height = n.height,
        frames = n.frames,
        colours = n.colours,
        missing_since = n.missing_since,
        region_recipe = n.region_recipe,
        ingested_at = coalesce(n.ingested_at, now())
    FROM pg_temp.fresh_hash AS n
    WHERE
        i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        -- A list of PDQ hashes says nothing of the others.
        AND (n.recipe IS NOT NULL OR num_nonnulls(n.ahash, n.dhash, n.phash, n.whash) > 0)
        AND (i.ahash, i.dhash, i.phash, i.whash, i.recipe, i.sha256)
        IS DISTINCT FROM
        (n.ahash, n.dhash, n.phash, n.whash, coalesce(n.recipe, i.recipe), n.sha256);
    GET DIAGNOSTICS updated = ROW_COUNT;
    INSERT INTO imgdb.image (
        collection_id, path, byte_size, modified_at, sha256, format, width, height, frames, ahash,
        dhash, phash, whash, flat, recipe, colours, missing_since, region_recipe, ingested_at
    )
    SELECT
        coalesce(n.collection_id, for_collection_id), n.path, n.byte_size, n.modified_at, n.sha256,
        n.format, n.width, n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash,
        coalesce(n.flat, imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash)),
        coalesce(n.recipe, 'imported'), n.colours, n.missing_since, n.region_recipe,
        coalesce(n.ingested_at, now())
    FROM pg_temp.fresh_hash AS n
    WHERE NOT EXISTS (
        SELECT FROM imgdb.image AS i
        WHERE
            i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
    )
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.pdq IS NOT NULL) THEN
        INSERT INTO imgdb.image_pdq AS p (
            image_id, pdq_1, pdq_2, pdq_3, pdq_4, quality, pdq_recipe
        )
        SELECT
            i.image_id, n.pdq[1], n.pdq[2], n.pdq[3], n.pdq[4], n.pdq_quality,
            coalesce(n.pdq_recipe, 'imported')
        FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        WHERE n.pdq IS NOT NULL
        ORDER BY i.image_id
        ON CONFLICT ON CONSTRAINT image_pdq_pkey DO UPDATE SET
            pdq_1 = excluded.pdq_1,
            pdq_2 = excluded.pdq_2,
            pdq_3 = excluded.pdq_3,
            pdq_4 = excluded.pdq_4,
            quality = excluded.quality,
            pdq_recipe = excluded.pdq_recipe
        WHERE
            (p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4, p.quality, p.pdq_recipe)
            IS DISTINCT FROM (
                excluded.pdq_1, excluded.pdq_2, excluded.pdq_3, excluded.pdq_4, excluded.quality,
                excluded.pdq_recipe
            );
        GET DIAGNOSTICS v_pdq_count = ROW_COUNT;
        -- Whatever got another PDQ hash was updated, if it was nothing else.
        updated := greatest(updated, v_pdq_count - added);
    END IF;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.regions IS NOT NULL) THEN
        DELETE FROM imgdb.image_region AS r
        USING pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        WHERE r.image_id = i.image_id AND n.regions IS NOT NULL;
        INSERT INTO imgdb.image_region (
            image_id, region, box_left, box_top, box_width, box_height, region_hash
        )
        SELECT
            i.image_id, found.region, (found.box ->> 0)::integer, (found.box ->> 1)::integer,
            (found.box ->> 2)::integer, (found.box ->> 3)::integer,
            imgdb.from_hex(found.box ->> 4)
        FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        CROSS JOIN LATERAL jsonb_array_elements(n.regions) WITH ORDINALITY AS found (box, region)
        ORDER BY i.image_id, found.region;
    END IF;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.different_from IS NOT NULL) THEN
        PERFORM imgdb._store_marks(for_collection_id);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Puts the rows of pg_temp.fresh_hash, each path of a collection once, into imgdb.image, with what '
'belongs to them; rows that were made from a file stay as they are.';

CREATE FUNCTION imgdb._stage_pdq()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_pdq') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_pdq (
            path text COLLATE "C" NOT NULL,
            words bigint[] NOT NULL,
            quality smallint NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_pdq() IS
'Makes the session''s table pg_temp.fresh_pdq, which is copied into and then stored.';

CREATE FUNCTION imgdb._store_pdq(for_collection_id integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_custom_plan
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO imgdb.image_pdq AS p (image_id, pdq_1, pdq_2, pdq_3, pdq_4, quality, pdq_recipe)
    SELECT
        i.image_id, n.words[1], n.words[2], n.words[3], n.words[4], n.quality, i.recipe
    FROM pg_temp.fresh_pdq AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    ORDER BY i.image_id
    ON CONFLICT ON CONSTRAINT image_pdq_pkey DO UPDATE SET
        pdq_1 = excluded.pdq_1,
        pdq_2 = excluded.pdq_2,
        pdq_3 = excluded.pdq_3,
        pdq_4 = excluded.pdq_4,
        quality = excluded.quality,
        pdq_recipe = excluded.pdq_recipe
    WHERE
        (p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4, p.quality, p.pdq_recipe)
        IS DISTINCT FROM (
            excluded.pdq_1, excluded.pdq_2, excluded.pdq_3, excluded.pdq_4, excluded.quality,
            excluded.pdq_recipe
        );
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._store_pdq(integer) IS
'Stores the PDQ hashes of the images in pg_temp.fresh_pdq, and returns how many are new or '
'other ones.';

CREATE FUNCTION imgdb._newest_image_id()
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT max(i.image_id) FROM imgdb.image AS i);

COMMENT ON FUNCTION imgdb._newest_image_id() IS
'The identity of the image that was stored last; NULL if there is none.';

CREATE FUNCTION imgdb._images_of_sizes(
    for_collection_id integer,
    last_image_id bigint,
    sizes bigint[],
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (
    image_id bigint,
    path text,
    byte_size bigint,
    modified_at timestamptz,
    sha256 bytea,
    complete boolean
)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, i.path, i.byte_size, i.modified_at, i.sha256,
        i.region_recipe IS NOT DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        AND (
            NOT need_pdq
            OR EXISTS (SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id)
        )
    FROM imgdb.image AS i
    WHERE
        i.byte_size = ANY (sizes)
        AND i.collection_id = for_collection_id
        AND i.image_id <= last_image_id;
END
$$;

COMMENT ON FUNCTION imgdb._images_of_sizes(integer, bigint, bigint[], text, boolean) IS
'The images up to last_image_id whose files are of these sizes; complete are those that have the '
'regions and the PDQ hash that are needed.';

CREATE FUNCTION imgdb._move_images(
    for_collection_id integer,
    image_ids bigint[],
    digests bytea[],
    old_paths text[],
    new_paths text[],
    times timestamptz[]
)
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_done bigint[];
    v_move record;
    v_path text;
    v_other_id bigint;
BEGIN
    -- At once all that have their new path for themselves: nearly all.
    WITH moved AS (
        UPDATE imgdb.image AS i
        SET path = given.new_path, modified_at = given.modified, missing_since = NULL
        FROM unnest(image_ids, digests, old_paths, new_paths, times)
            AS given (id, digest, old_path, new_path, modified)
        WHERE
            i.image_id = given.id AND i.collection_id = for_collection_id
            AND i.sha256 = given.digest AND i.path = given.old_path
            AND NOT EXISTS (
                SELECT FROM imgdb.image AS other
                WHERE
                    other.collection_id = for_collection_id AND other.path = given.new_path
                    AND other.image_id <> given.id
            )
        RETURNING i.image_id
    )
    SELECT array_agg(m.image_id) INTO v_done FROM moved AS m;
    FOR v_move IN
        SELECT given.id, given.digest, given.old_path, given.new_path, given.modified
        FROM unnest(image_ids, digests, old_paths, new_paths, times)
            AS given (id, digest, old_path, new_path, modified)
        WHERE given.id <> ALL (coalesce(v_done, '{}'))
    LOOP
        -- It may stand there already, having made room for another one.
        SELECT i.path INTO v_path
        FROM imgdb.image AS i
        WHERE
            i.image_id = v_move.id AND i.collection_id = for_collection_id
            -- A new file at the old path may have taken the row over.
            AND i.sha256 = v_move.digest
            AND i.path IN (v_move.old_path, v_move.new_path)
        FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NEXT v_move.new_path;
            CONTINUE;
        END IF;
        -- No file can have such a path: the spellings of control characters hold none.
        UPDATE imgdb.image AS i
        SET path = chr(1) || i.image_id, missing_since = coalesce(i.missing_since, now())
        WHERE
            i.collection_id = for_collection_id AND i.path = v_move.new_path
            AND i.image_id <> v_move.id
        RETURNING i.image_id INTO v_other_id;
        UPDATE imgdb.image AS i
        SET path = v_move.new_path, modified_at = v_move.modified, missing_since = NULL
        WHERE i.image_id = v_move.id;
        UPDATE imgdb.image AS i SET path = v_path WHERE i.image_id = v_other_id;
    END LOOP;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (new_paths);
    -- An archive that members have left is read again if it comes back.
    DELETE FROM imgdb.archive AS a
    USING unnest(old_paths) AS old (path)
    WHERE
        a.collection_id = for_collection_id
        AND a.path IN (substring(old.path, '^(.*?)!/'), substring(old.path, '^(.*)!/'));
END
$$;

COMMENT ON FUNCTION imgdb._move_images(integer, bigint[], bytea[], text[], text[], timestamptz[]) IS
'Moves images to other paths, and returns those paths whose image is no longer what it was at the '
'old one.';

CREATE OR REPLACE FUNCTION imgdb._different_from(image_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
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
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
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

CREATE FUNCTION imgdb._pairs_by_rule(
    of_hashes bigint[], of_seconds bigint[], max_distance integer
)
RETURNS TABLE (place_a bigint, place_b bigint)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_radius integer := max_distance / 2;
BEGIN
    IF of_seconds IS NULL THEN
        RETURN QUERY
        SELECT a.place, b.place
        FROM imgdb._pairs_among(pg_catalog.array_remove(of_hashes, NULL), max_distance) AS p
        JOIN pg_catalog.unnest(of_hashes) WITH ORDINALITY AS a (hash, place) ON a.hash = p.hash_a
        JOIN pg_catalog.unnest(of_hashes) WITH ORDINALITY AS b (hash, place) ON b.hash = p.hash_b;
        RETURN;
    END IF;
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT g.hash, g.second, g.place
        FROM unnest(of_hashes, of_seconds) WITH ORDINALITY AS g (hash, second, place)
    ),
    near AS (
        SELECT p.hash_a, p.hash_b
        FROM imgdb._pairs_among(
            (SELECT pg_catalog.array_agg(DISTINCT g.hash) FROM given AS g WHERE g.hash IS NOT NULL),
            v_radius
        ) AS p
        UNION ALL
        SELECT g.hash, g.hash FROM given AS g GROUP BY g.hash HAVING pg_catalog.count(*) > 1
    ),
    near_second AS (
        SELECT p.hash_a, p.hash_b
        FROM imgdb._pairs_among(
            (
                SELECT pg_catalog.array_agg(DISTINCT g.second)
                FROM given AS g
                WHERE g.second IS NOT NULL
            ),
            v_radius
        ) AS p
        UNION ALL
        SELECT g.second, g.second FROM given AS g GROUP BY g.second HAVING pg_catalog.count(*) > 1
    )
    SELECT a.place, b.place
    FROM near AS n
    JOIN given AS a ON a.hash = n.hash_a
    JOIN given AS b ON b.hash = n.hash_b AND (n.hash_a <> n.hash_b OR a.place < b.place)
    WHERE imgdb._rule_distance(a.hash, a.second, b.hash, b.second, true) <= max_distance
    UNION ALL
    SELECT a.place, b.place
    FROM near_second AS n
    JOIN given AS a ON a.second = n.hash_a
    JOIN given AS b ON b.second = n.hash_b AND (n.hash_a <> n.hash_b OR a.place < b.place)
    WHERE
        imgdb._rule_distance(a.hash, a.second, b.hash, b.second, true) <= max_distance
        AND (imgdb.distance(a.hash, b.hash) <= v_radius) IS NOT TRUE;
END
$$;

COMMENT ON FUNCTION imgdb._pairs_by_rule(bigint[], bigint[], integer) IS
'All pairs of the hashes within max_distance of each other, each once, by their places: of hashes '
'alone, or by the sum with their second ones. No hash, or no two together, may come twice.';

CREATE FUNCTION imgdb._connected_images(
    of_images bigint[],
    of_hashes bigint[],
    of_seconds bigint[],
    max_distance integer,
    different_a bigint[],
    different_b bigint[]
)
RETURNS TABLE (image_id bigint, first_image_id bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_lone bigint[] := different_a || different_b;
    -- One entry per image, in step.
    v_images bigint[];
    v_nodes integer[];
    -- One entry per node: its hashes, the image if it is marked, and its parent in a forest whose
    -- trees are the groups (union-find).
    v_keys integer[];
    v_marked bigint[];
    v_parents integer[];
    -- One entry per hash, or per two together; v_keys are places in these.
    v_hashes bigint[];
    v_seconds bigint[];
    v_a integer;
    v_b integer;
BEGIN
    SELECT
        pg_catalog.array_agg(n.image_id),
        pg_catalog.array_agg(n.node),
        pg_catalog.array_agg(n.key ORDER BY n.node) FILTER (WHERE n.is_first),
        pg_catalog.array_agg(n.marked ORDER BY n.node) FILTER (WHERE n.is_first),
        pg_catalog.array_agg(n.node ORDER BY n.node) FILTER (WHERE n.is_first),
        pg_catalog.array_agg(n.hash ORDER BY n.key) FILTER (WHERE n.is_first_of_key),
        pg_catalog.array_agg(n.second ORDER BY n.key) FILTER (
            WHERE n.is_first_of_key AND of_seconds IS NOT NULL
        )
    INTO v_images, v_nodes, v_keys, v_marked, v_parents, v_hashes, v_seconds
    FROM (
        SELECT
            i.image_id, i.hash, i.second,
            lone.image_id AS marked,
            pg_catalog.dense_rank() OVER by_key AS key,
            pg_catalog.dense_rank() OVER by_node AS node,
            pg_catalog.row_number() OVER (PARTITION BY i.hash, i.second) = 1 AS is_first_of_key,
            pg_catalog.row_number() OVER (PARTITION BY i.hash, i.second, lone.image_id) = 1
                AS is_first
        FROM unnest(of_images, of_hashes, of_seconds) AS i (image_id, hash, second)
        LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id) ON lone.image_id = i.image_id
        WINDOW
            by_key AS (ORDER BY i.hash, i.second),
            by_node AS (ORDER BY i.hash, i.second, lone.image_id)
    ) AS n;
    FOR v_a, v_b IN
        WITH node AS MATERIALIZED (
            SELECT n.key, n.marked, n.node
            FROM unnest(v_keys, v_marked) WITH ORDINALITY AS n (key, marked, node)
        ),
        near AS (
            SELECT p.place_a, p.place_b
            FROM imgdb._pairs_by_rule(v_hashes, v_seconds, max_distance) AS p
            UNION ALL
            SELECT n.key, n.key FROM node AS n GROUP BY n.key HAVING pg_catalog.count(*) > 1
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.key = near.place_a
        JOIN node AS b ON b.key = near.place_b AND b.node <> a.node
        WHERE NOT EXISTS (
            SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
            WHERE
                d.image_id_a = least(a.marked, b.marked)
                AND d.image_id_b = greatest(a.marked, b.marked)
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
            count(*) OVER tree AS images
        FROM unnest(v_images, v_nodes) AS m (image_id, node)
        WINDOW tree AS (PARTITION BY v_parents[m.node])
    ) AS member
    WHERE member.images > 1;
END
$$;

COMMENT ON FUNCTION imgdb._connected_images(
    bigint[], bigint[], bigint[], integer, bigint[], bigint[]
) IS
'Groups of images connected by near hashes (with of_seconds: by the sum of both distances), less '
'different pairs (the smaller identity first). Each image has a hash.';

CREATE FUNCTION imgdb.duplicate_groups(
    space_name text DEFAULT 'phash+dhash',
    max_distance integer DEFAULT NULL,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_rule_hashes name[] := imgdb._rule_hashes(space_name);
    v_is_sum boolean := pg_catalog.cardinality(v_rule_hashes) > 1;
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_max_distance integer := coalesce(
        max_distance, imgdb._default_distance(space_name, collection_name)
    );
    v_images bigint[];
    v_hashes bigint[];
    v_seconds bigint[];
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_rule_distance(pg_catalog.cardinality(v_rule_hashes), v_max_distance);
    SELECT pg_catalog.array_agg(d.image_id_a), pg_catalog.array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb.not_duplicate AS d;
    EXECUTE pg_catalog.format(
        'SELECT pg_catalog.array_agg(i.image_id), pg_catalog.array_agg(i.%1$I), '
        'pg_catalog.array_agg(i.%2$I) FILTER (WHERE $2) FROM imgdb.image AS i '
        'WHERE pg_catalog.num_nonnulls(i.%1$I, i.%2$I) > 0 '
        'AND NOT i.flat AND i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = $1)',
        v_rule_hashes[1], coalesce(v_rule_hashes[2], v_rule_hashes[1])
    ) INTO v_images, v_hashes, v_seconds USING v_collection_id, v_is_sum;
    RETURN QUERY
    WITH hashed AS MATERIALIZED (
        SELECT h.image_id, h.hash, h.second
        FROM unnest(v_images, v_hashes, v_seconds) AS h (image_id, hash, second)
    )
    SELECT
        member.first_image_id, member.image_id, i.path,
        imgdb._rule_distance(h.hash, h.second, first.hash, first.second, v_is_sum)
    FROM imgdb._connected_images(
        v_images, v_hashes, v_seconds, v_max_distance, v_different_a, v_different_b
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    JOIN hashed AS h ON h.image_id = member.image_id
    JOIN hashed AS first ON first.image_id = member.first_image_id
    ORDER BY 1, 4, 3;
END
$$;

COMMENT ON FUNCTION imgdb.duplicate_groups(text, integer, text) IS
'Groups of images connected by distances of at most max_distance, less pairs in not_duplicate. A '
'group has the image_id of its first image; flat and missing images are in none. Without a '
'distance that of the collection counts, else that of the rule or space.';

CREATE FUNCTION imgdb._duplicate_hashes(space_name text)
RETURNS name[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF imgdb._is_by_pdq(space_name) THEN
        RETURN ARRAY['phash'];
    END IF;
    RETURN imgdb._rule_hashes(space_name);
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_hashes(text) IS
'The columns of imgdb.image by which duplicates are looked for; PDQ hashes stand elsewhere.';

CREATE OR REPLACE FUNCTION imgdb._duplicate_key(space_name text, tier_name text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hashes name[] := imgdb._duplicate_hashes(space_name);
BEGIN
    CASE tier_name
        WHEN 'same-bytes' THEN
            RETURN 'CASE WHEN i.sha256 IS NOT NULL THEN dense_rank() OVER (ORDER BY i.sha256) END';
        WHEN 'same-picture' THEN
            -- Of a file of several frames only the first was looked at; colours are compared later.
            RETURN 'CASE WHEN NOT i.flat AND i.frames = 1 AND i.colours IS NOT NULL '
                'AND num_nulls(i.ahash, i.dhash, i.phash, i.whash) = 0 '
                'THEN dense_rank() OVER (ORDER BY i.ahash, i.dhash, i.phash, i.whash) END';
        WHEN 'near' THEN
            RETURN pg_catalog.format('CASE WHEN NOT i.flat THEN i.%I END', v_hashes[1]);
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
RETURNS TABLE (image_id bigint, hash bigint, second bigint, side integer, folder integer)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hashes name[] := imgdb._duplicate_hashes(space_name);
    v_against_id integer := imgdb._collection_id(against_name);
    v_collection_ids integer[];
    v_folder text := 'NULL::integer';
    v_second text := 'NULL::bigint';
    v_once text := '';
BEGIN
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
    IF tier_name = 'near' AND pg_catalog.cardinality(v_hashes) > 1 THEN
        v_second := pg_catalog.format('CASE WHEN NOT i.flat THEN i.%I END', v_hashes[2]);
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
        'SELECT i.image_id, %s, %s, CASE WHEN $2 IS NOT NULL THEN '
        'CASE WHEN i.collection_id = $2 THEN 2 ELSE 1 END END, %s FROM imgdb.image AS i '
        'WHERE i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = ANY ($1)) '
        'AND ($3 IS NULL OR i.byte_size >= $3) '
        'AND ($4 IS NULL OR i.width::bigint * i.height >= $4) %s',
        imgdb._duplicate_key(space_name, tier_name), v_second, v_folder, v_once
    ) USING v_collection_ids, v_against_id, least_bytes, least_pixels;
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_candidates(
    text, text, text, text, boolean, bigint, bigint
) IS
'The images that are compared to find duplicates, each file once: what is compared (NULL if only '
'the bytes are), with the second hash of a rule, and their side and folder where these matter.';

CREATE FUNCTION imgdb._compared_images(
    space_name text,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (
    image_id bigint, hash bigint, second bigint, known integer, content integer, side integer,
    folder integer
)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        c.image_id,
        coalesce(c.hash, 0),
        coalesce(c.second, 0),
        (c.hash IS NOT NULL)::integer + 2 * (c.second IS NOT NULL)::integer,
        CASE
            WHEN i.sha256 IS NULL THEN 0
            ELSE dense_rank() OVER (ORDER BY i.sha256)::integer
        END,
        coalesce(c.side, 0),
        coalesce(c.folder, 0)
    FROM imgdb._duplicate_candidates(
        space_name, tier_name, collection_name, against_name, other_folders, least_bytes,
        least_pixels
    ) AS c
    JOIN imgdb.image AS i ON i.image_id = c.image_id
    ORDER BY c.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._compared_images(
    text, text, text, text, boolean, bigint, bigint
) IS
'The images that are compared to find duplicates, in their order: known has bit 1 if the hash is '
'known, 2 if the second one is; content is one number for all files of the same bytes, 0 without '
'a file.';

CREATE OR REPLACE FUNCTION imgdb._different_pairs()
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION imgdb._images_without_colours(collection_name text, against_name text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT count(*)
        FROM imgdb.image AS i
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        WHERE
            i.colours IS NULL AND i.sha256 IS NOT NULL AND i.missing_since IS NULL
            AND (collection_name IS NULL OR c.name IN (collection_name, against_name))
    );
END
$$;

COMMENT ON FUNCTION imgdb._images_without_colours(text, text) IS
'How many images have a file, but no colours: an older imgdb stored them.';

CREATE FUNCTION imgdb._images_without_pdq(collection_name text, against_name text)
RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT count(*)
        FROM imgdb.image AS i
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        WHERE
            i.missing_since IS NULL AND NOT i.flat
            AND (collection_name IS NULL OR c.name IN (collection_name, against_name))
            AND NOT EXISTS (SELECT 1 FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id)
    );
END
$$;

COMMENT ON FUNCTION imgdb._images_without_pdq(text, text) IS
'How many images have no PDQ hash, so that only their bytes are compared by PDQ.';

CREATE FUNCTION imgdb._diameter(
    of_hashes bigint[], of_seconds bigint[], of_thirds bigint[], of_fourths bigint[]
)
RETURNS integer
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_catalog.cardinality(of_hashes) <= 5000 THEN
        RETURN (
            WITH given AS MATERIALIZED (
                SELECT g.hash, g.second, g.third, g.fourth, g.place
                FROM unnest(of_hashes, of_seconds, of_thirds, of_fourths) WITH ORDINALITY
                    AS g (hash, second, third, fourth, place)
            )
            SELECT coalesce(
                pg_catalog.max(
                    imgdb._rule_distance(
                        a.hash, a.second, b.hash, b.second, of_seconds IS NOT NULL
                    )
                    + coalesce(
                        imgdb.distance(a.third, b.third) + imgdb.distance(a.fourth, b.fourth), 0
                    )
                ), 0
            )
            FROM given AS a
            JOIN given AS b ON a.place < b.place
        );
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._diameter(bigint[], bigint[], bigint[], bigint[]) IS
'Largest distance between any two hashes, or by the sum with that of their second ones, or of four '
'words; NULL for more than 5,000 hashes, or none.';

CREATE OR REPLACE FUNCTION imgdb._keep_order(
    keep_rule text, pixels bigint, of_bytes bigint, modified timestamptz, of_path text
)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
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

CREATE FUNCTION imgdb._kind(of_format text, of_frames integer, of_sha256 bytea, raw_copies boolean)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN of_frames > 1 THEN encode(of_sha256, 'hex')
    WHEN of_format = 'RAW' AND NOT raw_copies THEN 'raw'
    ELSE 'picture'
END;

COMMENT ON FUNCTION imgdb._kind(text, integer, bytea, boolean) IS
'What an image is among its likes: a raw (unless these count as copies), a file of several frames '
'(each of other bytes a kind of its own), or a picture.';

CREATE FUNCTION imgdb._duplicates(
    space_name text,
    max_distance integer,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    keep_rule text,
    keep_folder text,
    group_limit integer,
    member_images bigint[],
    member_groups bigint[],
    member_copies bigint[],
    linked_a bigint[],
    linked_b bigint[],
    no_files bigint[],
    raw_copies boolean
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
    colour_difference double precision,
    same_colours boolean,
    same_bytes boolean,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    sha256 bytea
)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_is_by_pdq boolean := imgdb._is_by_pdq(space_name);
    v_rule_hashes name[] := imgdb._duplicate_hashes(space_name);
    v_is_sum boolean := pg_catalog.cardinality(v_rule_hashes) > 1;
    v_max_distance integer := coalesce(
        max_distance, imgdb._default_distance(space_name, collection_name)
    );
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_rule_distance(
        CASE WHEN v_is_by_pdq THEN 4 ELSE pg_catalog.cardinality(v_rule_hashes) END, v_max_distance
    );
    IF group_limit < 1 THEN
        RAISE EXCEPTION 'group_limit is %, not 1 or more', group_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all groups.';
    END IF;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb._different_pairs() AS d;
    RETURN QUERY
    WITH member AS (
        SELECT
            m.first_image_id,
            m.copies_id,
            i.*,
            c.name AS collection,
            -- Files of the same bytes have the same colours, also those of old rows.
            (
                array_agg(i.colours) FILTER (WHERE i.colours IS NOT NULL)
                OVER (PARTITION BY m.copies_id, i.sha256)
            )[1] AS known_colours,
            c.name = against_name AS reference,
            imgdb._kind(i.format, i.frames, i.sha256, raw_copies) AS kind,
            i.sha256 IS NOT NULL AND NOT imgdb._in_archive(i.path)
            AND i.image_id NOT IN (SELECT unnest(no_files)) AS is_file,
            CASE
                WHEN v_is_by_pdq THEN p.pdq_1
                WHEN v_rule_hashes[1] = 'ahash' THEN i.ahash
                WHEN v_rule_hashes[1] = 'dhash' THEN i.dhash
                WHEN v_rule_hashes[1] = 'phash' THEN i.phash
                WHEN v_rule_hashes[1] = 'whash' THEN i.whash
            END AS hash,
            -- No other rule has a second hash.
            CASE WHEN v_is_by_pdq THEN p.pdq_2 WHEN v_is_sum THEN i.dhash END AS second,
            p.pdq_3 AS third,
            p.pdq_4 AS fourth
        FROM unnest(member_images, member_groups, member_copies)
            AS m (image_id, first_image_id, copies_id)
        JOIN imgdb.image AS i ON i.image_id = m.image_id
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        LEFT JOIN imgdb.image_pdq AS p ON v_is_by_pdq AND p.image_id = i.image_id
    ),
    -- Where there is a reference, its images are kept. What is no file of its own can neither be
    -- removed, nor be checked when others are removed. More frames are more than more pixels, and
    -- so are colours.
    ranked AS (
        SELECT
            m.*,
            row_number() OVER (
                PARTITION BY m.first_image_id
                ORDER BY
                    m.reference DESC NULLS LAST,
                    m.is_file DESC,
                    starts_with(m.path, keep_folder || '/') DESC NULLS LAST,
                    coalesce(m.frames, 1) DESC,
                    NOT imgdb._is_grey(m.known_colours) DESC NULLS LAST,
                    imgdb._keep_order(
                        keep_rule, m.width::bigint * m.height, m.byte_size, m.modified_at, m.path
                    ),
                    m.width::bigint * m.height DESC NULLS LAST,
                    m.byte_size DESC NULLS LAST,
                    m.modified_at,
                    m.path,
                    m.image_id
            ) AS place,
            row_number() OVER (PARTITION BY m.copies_id, m.hash, m.second, m.third, m.fourth) = 1
                AND num_nonnulls(m.hash, m.second) > 0 AS is_measured
        FROM member AS m
    ),
    -- One of each kind and colour is kept.
    split AS (
        SELECT d.image_id, d.kept_place
        FROM (
            SELECT
                array_agg(r.copies_id) AS in_groups,
                array_agg(r.kind) AS kinds,
                array_agg(r.place) AS places,
                array_agg(r.image_id) AS image_ids,
                array_agg(r.sha256) AS digests,
                array_agg(r.known_colours) AS colours
            FROM ranked AS r
        ) AS every
        CROSS JOIN LATERAL imgdb._split_by_colours(
            every.in_groups, every.kinds, every.places, every.image_ids, every.digests,
            every.colours, linked_a, linked_b, tier_name
        ) AS d
    ),
    paired AS (
        SELECT r.*, d.kept_place, min(r.place) OVER (PARTITION BY r.copies_id) AS first_place
        FROM ranked AS r
        JOIN split AS d ON d.image_id = r.image_id
    ),
    judged AS (
        SELECT
            r.*,
            CASE
                WHEN v_is_by_pdq THEN imgdb.pdq_distance(
                    ARRAY[r.hash, r.second, r.third, r.fourth],
                    ARRAY[k.hash, k.second, k.third, k.fourth]
                )
                ELSE imgdb._rule_distance(r.hash, r.second, k.hash, k.second, v_is_sum)
            END AS distance,
            imgdb.distance(r.ahash, k.ahash) AS ahash_distance,
            imgdb.distance(r.dhash, k.dhash) AS dhash_distance,
            imgdb.distance(r.phash, k.phash) AS phash_distance,
            imgdb.distance(r.whash, k.whash) AS whash_distance,
            imgdb.colour_difference(r.known_colours, k.known_colours) AS colour_difference,
            imgdb.same_colours(r.known_colours, k.known_colours) AS same_colours,
            -- A grey one of more pixels is not made of the one in colours.
            imgdb._may_be_copy(r.known_colours, k.known_colours, tier_name)
            AND (
                imgdb.same_colours(r.known_colours, k.known_colours)
                OR r.width::bigint * r.height <= k.width::bigint * k.height
            ) AS may_be_copy,
            coalesce(r.sha256 = k.sha256, false) AS same_bytes,
            coalesce(
                (r.ahash, r.dhash, r.phash, r.whash) = (k.ahash, k.dhash, k.phash, k.whash)
                AND NOT r.flat AND r.kind = k.kind
                AND imgdb._may_be_copy(r.known_colours, k.known_colours, 'same-picture'),
                false
            ) AS same_picture,
            r.place > r.kept_place AND r.is_file AND k.is_file AND r.reference IS NOT TRUE
            AND k.reference IS NOT FALSE
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
        FROM paired AS r
        JOIN paired AS k
            ON k.first_image_id = r.first_image_id
            AND k.place = CASE
                WHEN r.place > r.kept_place THEN r.kept_place
                WHEN r.place > r.first_place THEN r.first_place
                ELSE 1
            END
    ),
    -- The far end of a chain is connected with the keeper by others, but no duplicate of it.
    decided AS (
        SELECT
            j.*,
            j.may_go AND (
                j.same_bytes
                OR j.linked
                OR tier_name = 'same-picture' AND j.same_picture AND j.has_structure
                OR tier_name = 'near' AND j.has_structure AND j.may_be_copy
                AND j.distance <= v_max_distance
                -- What phash does not find is not asked of PDQ (imgdb._found_by_pdq).
                AND (space_name <> 'phash-pdq' OR j.phash_distance <= 12)
            ) IS TRUE AS removable
        FROM judged AS j
    ),
    summary AS (
        SELECT
            j.first_image_id,
            count(*) AS images,
            coalesce(sum(j.byte_size) FILTER (WHERE j.removable), 0)::bigint AS reclaimable_bytes,
            CASE
                WHEN min(j.copies_id) < max(j.copies_id) THEN 'parts'
                WHEN bool_and(j.same_bytes) THEN 'same-bytes'
                WHEN bool_and(j.same_picture) THEN 'same-picture'
                ELSE 'near'
            END AS tier
        FROM decided AS j
        GROUP BY j.first_image_id
        ORDER BY 3 DESC, 2 DESC, 1
        LIMIT group_limit
    ),
    -- What only shares parts is not measured.
    measured AS (
        SELECT d.first_image_id, max(d.diameter) AS diameter, bool_or(d.too_many) AS too_many
        FROM (
            SELECT
                j.first_image_id,
                imgdb._diameter(
                    array_agg(j.hash) FILTER (WHERE j.is_measured),
                    array_agg(j.second) FILTER (
                        WHERE j.is_measured AND (v_is_sum OR v_is_by_pdq)
                    ),
                    array_agg(j.third) FILTER (WHERE j.is_measured),
                    array_agg(j.fourth) FILTER (WHERE j.is_measured)
                ) AS diameter,
                count(*) FILTER (WHERE j.is_measured) > 5000 AS too_many
            FROM summary AS s
            JOIN decided AS j ON j.first_image_id = s.first_image_id
            GROUP BY j.first_image_id, j.copies_id
        ) AS d
        GROUP BY d.first_image_id
    )
    SELECT
        s.first_image_id,
        s.tier,
        CASE WHEN NOT d.too_many THEN d.diameter END,
        s.images,
        s.reclaimable_bytes,
        j.path,
        j.place = j.kept_place,
        j.removable,
        j.distance,
        j.ahash_distance,
        j.dhash_distance,
        j.phash_distance,
        j.whash_distance,
        j.colour_difference,
        j.same_colours,
        j.same_bytes,
        j.collection,
        j.image_id,
        j.width,
        j.height,
        j.frames,
        j.byte_size,
        j.format,
        j.modified_at,
        j.sha256
    FROM summary AS s
    JOIN measured AS d ON d.first_image_id = s.first_image_id
    JOIN decided AS j ON j.first_image_id = s.first_image_id
    ORDER BY s.reclaimable_bytes DESC, s.images DESC, s.first_image_id, j.kept_place, j.place;
END
$$;

COMMENT ON FUNCTION imgdb._duplicates(
    text, integer, text, text, text, boolean, text, text, integer, bigint[], bigint[], bigint[],
    bigint[], bigint[], bigint[], boolean
) IS
'What to keep of groups of a tier (same-bytes, same-picture, near: each with the narrower ones), '
'most reclaimable bytes first: of images with one number in member_copies, that match as whole '
'pictures, one of each kind and colours; these come first in their order, each followed by its '
'copies, whose distances are those to it. A group of several such numbers is of tier parts. '
'linked_a and linked_b are pairs that match, whatever their hashes are; no_files are symbolic '
'links, which can neither be kept nor go.';

CREATE FUNCTION imgdb._turnable(
    space_name text,
    collection_name text,
    against_name text,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (
    image_id bigint, hash bigint, second bigint, path text, sha256 bytea, colours bytea,
    to_turn boolean
)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, c.hash, c.second, i.path, i.sha256, i.colours, c.side IS DISTINCT FROM 2
    FROM imgdb._duplicate_candidates(
        space_name, 'near', collection_name, against_name, false, least_bytes, least_pixels
    ) AS c
    JOIN imgdb.image AS i ON i.image_id = c.image_id
    WHERE pg_catalog.num_nonnulls(c.hash, c.second) > 0
    ORDER BY i.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._turnable(text, text, text, bigint, bigint) IS
'The images among which turned duplicates are looked for, with their hashes as they are (second: '
'that which a rule adds); to_turn are those whose files must be hashed in other orientations: all, '
'or all but the reference.';

CREATE FUNCTION imgdb._turned_pairs(
    space_name text,
    max_distance integer,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    turned_images bigint[],
    turned_hashes bigint[],
    turned_seconds bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 5000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_rule_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_rule_hashes);
    v_max_distance integer := coalesce(
        max_distance, imgdb._default_distance(space_name, collection_name)
    );
    v_apart boolean := other_folders OR against_name IS NOT NULL;
BEGIN
    PERFORM imgdb._check_rule_distance(v_count, v_max_distance);
    -- By each hash alone: of two distances that sum up to s one is within half of it.
    FOR v_place IN 1..v_count LOOP
        RETURN QUERY
        WITH marked AS MATERIALIZED (
            SELECT d.image_id_a AS image_id FROM imgdb._different_pairs() AS d
            UNION
            SELECT d.image_id_b FROM imgdb._different_pairs() AS d
        ),
        candidate AS MATERIALIZED (
            SELECT
                c.image_id, c.hash, c.second, c.side, c.folder,
                CASE v_place WHEN 1 THEN c.hash ELSE c.second END AS searched,
                CASE WHEN v_apart OR m.image_id IS NOT NULL THEN c.image_id END AS lone
            FROM imgdb._duplicate_candidates(
                space_name, 'near', collection_name, against_name, other_folders, least_bytes,
                least_pixels
            ) AS c
            LEFT JOIN marked AS m ON m.image_id = c.image_id
            WHERE pg_catalog.num_nonnulls(c.hash, c.second) > 0
        ),
        turned AS (
            SELECT
                c.image_id, c.side, c.folder, t.hash, t.second,
                CASE v_place WHEN 1 THEN t.hash ELSE t.second END AS asked,
                pg_catalog.row_number() OVER (
                    PARTITION BY c.hash, c.second, c.lone, t.hash, t.second ORDER BY c.image_id
                ) AS place
            FROM unnest(turned_images, turned_hashes, turned_seconds)
                AS t (image_id, hash, second)
            JOIN candidate AS c ON c.image_id = t.image_id
        ),
        other AS (
            SELECT
                c.image_id, c.hash, c.second, c.searched, c.side, c.folder,
                pg_catalog.row_number() OVER (
                    PARTITION BY c.hash, c.second, c.lone ORDER BY c.image_id
                ) AS place
            FROM candidate AS c
        ),
        near AS (
            SELECT w.query_hash, w.hash
            FROM imgdb.within_any(
                v_rule_hashes[v_place],
                CASE v_place WHEN 1 THEN turned_hashes ELSE turned_seconds END,
                v_max_distance / v_count
            ) AS w
        )
        SELECT DISTINCT t.image_id, o.image_id
        FROM near AS n
        JOIN turned AS t ON t.asked = n.query_hash AND t.place <= 20
        JOIN other AS o ON o.searched = n.hash AND o.place <= 20
        WHERE
            o.image_id <> t.image_id
            AND imgdb._rule_distance(t.hash, t.second, o.hash, o.second, v_count > 1)
            <= v_max_distance
            AND (o.side IS NULL OR o.side <> t.side)
            AND (o.folder IS NULL OR o.folder <> t.folder);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._turned_pairs(
    text, integer, text, text, boolean, bigint, bigint, bigint[], bigint[], bigint[]
) IS
'Pairs of images of which one, in an orientation in which its hash is one of turned_hashes (and '
'its second one that of turned_seconds), is near the other one as it is. Of the images of one hash '
'20 are paired, where only the hash counts. A pair may come twice.';

CREATE FUNCTION imgdb._held_hashes(
    space_name text,
    max_distance integer,
    collection_name text
)
RETURNS TABLE (hash bigint, second bigint, known integer, images bigint)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_names name[] := imgdb._rule_hashes(space_name);
BEGIN
    PERFORM imgdb._check_rule_distance(cardinality(v_names), max_distance);
    RETURN QUERY EXECUTE format(
        $query$
        SELECT
            coalesce(h.hash, 0),
            coalesce(h.second, 0),
            (h.hash IS NOT NULL)::integer + 2 * (h.second IS NOT NULL)::integer,
            count(*)
        FROM (
            SELECT %1$s AS hash, %2$s AS second
            FROM imgdb.image AS i
            WHERE NOT i.flat AND ($1 IS NULL OR i.collection_id = $1)
        ) AS h
        WHERE num_nonnulls(h.hash, h.second) > 0
        GROUP BY h.hash, h.second
        $query$,
        'i.' || quote_ident(v_names[1]),
        coalesce('i.' || quote_ident(v_names[2]), 'NULL::bigint')
    ) USING imgdb._collection_id(collection_name);
END
$$;

COMMENT ON FUNCTION imgdb._held_hashes(text, integer, text) IS
'The hashes of images that are not flat, by rule phash+dhash pairs of hashes, and how many images '
'have them: known has bit 1 if the hash is known, 2 if the second one is; else it is 0.';

CREATE FUNCTION imgdb._first_paths(
    space_name text,
    collection_name text,
    of_hashes bigint[],
    of_seconds bigint[]
)
RETURNS TABLE (path text)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_names name[] := imgdb._rule_hashes(space_name);
BEGIN
    RETURN QUERY EXECUTE format(
        $query$
        SELECT (
            SELECT min(i.path)
            FROM imgdb.image AS i
            WHERE
                (%1$s = h.hash OR h.hash IS NULL AND %1$s IS NULL AND %2$s = h.second)
                AND %2$s IS NOT DISTINCT FROM h.second
                AND NOT i.flat AND ($1 IS NULL OR i.collection_id = $1)
        )
        FROM unnest($2, $3) WITH ORDINALITY AS h (hash, second, place)
        ORDER BY h.place
        $query$,
        'i.' || quote_ident(v_names[1]),
        coalesce('i.' || quote_ident(v_names[2]), 'NULL::bigint')
    ) USING imgdb._collection_id(collection_name), of_hashes, of_seconds;
END
$$;

COMMENT ON FUNCTION imgdb._first_paths(text, text, bigint[], bigint[]) IS
'The first path of the images that are not flat and have these hashes, in their order.';

CREATE FUNCTION imgdb._votes_needed(images bigint, wrong_per_query double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN greatest(1 + ln(greatest(images, 1) / wrong_per_query) / ln(20::double precision), 2);

COMMENT ON FUNCTION imgdb._votes_needed(bigint, double precision) IS
'How many votes an image needs, so that a search shows so many wrong images on average, if so many '
'images share a region with the query.';

CREATE FUNCTION imgdb._vote_weight(images bigint, images_stored bigint)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN least(
    ln((images_stored + 1000) / greatest(images - 1, 1)::double precision)
    / ln(20::double precision), 1
);

COMMENT ON FUNCTION imgdb._vote_weight(bigint, bigint) IS
'What a vote by a region counts that so many of the images share, 0 to 1.';

CREATE FUNCTION imgdb._region_matches(
    query_width integer,
    query_height integer,
    query_boxes integer[],
    query_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    min_votes integer,
    wrong_per_query double precision,
    collection_name text,
    match_limit integer,
    alike_asked bigint[] DEFAULT NULL,
    alike_stored bigint[] DEFAULT NULL
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
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region')
    );
    v_collection_id integer := imgdb._collection_id(collection_name);
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
    IF min_votes < 1 OR match_limit < 1 OR wrong_per_query <= 0 THEN
        RAISE EXCEPTION 'min_votes and match_limit are 1 or more, wrong_per_query is above 0' USING
            ERRCODE = 'IM012';
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
        SELECT w.query_hash, w.hash
        FROM imgdb.within_any('region', query_hashes, v_max_distance) AS w
        WHERE alike_asked IS NULL
        UNION ALL
        SELECT * FROM unnest(alike_asked, alike_stored)
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
    common AS MATERIALIZED (
        SELECT a.query_region, count(DISTINCT a.image_id) AS images
        FROM alike AS a
        GROUP BY a.query_region
    ),
    -- What at most one of 20 images has counts in full: more of them need not be counted.
    stored AS MATERIALIZED (
        SELECT count(*) AS images
        FROM (
            SELECT FROM imgdb.image AS i
            WHERE i.region_recipe IS NOT NULL
            LIMIT (SELECT 20 * max(c.images) FROM common AS c)
        ) AS enough
    ),
    vote AS MATERIALIZED (
        SELECT
            c.query_region,
            CASE
                WHEN min_votes IS NULL
                    THEN imgdb._vote_weight(c.images, (SELECT s.images FROM stored AS s))
                ELSE 1
            END AS weight
        FROM common AS c
    ),
    needed AS MATERIALIZED (
        SELECT
            coalesce(
                min_votes, imgdb._votes_needed(count(DISTINCT a.image_id), wrong_per_query)
            ) AS votes
        FROM alike AS a
    ),
    worth AS MATERIALIZED (
        SELECT i.image_id
        FROM (
            SELECT a.image_id
            FROM alike AS a
            GROUP BY a.image_id
            HAVING
                least(count(DISTINCT a.query_region), count(DISTINCT a.region))
                >= (SELECT n.votes FROM needed AS n)
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
            v.weight,
            p.scale,
            a.box_left + a.box_width / 2.0::double precision - p.scale * a.x AS middle_x,
            a.box_top + a.box_height / 2.0::double precision - p.scale * a.y AS middle_y
        FROM worth AS w
        JOIN alike AS a ON a.image_id = w.image_id
        JOIN vote AS v ON v.query_region = a.query_region
        CROSS JOIN LATERAL (
            SELECT (a.box_width + a.box_height) / a.size::double precision AS scale
        ) AS p
    ),
    cell AS (
        SELECT
            p.image_id,
            least(count(DISTINCT p.query_region), count(DISTINCT p.region))::integer AS votes,
            avg(p.weight) AS weight,
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
        WHERE c.votes * c.weight >= (SELECT n.votes FROM needed AS n)
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
        i.frames,
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
    integer, integer, integer[], bigint[], bytea, integer, integer, double precision, text,
    integer, bigint[], bigint[]
) IS
'The images that share regions with a query, most votes first, then by path: what the image is to '
'the query (same, contains it, is a part of it, overlaps it), where in it the query lies, and '
'where in the query it lies. NULL as max_distance stands for the default of the space, '
'NULL as min_votes for as many as leave wrong_per_query images by chance. Which hashes are alike '
'is searched, or alike_asked and alike_stored say it in pairs.';

CREATE FUNCTION imgdb._is_grey(of_colours bytea)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR v_at IN 0..24 BY 3 LOOP
        IF pg_catalog.get_byte(of_colours, v_at + 1) <> 128
            OR pg_catalog.get_byte(of_colours, v_at + 2) <> 128 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb._is_grey(bytea) IS
'Whether a picture has no colour at all: a grey one, whatever its format.';

CREATE FUNCTION imgdb._may_be_copy(of_colours bytea, kept_colours bytea, tier_name text)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tier_name = 'same-picture' THEN
        RETURN imgdb.same_colours(of_colours, kept_colours)
            AND imgdb.colour_difference(of_colours, kept_colours) <= 1::double precision;
    END IF;
    IF imgdb.same_colours(of_colours, kept_colours) THEN
        RETURN TRUE;
    END IF;
    IF NOT imgdb._is_grey(of_colours) THEN
        RETURN FALSE;
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        IF pg_catalog.abs(
            pg_catalog.get_byte(of_colours, v_at) - pg_catalog.get_byte(kept_colours, v_at)
        ) > 4 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb._may_be_copy(bytea, bytea, text) IS
'Whether, by its colours, an image may be a copy of the one that is kept: of the same colours, or '
'its grey copy; in tier same-picture of equal ones. NULL if those of one are not known.';

CREATE FUNCTION imgdb._split_by_colours(
    of_groups bigint[],
    of_kinds text[],
    of_places bigint[],
    of_images bigint[],
    of_digests bytea[],
    of_colours bytea[],
    linked_a bigint[],
    linked_b bigint[],
    tier_name text
)
RETURNS TABLE (image_id bigint, kept_place bigint)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_group bigint;
    v_kind text;
    v_member record;
    v_images bigint[];
    v_places bigint[];
    v_digests bytea[];
    v_colours bytea[];
    v_found integer;
BEGIN
    FOR v_member IN
        SELECT m.*, l.partners
        FROM unnest(of_groups, of_kinds, of_places, of_images, of_digests, of_colours)
            AS m (in_group, kind, place, image, digest, colours)
        LEFT JOIN (
            SELECT pair.a, array_agg(pair.b) AS partners
            FROM (
                SELECT g.a, g.b FROM unnest(linked_a, linked_b) AS g (a, b)
                UNION ALL
                SELECT g.b, g.a FROM unnest(linked_a, linked_b) AS g (a, b)
            ) AS pair
            GROUP BY pair.a
        ) AS l ON l.a = m.image
        ORDER BY m.in_group, m.kind, m.place
    LOOP
        IF (v_group, v_kind) IS DISTINCT FROM (v_member.in_group, v_member.kind) THEN
            v_group := v_member.in_group;
            v_kind := v_member.kind;
            v_images := '{}';
            v_places := '{}';
            v_digests := '{}';
            v_colours := '{}';
        END IF;
        v_found := NULL;
        FOR v_at IN 1..least(pg_catalog.cardinality(v_places), 100) LOOP
            -- Of what has no file nothing can go: it stands by the first one.
            IF v_member.digest IS NULL
                OR v_member.digest = v_digests[v_at]
                OR v_images[v_at] = ANY (v_member.partners)
                OR imgdb._may_be_copy(v_member.colours, v_colours[v_at], tier_name)
            THEN
                v_found := v_at;
                EXIT;
            END IF;
        END LOOP;
        IF v_found IS NULL THEN
            v_images := pg_catalog.array_append(v_images, v_member.image);
            v_places := pg_catalog.array_append(v_places, v_member.place);
            v_digests := pg_catalog.array_append(v_digests, v_member.digest);
            v_colours := pg_catalog.array_append(v_colours, v_member.colours);
            v_found := pg_catalog.cardinality(v_places);
        END IF;
        image_id := v_member.image;
        kept_place := v_places[v_found];
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._split_by_colours(
    bigint[], text[], bigint[], bigint[], bytea[], bytea[], bigint[], bigint[], text
) IS
'For each image of groups the place of the one that is kept for it: the first of its kind in the '
'group that it may be a copy of, by its bytes or its colours, or that it is linked with.';

CREATE FUNCTION imgdb._same_pictures(of_images bigint[], of_keys bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        WITH given AS MATERIALIZED (
            SELECT g.image, g.key, g.place
            FROM unnest(of_images, of_keys) WITH ORDINALITY AS g (image, key, place)
        ),
        alike AS (
            SELECT
                array_agg(m.key) AS keys,
                array_agg('picture'::text) AS kinds,
                array_agg(m.image) AS images,
                array_agg(i.sha256) AS digests,
                array_agg(i.colours) AS colours
            FROM (
                SELECT g.image, g.key, count(*) OVER (PARTITION BY g.key) AS held
                FROM given AS g
                WHERE g.key IS NOT NULL
            ) AS m
            JOIN imgdb.image AS i ON i.image_id = m.image
            WHERE m.held > 1
        )
        SELECT array_agg(d.kept_place ORDER BY g.place)
        FROM alike AS a
        CROSS JOIN LATERAL imgdb._split_by_colours(
            a.keys, a.kinds, a.images, a.images, a.digests, a.colours, NULL, NULL, 'same-picture'
        ) AS d
        RIGHT JOIN given AS g ON g.image = d.image_id
    );
END
$$;

COMMENT ON FUNCTION imgdb._same_pictures(bigint[], bigint[]) IS
'Other keys for images of equal hashes, in step: one for those that also have equal colours, NULL '
'for what nothing is equal to.';

CREATE FUNCTION imgdb._forget_decisions()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.decision AS d
    WHERE NEW.image_id IN (d.image_id, d.beside_id);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_decisions() IS
'Forgets what was decided beside other bytes than an image has now.';

CREATE TRIGGER image_forget_decisions
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_decisions();

CREATE FUNCTION imgdb._decide(of_image_id bigint, beside bigint, the_verdict text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_decision_id bigint;
BEGIN
    -- Two browsers: what stays for one file must not go for another one meanwhile.
    LOCK TABLE imgdb.decision IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (
        SELECT FROM imgdb.decision AS d
        WHERE d.image_id IN (of_image_id, beside) AND d.verdict = 'remove'
    ) THEN
        RAISE EXCEPTION 'one of the two images is to be removed already' USING
            ERRCODE = 'IM021',
            HINT = 'Take that decision back first.';
    END IF;
    IF the_verdict = 'different' THEN
        PERFORM imgdb._mark_different(ARRAY[of_image_id], ARRAY[beside]);
    END IF;
    DELETE FROM imgdb.decision AS d
    WHERE d.image_id = of_image_id;
    INSERT INTO imgdb.decision (image_id, beside_id, verdict)
    VALUES (of_image_id, beside, the_verdict)
    RETURNING decision_id INTO v_decision_id;
    RETURN v_decision_id;
END
$$;

COMMENT ON FUNCTION imgdb._decide(bigint, bigint, text) IS
'Notes what a person decided about an image beside another one, in the place of what was decided '
'before; error IM021 where one of the two is to be removed already.';

CREATE FUNCTION imgdb._undecide(of_image_id bigint)
RETURNS TABLE (image_id bigint, beside_id bigint, verdict text)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    LOCK TABLE imgdb.decision IN SHARE ROW EXCLUSIVE MODE;
    RETURN QUERY
    WITH gone AS (
        DELETE FROM imgdb.decision AS d
        WHERE
            CASE
                WHEN of_image_id IS NOT NULL THEN d.image_id = of_image_id
                -- What was decided together, has one moment.
                ELSE d.decided_at = (
                    SELECT l.decided_at FROM imgdb.decision AS l ORDER BY l.decision_id DESC LIMIT 1
                )
            END
        RETURNING d.decision_id, d.image_id, d.beside_id, d.verdict, d.decided_at
    ),
    -- A mark that was there before is not the decision's: its moment is another one.
    unmarked AS (
        DELETE FROM imgdb.not_duplicate AS n
        USING gone AS g
        WHERE
            g.verdict = 'different'
            AND n.image_id_a = least(g.image_id, g.beside_id)
            AND n.image_id_b = greatest(g.image_id, g.beside_id)
            AND n.marked_at = g.decided_at
    )
    SELECT g.image_id, g.beside_id, g.verdict FROM gone AS g ORDER BY g.decision_id;
END
$$;

COMMENT ON FUNCTION imgdb._undecide(bigint) IS
'Takes back what was decided about an image, NULL standing for what was decided last and together, '
'with the marks that this made; returns it.';

CREATE FUNCTION imgdb._basket()
RETURNS TABLE (
    keeper_id bigint,
    image_id bigint,
    decision_id bigint,
    collection text,
    path text,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    sha256 bytea
)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE step AS (
        SELECT d.image_id, d.beside_id AS keeper_id, d.decision_id
        FROM imgdb.decision AS d
        WHERE d.verdict = 'remove'
        UNION ALL
        SELECT s.image_id, d.beside_id, s.decision_id
        FROM step AS s
        JOIN imgdb.decision AS d ON d.image_id = s.keeper_id AND d.verdict = 'remove'
    ),
    removed AS (
        SELECT s.image_id, s.keeper_id, s.decision_id
        FROM step AS s
        WHERE
            NOT EXISTS (
                SELECT FROM imgdb.decision AS d
                WHERE d.image_id = s.keeper_id AND d.verdict = 'remove'
            )
    ),
    listed AS (
        SELECT r.keeper_id, r.image_id, r.decision_id FROM removed AS r
        UNION ALL
        SELECT DISTINCT r.keeper_id, r.keeper_id, NULL::bigint FROM removed AS r
    )
    SELECT
        l.keeper_id,
        i.image_id,
        l.decision_id,
        c.name,
        i.path,
        i.ahash,
        i.dhash,
        i.phash,
        i.whash,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.sha256
    FROM listed AS l
    JOIN imgdb.image AS i ON i.image_id = l.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE i.sha256 IS NOT NULL AND i.missing_since IS NULL
    ORDER BY l.keeper_id, l.decision_id NULLS FIRST;
END
$$;

COMMENT ON FUNCTION imgdb._basket() IS
'What was decided to be removed, as groups: first what is kept (decision_id is NULL), then what '
'goes for it. Files that are gone are left out.';

CREATE FUNCTION imgdb._part_pairs(
    collection_name text, against_name text, wrong_per_image double precision
)
RETURNS TABLE (image_id bigint, other_id bigint, relation text, votes integer)
LANGUAGE plpgsql STABLE ROWS 5000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_collection_ids integer[] := CASE
        WHEN collection_name IS NOT NULL THEN array_remove(
            ARRAY[imgdb._collection_id(collection_name), imgdb._collection_id(against_name)], NULL
        )
    END;
    v_max_distance integer := (
        SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region'
    );
BEGIN
    RETURN QUERY
    WITH pair AS MATERIALIZED (
        SELECT p.hash_a, p.hash_b FROM imgdb.pairs('region', v_max_distance) AS p
    ),
    alike AS MATERIALIZED (
        SELECT p.hash_a AS asked, p.hash_b AS stored FROM pair AS p
        UNION ALL
        SELECT p.hash_b, p.hash_a FROM pair AS p
        UNION ALL
        SELECT r.region_hash, r.region_hash
        FROM imgdb.image_region AS r
        GROUP BY r.region_hash
        HAVING count(*) > 1
    ),
    held AS MATERIALIZED (
        SELECT a.asked, r.image_id
        FROM alike AS a
        JOIN imgdb.image_region AS r ON r.region_hash = a.stored
    ),
    rare AS MATERIALIZED (
        SELECT h.asked FROM held AS h GROUP BY h.asked HAVING count(DISTINCT h.image_id) <= 100
    ),
    -- One region in common is chance.
    likely AS MATERIALIZED (
        SELECT DISTINCT two.image_id
        FROM (
            SELECT q.image_id, h.image_id AS other_id
            FROM rare AS u
            JOIN held AS h ON h.asked = u.asked
            JOIN imgdb.image_region AS q ON q.region_hash = u.asked
            WHERE q.image_id <> h.image_id
            GROUP BY q.image_id, h.image_id
            HAVING count(DISTINCT q.region) > 1
        ) AS two
    ),
    query AS MATERIALIZED (
        SELECT
            i.image_id, i.width, i.height, i.sha256, known.hashes, known.boxes, found.asked,
            found.stored
        FROM likely AS l
        JOIN imgdb.image AS i ON i.image_id = l.image_id
        CROSS JOIN LATERAL (
            SELECT
                array_agg(r.region_hash ORDER BY r.region, side.place)
                    FILTER (WHERE side.place = 1) AS hashes,
                array_agg(side.length ORDER BY r.region, side.place) AS boxes
            FROM imgdb.image_region AS r
            CROSS JOIN LATERAL unnest(
                ARRAY[r.box_left, r.box_top, r.box_width, r.box_height]
            ) WITH ORDINALITY AS side (length, place)
            WHERE r.image_id = i.image_id
        ) AS known
        JOIN (
            SELECT
                own.image_id,
                array_agg(a.asked) AS asked,
                array_agg(a.stored) AS stored
            FROM (SELECT DISTINCT r.image_id, r.region_hash FROM imgdb.image_region AS r) AS own
            JOIN rare AS u ON u.asked = own.region_hash
            JOIN alike AS a ON a.asked = own.region_hash
            GROUP BY own.image_id
        ) AS found ON found.image_id = i.image_id
        WHERE
            i.region_recipe IS NOT NULL AND i.missing_since IS NULL
            AND (v_collection_ids IS NULL OR i.collection_id = ANY (v_collection_ids))
    )
    SELECT q.image_id, m.image_id, m.relation, m.votes
    FROM query AS q
    CROSS JOIN LATERAL imgdb._region_matches(
        q.width, q.height, q.boxes, q.hashes, q.sha256, NULL, NULL, wrong_per_image, NULL, NULL,
        q.asked, q.stored
    ) AS m
    WHERE m.image_id <> q.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._part_pairs(text, text, double precision) IS
'Pairs of images that share more regions than wrong_per_image of them would by chance: what the '
'other one is to the image (contains it, is a part of it, ...). Most pairs come both ways.';

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
    whash bigint,
    pdq bigint[],
    has_regions boolean
)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, i.path, i.sha256, i.ahash, i.dhash, i.phash, i.whash,
        CASE WHEN p.image_id IS NOT NULL THEN ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4] END,
        i.region_recipe IS NOT NULL
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
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    ORDER BY first.place;
END
$$;

COMMENT ON FUNCTION imgdb._sampled_images(text, integer, bigint) IS
'Images with a file and with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';

CREATE FUNCTION imgdb._searchable_images(collection_name text)
RETURNS TABLE (
    images bigint,
    with_file bigint,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint,
    pdq bigint,
    phash_dhash bigint,
    phash_pdq bigint,
    regions bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        count(*),
        count(i.sha256) FILTER (WHERE i.missing_since IS NULL),
        count(i.ahash),
        count(i.dhash),
        count(i.phash),
        count(i.whash),
        count(p.image_id),
        count(*) FILTER (WHERE i.phash IS NOT NULL AND i.dhash IS NOT NULL),
        count(*) FILTER (WHERE i.phash IS NOT NULL AND p.image_id IS NOT NULL),
        count(i.region_recipe)
    FROM imgdb.image AS i
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE (v_collection_id IS NULL OR i.collection_id = v_collection_id) AND NOT i.flat;
END
$$;

COMMENT ON FUNCTION imgdb._searchable_images(text) IS
'How many images that are not flat a collection, or all, has: in all, with a file that is there, '
'with each hash and with those of each rule, and with regions; error IM011 for an unknown '
'collection.';

CREATE FUNCTION imgdb._drawn_hashes(
    collection_name text, draw_size integer, draw_seed bigint
)
RETURNS TABLE (ahash bigint, dhash bigint, phash bigint, whash bigint, pdq bigint[])
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        i.ahash, i.dhash, i.phash, i.whash,
        CASE WHEN p.image_id IS NOT NULL THEN ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4] END
    FROM imgdb.image AS i
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE
        NOT i.flat
        AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        AND pg_catalog.num_nonnulls(i.ahash, i.dhash, i.phash, i.whash, p.image_id) > 0
    ORDER BY
        pg_catalog.sha256(
            pg_catalog.int8send(draw_seed) || pg_catalog.convert_to(i.path, 'UTF8')
        ),
        i.image_id
    LIMIT draw_size;
END
$$;

COMMENT ON FUNCTION imgdb._drawn_hashes(text, integer, bigint) IS
'The hashes of images with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';

CREATE FUNCTION imgdb._wrong_by_parts(
    collection_name text,
    draw_size integer,
    draw_seed bigint,
    alike_bits integer,
    wrong_per_query double precision
)
RETURNS TABLE (image_id bigint, images bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    WITH drawn AS MATERIALIZED (
        SELECT i.*
        FROM imgdb.image AS i
        WHERE
            i.region_recipe IS NOT NULL AND NOT i.flat
            AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        ORDER BY
            pg_catalog.sha256(
                pg_catalog.int8send(draw_seed) || pg_catalog.convert_to(i.path, 'UTF8')
            ),
            i.image_id
        LIMIT draw_size
    )
    SELECT d.image_id, count(i.image_id)
    FROM drawn AS d
    CROSS JOIN LATERAL (
        SELECT
            array_agg(s.side ORDER BY r.region, s.place) AS boxes,
            array_agg(r.region_hash ORDER BY r.region) FILTER (WHERE s.place = 1) AS hashes
        FROM imgdb.image_region AS r
        CROSS JOIN LATERAL
            unnest(ARRAY[r.box_left, r.box_top, r.box_width, r.box_height])
            WITH ORDINALITY AS s (side, place)
        WHERE r.image_id = d.image_id
    ) AS asked
    LEFT JOIN LATERAL imgdb._region_matches(
        d.width, d.height, asked.boxes, asked.hashes, d.sha256, NULL, NULL, wrong_per_query,
        collection_name, NULL
    ) AS m ON m.image_id <> d.image_id
    LEFT JOIN imgdb.image AS i
        ON
            i.image_id = m.image_id
            AND NOT coalesce(
                greatest(
                    imgdb.distance(i.ahash, d.ahash), imgdb.distance(i.dhash, d.dhash),
                    imgdb.distance(i.phash, d.phash), imgdb.distance(i.whash, d.whash)
                ) <= alike_bits,
                FALSE
            )
    GROUP BY d.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._wrong_by_parts(text, integer, bigint, integer, double precision) IS
'How many images share parts with each of some images, drawn by a seed, and are no copies of it: '
'not within alike_bits in every hash that both have; error IM011 for an unknown collection.';

CREATE FUNCTION imgdb._fill()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb.create_space('ahash', 'imagehash.average_hash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('dhash', 'imagehash.dhash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('phash', 'imagehash.phash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('whash', 'imagehash.whash, 8x8, of the images in imgdb.image');

    PERFORM imgdb.track('imgdb.image', 'ahash', 'ahash');
    PERFORM imgdb.track('imgdb.image', 'dhash', 'dhash');
    PERFORM imgdb.track('imgdb.image', 'phash', 'phash');
    PERFORM imgdb.track('imgdb.image', 'whash', 'whash');

    PERFORM imgdb.create_space('region', 'hashes like phash of the regions in imgdb.image_region');
    PERFORM imgdb.track('imgdb.image_region', 'region_hash', 'region');

    PERFORM imgdb.create_space('pdq', 'the four words of the PDQ hashes in imgdb.image_pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_1', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_2', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_3', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_4', 'pdq');

    -- Within these about as many unlike photographs are found by dhash as by phash within 8, and
    -- by the sum of both within 17. ahash and whash crowd: even equal hashes mean little.
    PERFORM imgdb.set_default_max_distance('dhash', max_distance => 4);
    PERFORM imgdb.set_default_max_distance('ahash', max_distance => 2);
    PERFORM imgdb.set_default_max_distance('whash', max_distance => 2);
    INSERT INTO imgdb.rule (name, default_max_distance) VALUES ('phash+dhash', 17);

    -- The planner assumes that in a table that was never analyzed each hash stands in every 200th
    -- row, and would rather read the whole table than join it by index. So it is told, until the
    -- first real ANALYZE, what a table of one row tells: that hashes differ.
    INSERT INTO imgdb.collection (collection_id, name) VALUES (0, 'imgdb');
    INSERT INTO imgdb.image (image_id, collection_id, path, ahash, dhash, phash, whash, recipe)
    VALUES (0, 0, '/', 0, 0, 0, 0, 'imported');
    INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)
    VALUES (0, 0, 0, 0, 0, 'imported');
    ANALYZE imgdb.image (ahash, dhash, phash, whash);
    ANALYZE imgdb.image_pdq (pdq_1, pdq_2, pdq_3, pdq_4);
    DELETE FROM imgdb.image;
    DELETE FROM imgdb.collection;
    DELETE FROM imgdb.fresh_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._fill() IS
'Makes the built-in spaces and rules, and feeds them from imgdb''s own tables, where there are no '
'rows yet.';

CREATE FUNCTION imgdb._finish_restore()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._sync_triggers(t.table_id)
    FROM imgdb.tracked_column AS t
    JOIN pg_class AS c ON c.oid = t.table_id
    WHERE c.relnamespace = 'imgdb'::regnamespace;
    -- Else each search would read all hashes until the next compact.
    PERFORM imgdb._count_anew(s.space_id) FROM imgdb.space_state AS s WHERE s.hash_count = 0;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._finish_restore() IS
'Trigger: when tracked columns are restored, makes the triggers of imgdb''s own tables and counts.';

CREATE TRIGGER tracked_column_finish_restore
AFTER INSERT ON imgdb.tracked_column
FOR EACH STATEMENT
WHEN (current_setting('row_security') = 'off')
EXECUTE FUNCTION imgdb._finish_restore();

CREATE FUNCTION imgdb._revision()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '0002_second_engine';

COMMENT ON FUNCTION imgdb._revision() IS 'The revision that this schema is.';

CREATE FUNCTION imgdb._compatible_since()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '0002_second_engine';

COMMENT ON FUNCTION imgdb._compatible_since() IS
'The oldest revision whose clients still find here all that they call.';

CREATE FUNCTION imgdb._rights(access text)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- What runs with the rights of imgdb's owner and answers with paths, but with no hash.
    v_search text[] := ARRAY['find_images', 'find_pdq'];
    v_watch text[] := ARRAY['watch', 'unwatch', 'acknowledge', '_hold_writers'];
    -- What the owner of a space calls, and what these call with his rights.
    v_keep text[] := ARRAY[
        'create_space', '_make_space', 'drop_space', 'set_default_max_distance', 'track', 'untrack',
        'catch_up', 'rebuild', 'drop_stale', 'check_space', 'missing_hashes', '_claim_space',
        '_release_space', '_forget_dropped', '_hold_table', '_column_query', '_source_query',
        '_sync_triggers', '_append_hashes', '_note_tracked', '_forget_tracked', '_lock_claimed',
        '_add_band', '_count_added', '_index_source', '_make_shadow', '_use_shadow',
        '_begin_rebuild', '_fill_shadow', '_end_rebuild', '_remove_hashes', '_put_back',
        '_drop_if_stale'
    ];
    v_compact text[] := ARRAY[
        'compact', '_begin_care', '_end_care', '_merge', '_flush_all', '_count_anew', '_merge_next',
        '_flush_next'
    ];
    -- What only others of imgdb's own functions call, with the rights of its owner.
    v_nobody text[] := ARRAY[
        'grant_access', 'revoke_access', 'distribute', 'undistribute', '_rights', '_check_role',
        '_prepare_probes', '_add_rows', '_count_in', '_fold_hashes', '_load', '_append', '_flush',
        '_lock_space', '_note_matches', '_may_maintain', '_fill', '_finish_restore'
    ];
    v_engine text[] := ARRAY[
        'space', 'probe', 'prefix_bucket', 'fresh_hashes', 'space_state', 'tracked_column'
    ];
BEGIN
    IF access IS NULL OR access NOT IN ('search', 'read', 'write', 'keep', 'maintain') THEN
        RAISE EXCEPTION 'there is no access "%"', access USING
            ERRCODE = 'IM012',
            HINT = 'It is search, read, write, keep or maintain.';
    END IF;
    RETURN NEXT 'USAGE ON SCHEMA imgdb';
    RETURN QUERY
    SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
    FROM pg_proc AS p
    WHERE
        p.pronamespace = 'imgdb'::regnamespace
        AND p.proname <> ALL (v_nobody)
        AND CASE
            WHEN p.proname = ANY (v_search) THEN access IN ('search', 'read', 'write')
            WHEN p.proname = ANY (v_watch) THEN access IN ('write', 'keep')
            -- What only computes, such as imgdb.from_hex.
            WHEN access = 'search' THEN p.proname !~ '^_' AND p.provolatile = 'i'
            -- What writes nothing.
            WHEN p.prokind = 'f' AND p.provolatile <> 'v' THEN true
            WHEN access = 'read' THEN p.proname = 'check_space'
            WHEN access = 'keep' THEN p.proname = ANY (v_keep || v_compact)
            WHEN access = 'maintain' THEN p.proname = ANY (v_compact)
            WHEN access = 'write'
                THEN p.proname <> ALL (v_keep || v_compact) AND p.prorettype <> 'trigger'::regtype
        END;
    IF access = 'maintain' THEN
        RETURN NEXT 'EXECUTE ON FUNCTION imgdb._may_maintain()';
    END IF;
    IF access = 'search' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT format('SELECT ON imgdb.%I', c.relname)
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        -- Who looks after spaces sees no image.
        AND (
            access IN ('read', 'write') OR c.relkind = 'v'
            OR c.relname = ANY (v_engine || ARRAY['alembic_version', 'rule'])
        );
    IF access = 'write' THEN
        RETURN QUERY
        SELECT format('INSERT, UPDATE, DELETE ON imgdb.%I', c.relname)
        FROM pg_class AS c
        WHERE
            c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname <> ALL (
                v_engine || ARRAY['alembic_version', 'watch_list', 'watch_probe', 'match']
            );
    ELSIF access = 'keep' THEN
        RETURN NEXT 'INSERT (name, description, band_masks), DELETE, '
        'UPDATE (description, default_max_distance, claimed_by) ON imgdb.own_space';
    END IF;
    IF access IN ('write', 'keep') THEN
        RETURN NEXT 'INSERT (space_id, hash, radius, label), DELETE ON imgdb.own_watch_list';
        RETURN NEXT 'DELETE ON imgdb.own_match';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._rights(text) IS
'What GRANT gives for an access: search, read, write, keep or maintain.';

CREATE FUNCTION imgdb._check_role(role_name name)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regrole(quote_ident(role_name)) IS NULL THEN
        RAISE EXCEPTION 'there is no role "%"', coalesce(role_name, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'CREATE ROLE makes one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_role(name) IS 'Error IM012 unless there is a role of that name.';

CREATE FUNCTION imgdb.grant_access(role_name name, access text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rights text[] := ARRAY(SELECT imgdb._rights(access));
    v_right text;
BEGIN
    -- PUBLIC is no role, and gets nothing.
    PERFORM imgdb._check_role(role_name);
    FOREACH v_right IN ARRAY v_rights LOOP
        EXECUTE format('GRANT %s TO %I', v_right, role_name);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.grant_access(name, text) IS
'Lets a role search (call find_images and find_pdq, see no table), read (all), write (read, and '
'ingest), keep (make and look after spaces of its own) or maintain (compact all spaces). For the '
'owner of the schema.';

CREATE FUNCTION imgdb.revoke_access(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_role(role_name);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA imgdb FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA imgdb FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA imgdb FROM %I', role_name);
END
$$;

COMMENT ON FUNCTION imgdb.revoke_access(name) IS
'Takes back all that imgdb.grant_access gave a role. For the owner of schema imgdb.';

REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA imgdb FROM public;

-- By hand, at last
SELECT imgdb._prepare_probes(s.space_id) FROM imgdb.space AS s;
INSERT INTO imgdb.space_state (space_id) SELECT s.space_id FROM imgdb.space AS s;
SELECT imgdb._count_anew(s.space_id) FROM imgdb.space AS s;
UPDATE imgdb.space_state SET merged_at = NULL;

DO $do$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN SELECT DISTINCT t.table_id FROM imgdb.tracked_column AS t LOOP
        BEGIN
            PERFORM imgdb._sync_triggers(v_table);
        EXCEPTION
            WHEN SQLSTATE 'IM013' THEN
                RAISE WARNING '%: its owner must call imgdb.catch_up for it now', v_table;
        END;
    END LOOP;
END
$do$;

-- As in a new database: the planner is told that words differ, before they are tracked. And that
-- imgdb.image has rows where it has pages: an index that is made on an empty table says that there
-- are none, and the planner believes it until the first ANALYZE, however much is added.
INSERT INTO imgdb.collection (collection_id, name) VALUES (0, 'imgdb');
INSERT INTO imgdb.image (image_id, collection_id, path, recipe) VALUES (0, 0, '/', 'imported');
INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)
VALUES (0, 0, 0, 0, 0, 'imported');
ANALYZE imgdb.image (image_id);
ANALYZE imgdb.image_pdq (pdq_1, pdq_2, pdq_3, pdq_4);
DELETE FROM imgdb.image
WHERE image_id = 0;
DELETE FROM imgdb.collection
WHERE collection_id = 0;
SELECT imgdb.create_space('pdq', 'the four words of the PDQ hashes in imgdb.image_pdq');
SELECT imgdb.track('imgdb.image_pdq', 'pdq_1', 'pdq');
SELECT imgdb.track('imgdb.image_pdq', 'pdq_2', 'pdq');
SELECT imgdb.track('imgdb.image_pdq', 'pdq_3', 'pdq');
SELECT imgdb.track('imgdb.image_pdq', 'pdq_4', 'pdq');
-- End by hand
