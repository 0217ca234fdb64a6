-- Sorted and merged, never hashed (imgdb._add_rows says why).
CREATE FUNCTION imgdb._hubs(
    space_name text,
    max_distance integer,
    flood_limit integer,
    collection_name text,
    hub_limit integer
)
RETURNS TABLE (hash bigint, images bigint, matches bigint, path text)
LANGUAGE plpgsql STABLE ROWS 20 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer := imgdb._collection_id(collection_name);
    -- One entry per distinct hash, in step: how many images have it.
    v_hashes bigint[];
    v_images bigint[];
    -- The same of those that are hubs, and how many other images match.
    v_hub_hashes bigint[];
    v_hub_images bigint[];
    v_hub_matches bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
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
