-- What similar_images and _matches share: images near any of the query hashes (one picture's, in
-- several orientations), and files of the same bytes. The column of imgdb.image depends on the
-- space, so the statement is made for the column. An image that is near several query hashes counts
-- for the nearest, then for the first of them.
--
-- A caller who gives the hash of images in the database asks for what is like these (and like files
-- of the same bytes). What was marked as different from all of them is no answer. (Images of the
-- very same hash cannot be told apart here, and count as these.)
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
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer := imgdb._collection_id(collection_name);
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
