CREATE OR REPLACE FUNCTION imgdb.duplicate_groups(
    space_name text,
    max_distance integer,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_marked bigint[];
    -- One entry per image, in step.
    v_images bigint[];
    v_hashes bigint[];
    v_nodes integer[];
    -- One entry per node: its parent in a forest whose trees are the groups (union-find).
    v_parents integer[];
    v_a integer;
    v_b integer;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    SELECT array_agg(d.image_id_a) || array_agg(d.image_id_b)
    INTO v_marked
    FROM imgdb.not_duplicate AS d;
    -- A node is a hash and stands for all images that have it. But an image that somebody marked as
    -- different from another is a node of its own, for only some of its edges hold.
    EXECUTE format(
        'SELECT array_agg(n.image_id), array_agg(n.hash), array_agg(n.node) FROM ('
        'SELECT i.image_id, i.%1$I AS hash, dense_rank() OVER (ORDER BY i.%1$I, m.image_id) AS node '
        'FROM imgdb.image AS i '
        'LEFT JOIN (SELECT DISTINCT unnest($2)) AS m (image_id) ON m.image_id = i.image_id '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat AND i.missing_since IS NULL '
        'AND ($1 IS NULL OR i.collection_id = $1)) AS n',
        v_column
    ) INTO v_images, v_hashes, v_nodes USING v_collection_id, v_marked;
    SELECT array_agg(n.node ORDER BY n.node)
    INTO v_parents
    FROM generate_series(1, (SELECT max(n.node) FROM unnest(v_nodes) AS n (node))) AS n (node);
    FOR v_a, v_b IN
        WITH node AS (
            SELECT DISTINCT ON (i.node) i.node, i.hash, marked.image_id
            FROM unnest(v_images, v_hashes, v_nodes) AS i (image_id, hash, node)
            LEFT JOIN (SELECT DISTINCT unnest(v_marked)) AS marked (image_id)
                ON marked.image_id = i.image_id
            ORDER BY i.node
        ),
        near AS (
            SELECT p.hash_a, p.hash_b
            FROM imgdb._pairs_among(
                (SELECT array_agg(DISTINCT h.hash) FROM unnest(v_hashes) AS h (hash)), max_distance
            ) AS p
            UNION ALL
            SELECT n.hash, n.hash FROM node AS n WHERE n.image_id IS NOT NULL
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.hash = near.hash_a
        JOIN node AS b ON b.hash = near.hash_b AND b.node <> a.node
        WHERE NOT EXISTS (
            SELECT FROM imgdb.not_duplicate AS d
            WHERE
                d.image_id_a = least(a.image_id, b.image_id)
                AND d.image_id_b = greatest(a.image_id, b.image_id)
                AND a.image_id IS NOT NULL AND b.image_id IS NOT NULL
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
    SELECT
        member.first_image, member.image_id, i.path,
        imgdb.distance(member.hash, member.first_hash)
    FROM (
        SELECT
            m.image_id,
            m.hash,
            first_value(m.image_id) OVER by_root AS first_image,
            first_value(m.hash) OVER by_root AS first_hash,
            count(*) OVER (PARTITION BY v_parents[m.node]) AS size
        FROM unnest(v_images, v_hashes, v_nodes) AS m (image_id, hash, node)
        WINDOW by_root AS (PARTITION BY v_parents[m.node] ORDER BY m.image_id)
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    WHERE member.size > 1
    ORDER BY 1, 4, 3;
END
$$;

DROP TRIGGER image_forget_marks ON imgdb.image;
DROP FUNCTION imgdb._diameter(bigint[]);
DROP FUNCTION imgdb._keep_order(text, bigint, bigint, timestamptz, text);
DROP FUNCTION imgdb._duplicates(
    text, integer, text, text, text, boolean, bigint, bigint,
    text, text, integer, bigint[], bigint[]
);
DROP FUNCTION imgdb._in_archive(text);
DROP FUNCTION imgdb._duplicate_key(text, text);
DROP FUNCTION imgdb._duplicate_candidates(text, text, text, text, boolean, bigint, bigint);
DROP FUNCTION imgdb._same_bytes_pairs(bigint[], bigint[], integer[], integer[], bigint[]);
DROP FUNCTION imgdb._different_pairs();
DROP FUNCTION imgdb._connected_images(
    bigint[], bigint[], integer[], integer[], integer, bigint[], bigint[], bigint[], bigint[]
);
DROP FUNCTION imgdb._forget_marks();
DROP FUNCTION imgdb._images_at(text[], text);
DROP FUNCTION imgdb._mark_different(bigint[], bigint[]);
DROP FUNCTION imgdb._unmark_different(bigint[], bigint[]);
DROP FUNCTION imgdb._marks(text);
