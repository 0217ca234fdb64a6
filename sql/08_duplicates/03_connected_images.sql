-- Two distances that sum up to max_distance are not both above half of it: so pairs are looked for
-- by each hash alone, within half, and what the first one finds is left out of the second's.
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

-- A node is a hash (by a sum: two together) and stands for all images that have it: nobody compares
-- ten thousand copies of one placeholder with each other. An image that is marked as different from
-- another is a node of its own.
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
