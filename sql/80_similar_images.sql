CREATE FUNCTION imgdb._image_column(space_name text)
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

COMMENT ON FUNCTION imgdb._image_column(text) IS
'The column of imgdb.image that feeds a space; error IM009 if there is none.';

-- The column of imgdb.image depends on the space, so the statements are made for the column. Who
-- asks with the hash of images in the database means these: what was marked as different from all
-- of them is no answer. (What has the very same hash cannot be told apart here, and is.)
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

COMMENT ON FUNCTION imgdb.similar_images(text, bigint, integer, text, integer, boolean) IS
'The images within max_distance of query_hash, nearest first, then by path; flat if asked for.';
