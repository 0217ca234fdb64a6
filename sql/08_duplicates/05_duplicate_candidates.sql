CREATE FUNCTION imgdb._in_archive(of_path text)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN of_path ~* '\.(zip|cbz|tar|cbt|t[gbx]z|tbz2|tar\.(gz|bz2|xz))!/';

COMMENT ON FUNCTION imgdb._in_archive(text) IS
'Whether a path names a member of an archive, by its spelling.';

-- The narrower tiers compare nothing but equality, so a number for each distinct value will do.
CREATE FUNCTION imgdb._duplicate_key(space_name text, tier_name text)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hashes name[] := imgdb._rule_hashes(space_name);
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

COMMENT ON FUNCTION imgdb._duplicate_key(text, text) IS
'The expression over imgdb.image AS i whose values are compared to find duplicates of a tier.';

-- Side 2 is the collection that others are compared against, side 1 are these others.
CREATE FUNCTION imgdb._duplicate_candidates(
    space_name text,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    left_out bigint[]
)
RETURNS TABLE (image_id bigint, hash bigint, second bigint, side integer, folder integer)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hashes name[] := imgdb._rule_hashes(space_name);
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
            'AND o.image_id NOT IN (SELECT unnest($5)) '
            'AND ($1 IS NULL OR o.collection_id = ANY ($1)) '
            'AND (coalesce(o.collection_id = $2, false), i.image_id) '
            '> (coalesce(i.collection_id = $2, false), o.image_id))';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT i.image_id, %s, %s, CASE WHEN $2 IS NOT NULL THEN '
        'CASE WHEN i.collection_id = $2 THEN 2 ELSE 1 END END, %s FROM imgdb.image AS i '
        'WHERE i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = ANY ($1)) '
        'AND ($3 IS NULL OR i.byte_size >= $3) '
        'AND ($4 IS NULL OR i.width::bigint * i.height >= $4) '
        'AND i.image_id NOT IN (SELECT unnest($5)) %s',
        imgdb._duplicate_key(space_name, tier_name), v_second, v_folder, v_once
    ) USING v_collection_ids, v_against_id, least_bytes, least_pixels, left_out;
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_candidates(
    text, text, text, text, boolean, bigint, bigint, bigint[]
) IS
'The images that are compared to find duplicates, each file once: what is compared (NULL if only '
'the bytes are), with the second hash of a rule, and their side and folder where these matter.';

-- Files of the same bytes whose hashes do not say so: flat ones, or hashed by other rules. Each is
-- paired with one file of the first three folders (imgdb._connected_images), marked ones with all.
CREATE FUNCTION imgdb._same_bytes_pairs(
    of_images bigint[],
    of_hashes bigint[],
    of_seconds bigint[],
    of_sides integer[],
    of_folders integer[],
    marked_images bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 900
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT
            c.image_id, c.side, c.folder, i.sha256, c.hash, c.second,
            m.image_id IS NOT NULL AS marked
        FROM unnest(of_images, of_hashes, of_seconds, of_sides, of_folders)
            AS c (image_id, hash, second, side, folder)
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
                AND (
                    min(k.hash) <> max(k.hash) OR count(k.hash) < count(*)
                    OR min(k.second) <> max(k.second)
                    OR of_seconds IS NOT NULL AND count(k.second) < count(*)
                )
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
    bigint[], bigint[], bigint[], integer[], integer[], bigint[]
) IS
'Pairs that connect files of the same bytes among images where their hashes do not.';

-- A mark is about files: it holds for the rows of the same paths in other collections as well.
CREATE FUNCTION imgdb._different_pairs()
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

COMMENT ON FUNCTION imgdb._different_pairs() IS
'Pairs of images that somebody marked as different, the smaller identity first.';

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
