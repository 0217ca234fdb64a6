DROP FUNCTION imgdb._matches(
    text, bigint[], bigint[], bigint[], bigint[], text[], bytea, integer, text, integer, integer,
    boolean
);

-- What a person needs to judge a match, in one call. A file of the same bytes is found by them even
-- where its row lacks the hash, or has one that was made by other rules.
CREATE FUNCTION imgdb._matches(
    space_name text,
    query_ahash bigint,
    query_dhash bigint,
    query_phash bigint,
    query_whash bigint,
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    include_flat boolean
)
RETURNS TABLE (
    path text,
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
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
    v_query_hash bigint := CASE space_name
        WHEN 'ahash' THEN query_ahash
        WHEN 'dhash' THEN query_dhash
        WHEN 'phash' THEN query_phash
        WHEN 'whash' THEN query_whash
    END;
    -- Of the images that are this very file, somebody may have said which others are different.
    v_different bigint[] := imgdb._different_from(
        ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
    );
BEGIN
    RETURN QUERY
    WITH found AS (
        SELECT m.image_id
        FROM imgdb.similar_images(
            space_name, v_query_hash, v_max_distance, collection_name, match_limit, include_flat
        ) AS m
        UNION
        SELECT i.image_id
        FROM imgdb.image AS i
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        WHERE i.sha256 = query_sha256 AND (collection_name IS NULL OR c.name = collection_name)
    ),
    measured AS (
        SELECT
            f.image_id,
            imgdb.distance(i.ahash, query_ahash) AS ahash_distance,
            imgdb.distance(i.dhash, query_dhash) AS dhash_distance,
            imgdb.distance(i.phash, query_phash) AS phash_distance,
            imgdb.distance(i.whash, query_whash) AS whash_distance,
            coalesce(i.sha256 = query_sha256, false) AS same_bytes
        FROM found AS f
        JOIN imgdb.image AS i ON i.image_id = f.image_id
        WHERE v_different IS NULL OR f.image_id <> ALL (v_different)
    )
    SELECT
        i.path,
        CASE space_name
            WHEN 'ahash' THEN m.ahash_distance
            WHEN 'dhash' THEN m.dhash_distance
            WHEN 'phash' THEN m.phash_distance
            WHEN 'whash' THEN m.whash_distance
        END AS distance,
        m.ahash_distance,
        m.dhash_distance,
        m.phash_distance,
        m.whash_distance,
        m.same_bytes,
        c.name,
        i.image_id,
        i.width,
        i.height,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since
    FROM measured AS m
    JOIN imgdb.image AS i ON i.image_id = m.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ORDER BY m.same_bytes DESC, distance, i.path, i.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._matches(
    text, bigint, bigint, bigint, bigint, bytea, integer, text, integer, boolean
) IS
'similar_images, with all four distances and what is known of each file. Files of the same bytes '
'come first, then the nearest; NULL as max_distance stands for the default of the space.';

-- The column of imgdb.image depends on the space, so the statements are made for the column. Who
-- asks with the hash of images in the database means these: what was marked as different from all
-- of them is no answer. (What has the very same hash cannot be told apart here, and is.)
CREATE OR REPLACE FUNCTION imgdb.similar_images(
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
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_asked_for bigint[];
    v_different bigint[];
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
        EXECUTE format('SELECT array_agg(i.image_id) FROM imgdb.image AS i WHERE i.%I = $1', v_column)
        INTO v_asked_for USING query_hash;
        v_different := imgdb._different_from(v_asked_for);
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT i.image_id, c.name, i.path, m.distance '
        'FROM imgdb.within($1, $2, $3) AS m '
        'JOIN imgdb.image AS i ON i.%I = m.hash '
        'JOIN imgdb.collection AS c ON c.collection_id = i.collection_id '
        'WHERE ($4 IS NULL OR i.collection_id = $4) AND ($5 OR NOT i.flat) '
        'AND ($7 IS NULL OR i.image_id <> ALL ($7)) '
        'ORDER BY m.distance, i.path, i.image_id LIMIT $6',
        v_column
    ) USING space_name, query_hash, max_distance, v_collection_id, include_flat, match_limit,
        v_different;
END
$$;

DROP FUNCTION imgdb._found_images(
    text, bigint[], bytea, integer, text, integer, integer, boolean
);
