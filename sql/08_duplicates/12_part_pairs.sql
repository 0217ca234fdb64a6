-- Each image is asked with the regions that are stored of it, but all pairs of regions are found at
-- once. What more than a hundred images have (a logo, a watermark) says nothing of copies, and has
-- too many pairs. Sorted and merged, never hashed (imgdb._add_rows says why).
CREATE FUNCTION imgdb._part_pairs(
    collection_name text, against_name text, wrong_per_image double precision
)
RETURNS TABLE (image_id bigint, other_id bigint, relation text, votes integer)
LANGUAGE plpgsql STABLE ROWS 5000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_collection_ids integer[] := CASE
        WHEN collection_name IS NOT NULL THEN array_remove(
            ARRAY[imgdb._collection_id(collection_name), imgdb._collection_id(against_name)], NULL
        )
    END;
    v_max_distance integer := (
        SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region'
    );
BEGIN
    RETURN QUERY
    WITH pair AS MATERIALIZED (
        SELECT p.hash_a, p.hash_b FROM imgdb.pairs('region', v_max_distance) AS p
    ),
    alike AS MATERIALIZED (
        SELECT p.hash_a AS asked, p.hash_b AS stored FROM pair AS p
        UNION ALL
        SELECT p.hash_b, p.hash_a FROM pair AS p
        UNION ALL
        SELECT r.region_hash, r.region_hash
        FROM imgdb.image_region AS r
        GROUP BY r.region_hash
        HAVING count(*) > 1
    ),
    held AS MATERIALIZED (
        SELECT a.asked, r.image_id
        FROM alike AS a
        JOIN imgdb.image_region AS r ON r.region_hash = a.stored
    ),
    rare AS MATERIALIZED (
        SELECT h.asked FROM held AS h GROUP BY h.asked HAVING count(DISTINCT h.image_id) <= 100
    ),
    -- One region in common is chance.
    likely AS MATERIALIZED (
        SELECT DISTINCT two.image_id
        FROM (
            SELECT q.image_id, h.image_id AS other_id
            FROM rare AS u
            JOIN held AS h ON h.asked = u.asked
            JOIN imgdb.image_region AS q ON q.region_hash = u.asked
            WHERE q.image_id <> h.image_id
            GROUP BY q.image_id, h.image_id
            HAVING count(DISTINCT q.region) > 1
        ) AS two
    ),
    query AS MATERIALIZED (
        SELECT
            i.image_id, i.width, i.height, i.sha256, known.hashes, known.boxes, found.asked,
            found.stored
        FROM likely AS l
        JOIN imgdb.image AS i ON i.image_id = l.image_id
        CROSS JOIN LATERAL (
            SELECT
                array_agg(r.region_hash ORDER BY r.region, side.place)
                    FILTER (WHERE side.place = 1) AS hashes,
                array_agg(side.length ORDER BY r.region, side.place) AS boxes
            FROM imgdb.image_region AS r
            CROSS JOIN LATERAL unnest(
                ARRAY[r.box_left, r.box_top, r.box_width, r.box_height]
            ) WITH ORDINALITY AS side (length, place)
            WHERE r.image_id = i.image_id
        ) AS known
        JOIN (
            SELECT
                own.image_id,
                array_agg(a.asked) AS asked,
                array_agg(a.stored) AS stored
            FROM (SELECT DISTINCT r.image_id, r.region_hash FROM imgdb.image_region AS r) AS own
            JOIN rare AS u ON u.asked = own.region_hash
            JOIN alike AS a ON a.asked = own.region_hash
            GROUP BY own.image_id
        ) AS found ON found.image_id = i.image_id
        WHERE
            i.region_recipe IS NOT NULL AND i.missing_since IS NULL
            AND (v_collection_ids IS NULL OR i.collection_id = ANY (v_collection_ids))
    )
    SELECT q.image_id, m.image_id, m.relation, m.votes
    FROM query AS q
    CROSS JOIN LATERAL imgdb._region_matches(
        q.width, q.height, q.boxes, q.hashes, q.sha256, NULL, NULL, wrong_per_image, NULL, NULL,
        q.asked, q.stored
    ) AS m
    WHERE m.image_id <> q.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._part_pairs(text, text, double precision) IS
'Pairs of images that share more regions than wrong_per_image of them would by chance: what the '
'other one is to the image (contains it, is a part of it, ...). Most pairs come both ways.';
