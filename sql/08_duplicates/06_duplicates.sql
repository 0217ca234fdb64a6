-- A giant chain has too many pairs to measure, and nobody looks through such a group.
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

CREATE FUNCTION imgdb._keep_order(
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

COMMENT ON FUNCTION imgdb._keep_order(text, bigint, bigint, timestamptz, text) IS
'The smaller, the rather an image is kept; NULL where the rule does not say.';

-- Of a file of several frames or pages only the first was looked at, and a raw is no copy of the
-- JPEG that was made of it: files of one kind alone can stand for each other.
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
