-- A node is a hash and stands for all images that have it: nobody compares ten thousand copies of
-- one placeholder with each other. Where images are told apart by side or folder, it is what is of
-- one hash, side and folder. An image for which only some edges of its node hold (it is marked as
-- different from another; or it is linked, and its like are no neighbours) is a node of its own.
CREATE FUNCTION imgdb._connected_images(
    of_images bigint[],
    of_hashes bigint[],
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
    v_hashes bigint[];
    v_sides integer[];
    v_folders integer[];
    v_nodes integer[];
    -- One entry per node: its parent in a forest whose trees are the groups (union-find).
    v_parents integer[];
    v_a integer;
    v_b integer;
BEGIN
    SELECT
        array_agg(n.image_id), array_agg(n.hash), array_agg(n.side), array_agg(n.folder),
        array_agg(n.node)
    INTO v_images, v_hashes, v_sides, v_folders, v_nodes
    FROM (
        SELECT
            i.image_id, i.hash, i.side, i.folder,
            dense_rank() OVER (
                ORDER BY
                    i.hash, i.side, i.folder, lone.image_id,
                    CASE WHEN i.hash IS NULL THEN i.image_id END
            ) AS node
        FROM unnest(of_images, of_hashes, of_sides, of_folders) AS i (image_id, hash, side, folder)
        LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id) ON lone.image_id = i.image_id
    ) AS n;
    SELECT array_agg(n.node ORDER BY n.node)
    INTO v_parents
    FROM generate_series(1, (SELECT max(n.node) FROM unnest(v_nodes) AS n (node))) AS n (node);
    FOR v_a, v_b IN
        WITH image AS MATERIALIZED (
            SELECT i.image_id, i.hash, i.side, i.folder, i.node
            FROM unnest(v_images, v_hashes, v_sides, v_folders, v_nodes)
                AS i (image_id, hash, side, folder, node)
        ),
        -- Of many folders with near hashes, comparing the first three of each hash and side with
        -- all others is enough: two folders always have a neighbour in common among three.
        node AS MATERIALIZED (
            SELECT
                one.*,
                CASE
                    WHEN one.image_id IS NULL THEN row_number() OVER (
                        PARTITION BY one.hash, one.side, one.image_id IS NULL ORDER BY one.folder
                    )
                    ELSE 0
                END AS place
            FROM (
                SELECT DISTINCT ON (i.node) i.node, i.hash, i.side, i.folder, lone.image_id
                FROM image AS i
                LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id)
                    ON lone.image_id = i.image_id
                WHERE i.hash IS NOT NULL
                ORDER BY i.node
            ) AS one
        ),
        pair AS (
            SELECT p.hash_a, p.hash_b
            FROM imgdb._pairs_among(
                (SELECT array_agg(DISTINCT h.hash) FROM unnest(v_hashes) AS h (hash)
                    WHERE h.hash IS NOT NULL),
                max_distance
            ) AS p
        ),
        near AS (
            SELECT p.hash_a, p.hash_b, -1 AS beyond FROM pair AS p
            UNION ALL
            -- The other way round, for nodes beyond the first three on the first side.
            SELECT p.hash_b, p.hash_a, 3 FROM pair AS p WHERE of_folders IS NOT NULL
            UNION ALL
            SELECT n.hash, n.hash, -1 FROM node AS n GROUP BY n.hash HAVING count(*) > 1
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.hash = near.hash_a AND a.place <= 3
        JOIN node AS b ON b.hash = near.hash_b AND b.node <> a.node AND b.place > near.beyond
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
    bigint[], bigint[], integer[], integer[], integer, bigint[], bigint[], bigint[], bigint[]
) IS
'Groups of images connected by near hashes or by linked pairs, less different pairs (the smaller '
'identity first). Sides and folders are NULL, or only pairs of unlike ones count.';
