CREATE FUNCTION imgdb._turnable(
    space_name text,
    collection_name text,
    against_name text,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (
    image_id bigint, hash bigint, second bigint, path text, sha256 bytea, colours bytea,
    to_turn boolean
)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, c.hash, c.second, i.path, i.sha256, i.colours, c.side IS DISTINCT FROM 2
    FROM imgdb._duplicate_candidates(
        space_name, 'near', collection_name, against_name, false, least_bytes, least_pixels
    ) AS c
    JOIN imgdb.image AS i ON i.image_id = c.image_id
    WHERE pg_catalog.num_nonnulls(c.hash, c.second) > 0
    ORDER BY i.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._turnable(text, text, text, bigint, bigint) IS
'The images among which turned duplicates are looked for, with their hashes as they are (second: '
'that which a rule adds); to_turn are those whose files must be hashed in other orientations: all, '
'or all but the reference.';

-- Sorted and merged, never hashed (imgdb._add_rows says why). Where only the hash counts,
-- images of one hash are connected anyway, so the first 20 of a flood stand for all; but what is
-- marked as different from another, or is told apart by side or folder, stands for itself.
CREATE FUNCTION imgdb._turned_pairs(
    space_name text,
    max_distance integer,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    turned_images bigint[],
    turned_hashes bigint[],
    turned_seconds bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 5000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_rule_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_rule_hashes);
    v_max_distance integer := coalesce(
        max_distance, imgdb._default_distance(space_name, collection_name)
    );
    v_apart boolean := other_folders OR against_name IS NOT NULL;
BEGIN
    PERFORM imgdb._check_rule_distance(v_count, v_max_distance);
    -- By each hash alone: of two distances that sum up to s one is within half of it.
    FOR v_place IN 1..v_count LOOP
        RETURN QUERY
        WITH marked AS MATERIALIZED (
            SELECT d.image_id_a AS image_id FROM imgdb._different_pairs() AS d
            UNION
            SELECT d.image_id_b FROM imgdb._different_pairs() AS d
        ),
        candidate AS MATERIALIZED (
            SELECT
                c.image_id, c.hash, c.second, c.side, c.folder,
                CASE v_place WHEN 1 THEN c.hash ELSE c.second END AS searched,
                CASE WHEN v_apart OR m.image_id IS NOT NULL THEN c.image_id END AS lone
            FROM imgdb._duplicate_candidates(
                space_name, 'near', collection_name, against_name, other_folders, least_bytes,
                least_pixels
            ) AS c
            LEFT JOIN marked AS m ON m.image_id = c.image_id
            WHERE pg_catalog.num_nonnulls(c.hash, c.second) > 0
        ),
        turned AS (
            SELECT
                c.image_id, c.side, c.folder, t.hash, t.second,
                CASE v_place WHEN 1 THEN t.hash ELSE t.second END AS asked,
                pg_catalog.row_number() OVER (
                    PARTITION BY c.hash, c.second, c.lone, t.hash, t.second ORDER BY c.image_id
                ) AS place
            FROM unnest(turned_images, turned_hashes, turned_seconds)
                AS t (image_id, hash, second)
            JOIN candidate AS c ON c.image_id = t.image_id
        ),
        other AS (
            SELECT
                c.image_id, c.hash, c.second, c.searched, c.side, c.folder,
                pg_catalog.row_number() OVER (
                    PARTITION BY c.hash, c.second, c.lone ORDER BY c.image_id
                ) AS place
            FROM candidate AS c
        ),
        near AS (
            SELECT w.query_hash, w.hash
            FROM imgdb.within_any(
                v_rule_hashes[v_place],
                CASE v_place WHEN 1 THEN turned_hashes ELSE turned_seconds END,
                v_max_distance / v_count
            ) AS w
        )
        SELECT DISTINCT t.image_id, o.image_id
        FROM near AS n
        JOIN turned AS t ON t.asked = n.query_hash AND t.place <= 20
        JOIN other AS o ON o.searched = n.hash AND o.place <= 20
        WHERE
            o.image_id <> t.image_id
            AND imgdb._rule_distance(t.hash, t.second, o.hash, o.second, v_count > 1)
            <= v_max_distance
            AND (o.side IS NULL OR o.side <> t.side)
            AND (o.folder IS NULL OR o.folder <> t.folder);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._turned_pairs(
    text, integer, text, text, boolean, bigint, bigint, bigint[], bigint[], bigint[]
) IS
'Pairs of images of which one, in an orientation in which its hash is one of turned_hashes (and '
'its second one that of turned_seconds), is near the other one as it is. Of the images of one hash '
'20 are paired, where only the hash counts. A pair may come twice.';
