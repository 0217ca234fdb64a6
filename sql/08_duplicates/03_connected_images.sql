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
-- ten thousand copies of one placeholder with each other. Where images are told apart by side or
-- folder, it is what is of one hash, side and folder. An image for which only some edges of its
-- node hold (it is marked as different from another; or it is linked, and its like are no
-- neighbours) is a node of its own.
CREATE FUNCTION imgdb._connected_images(
    of_images bigint[],
    of_hashes bigint[],
    of_seconds bigint[],
    of_sides integer[],
    of_folders integer[],
    max_distance integer,
    linked_a bigint[],
    linked_b bigint[],
    different_a bigint[],
    different_b bigint[]
)
RETURNS TABLE (image_id bigint, first_image_id bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_apart boolean := of_sides IS NOT NULL OR of_folders IS NOT NULL;
    v_lone bigint[] := different_a || different_b
        || CASE WHEN v_apart THEN linked_a || linked_b END;
    -- One entry per image, in step.
    v_images bigint[];
    v_keys bigint[];
    v_sides integer[];
    v_folders integer[];
    v_nodes integer[];
    -- One entry per hash, or per two together; v_keys are places in these.
    v_hashes bigint[];
    v_seconds bigint[];
    -- One entry per node: its parent in a forest whose trees are the groups (union-find).
    v_parents integer[];
    v_a integer;
    v_b integer;
BEGIN
    SELECT
        pg_catalog.array_agg(n.image_id),
        pg_catalog.array_agg(n.key),
        pg_catalog.array_agg(n.side),
        pg_catalog.array_agg(n.folder),
        pg_catalog.array_agg(n.node),
        pg_catalog.array_agg(n.hash ORDER BY n.key) FILTER (WHERE n.is_first AND n.key > 0),
        pg_catalog.array_agg(n.second ORDER BY n.key) FILTER (
            WHERE n.is_first AND n.key > 0 AND of_seconds IS NOT NULL
        )
    INTO v_images, v_keys, v_sides, v_folders, v_nodes, v_hashes, v_seconds
    FROM (
        SELECT
            i.image_id, i.hash, i.second, i.side, i.folder,
            CASE
                WHEN pg_catalog.num_nonnulls(i.hash, i.second) > 0
                    THEN pg_catalog.dense_rank() OVER (ORDER BY i.hash, i.second)
            END AS key,
            pg_catalog.row_number() OVER (PARTITION BY i.hash, i.second) = 1 AS is_first,
            pg_catalog.dense_rank() OVER (
                ORDER BY
                    i.hash, i.second, i.side, i.folder, lone.image_id,
                    CASE WHEN pg_catalog.num_nonnulls(i.hash, i.second) = 0 THEN i.image_id END
            ) AS node
        FROM unnest(of_images, of_hashes, of_seconds, of_sides, of_folders)
            AS i (image_id, hash, second, side, folder)
        LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id) ON lone.image_id = i.image_id
    ) AS n;
    SELECT array_agg(n.node ORDER BY n.node)
    INTO v_parents
    FROM generate_series(1, (SELECT max(n.node) FROM unnest(v_nodes) AS n (node))) AS n (node);
    FOR v_a, v_b IN
        WITH image AS MATERIALIZED (
            SELECT i.image_id, i.key, i.side, i.folder, i.node
            FROM unnest(v_images, v_keys, v_sides, v_folders, v_nodes)
                AS i (image_id, key, side, folder, node)
        ),
        -- Of many folders with near hashes, comparing the first three of each hash and side with
        -- all others is enough: two folders always have a neighbour in common among three.
        node AS MATERIALIZED (
            SELECT
                one.*,
                CASE
                    WHEN one.image_id IS NULL THEN pg_catalog.row_number() OVER (
                        PARTITION BY one.key, one.side, one.image_id IS NULL ORDER BY one.folder
                    )
                    ELSE 0
                END AS place
            FROM (
                SELECT DISTINCT ON (i.node) i.node, i.key, i.side, i.folder, lone.image_id
                FROM image AS i
                LEFT JOIN (SELECT DISTINCT pg_catalog.unnest(v_lone)) AS lone (image_id)
                    ON lone.image_id = i.image_id
                WHERE i.key IS NOT NULL
                ORDER BY i.node
            ) AS one
        ),
        pair AS (
            SELECT p.place_a, p.place_b
            FROM imgdb._pairs_by_rule(v_hashes, v_seconds, max_distance) AS p
        ),
        near AS (
            SELECT p.place_a, p.place_b, -1 AS beyond FROM pair AS p
            UNION ALL
            -- The other way round, for nodes beyond the first three on the first side.
            SELECT p.place_b, p.place_a, 3 FROM pair AS p WHERE of_folders IS NOT NULL
            UNION ALL
            SELECT n.key, n.key, -1 FROM node AS n GROUP BY n.key HAVING pg_catalog.count(*) > 1
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.key = near.place_a AND a.place <= 3
        JOIN node AS b ON b.key = near.place_b AND b.node <> a.node AND b.place > near.beyond
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
            )
        UNION ALL
        SELECT a.node, b.node
        FROM unnest(linked_a, linked_b) AS linked (image_id_a, image_id_b)
        JOIN image AS a ON a.image_id = linked.image_id_a
        JOIN image AS b ON b.image_id = linked.image_id_b AND b.node <> a.node
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
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
            -- The images of one node are neighbours only where nothing sets them apart.
            CASE WHEN v_apart THEN min(m.node) OVER tree ELSE min(m.image_id) OVER tree END AS least,
            CASE WHEN v_apart THEN max(m.node) OVER tree ELSE max(m.image_id) OVER tree END AS most
        FROM unnest(v_images, v_nodes) AS m (image_id, node)
        WINDOW tree AS (PARTITION BY v_parents[m.node])
    ) AS member
    WHERE member.least < member.most;
END
$$;

COMMENT ON FUNCTION imgdb._connected_images(
    bigint[], bigint[], bigint[], integer[], integer[], integer, bigint[], bigint[], bigint[],
    bigint[]
) IS
'Groups of images connected by near hashes (with of_seconds: by the sum of both distances) or by '
'linked pairs, less different pairs (the smaller identity first). Sides and folders are NULL, or '
'only pairs of unlike ones count.';
