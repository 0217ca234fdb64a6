CREATE FUNCTION imgdb._in_archive(of_path text)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN of_path ~* '\.(zip|cbz|tar|cbt|t[gbx]z|tbz2|tar\.(gz|bz2|xz))!/';

COMMENT ON FUNCTION imgdb._in_archive(text) IS
'Whether a path names a member of an archive, by its spelling.';

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

-- The narrower tiers compare nothing but equality, so a number for each distinct value will do.
CREATE FUNCTION imgdb._duplicate_key(space_name text, tier_name text)
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

-- For a program that compares them in its own memory: no NULL, so that all rows are of one length.
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
