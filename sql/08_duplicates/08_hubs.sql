-- Sorted and merged, never hashed (imgdb._add_rows says why).
CREATE FUNCTION imgdb._hubs(
    space_name text,
    max_distance integer,
    flood_limit integer,
    collection_name text,
    hub_limit integer,
    most_in_array bigint DEFAULT 10000000
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
    v_held text := format(
        'SELECT i.%1$I AS hash, count(*) AS images FROM imgdb.image AS i '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat '
        'AND (%2$L::integer IS NULL OR i.collection_id = %2$L::integer) GROUP BY i.%1$I',
        v_column, v_collection_id
    );
    v_count bigint;
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    EXECUTE format('SELECT count(*) FROM (%s) AS h', v_held) INTO v_count;
    -- Pairs read the hashes many times over: as an array faster, if they are not too many for one.
    IF v_count <= most_in_array THEN
        EXECUTE format('SELECT array_agg(h.hash) FROM (%s) AS h', v_held) INTO v_hashes;
    END IF;
    RETURN QUERY EXECUTE format(
        $query$
        WITH held AS MATERIALIZED (%1$s),
        pair AS MATERIALIZED (
            SELECT p.hash_a, p.hash_b FROM imgdb._pairs_query(%2$L, $1, $2, $3) AS p
        ),
        match AS (
            SELECT h.hash, h.images, h.images - 1 AS matches FROM held AS h
            UNION ALL
            SELECT p.hash_a, 0, b.images FROM pair AS p JOIN held AS b ON b.hash = p.hash_b
            UNION ALL
            SELECT p.hash_b, 0, a.images FROM pair AS p JOIN held AS a ON a.hash = p.hash_a
        ),
        hub AS (
            SELECT m.hash, sum(m.images)::bigint AS images, sum(m.matches)::bigint AS matches
            FROM match AS m
            GROUP BY m.hash
            HAVING sum(m.matches) > $4
            ORDER BY 3 DESC, 2 DESC, m.hash
            LIMIT $5
        )
        SELECT hub.hash, hub.images, hub.matches, (
            SELECT min(i.path) FROM imgdb.image AS i
            WHERE i.%3$I = hub.hash AND NOT i.flat AND ($6 IS NULL OR i.collection_id = $6)
        )
        FROM hub
        ORDER BY 3 DESC, 2 DESC, 1
        $query$,
        v_held,
        CASE
            WHEN v_hashes IS NULL THEN format('SELECT h.hash FROM (%s) AS h', v_held)
            ELSE 'SELECT unnest($1)'
        END,
        v_column
    ) USING v_hashes, v_count, max_distance, flood_limit, hub_limit, v_collection_id;
END
$$;

COMMENT ON FUNCTION imgdb._hubs(text, integer, integer, text, integer, bigint) IS
'The hashes whose images match more than flood_limit other images, most matches first: how many '
'images have the hash, how many others are within max_distance of one of them, and the first path. '
'Flat images do not count.';
