-- Two images that are within alike_bits in every hash that both have are copies of one picture.
CREATE FUNCTION imgdb._wrong_by_parts(
    collection_name text,
    draw_size integer,
    draw_seed bigint,
    alike_bits integer,
    wrong_per_query double precision
)
RETURNS TABLE (image_id bigint, images bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    WITH drawn AS MATERIALIZED (
        SELECT i.*
        FROM imgdb.image AS i
        WHERE
            i.region_recipe IS NOT NULL AND NOT i.flat
            AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        ORDER BY
            pg_catalog.sha256(
                pg_catalog.int8send(draw_seed) || pg_catalog.convert_to(i.path, 'UTF8')
            ),
            i.image_id
        LIMIT draw_size
    )
    SELECT d.image_id, count(i.image_id)
    FROM drawn AS d
    CROSS JOIN LATERAL (
        SELECT
            array_agg(s.side ORDER BY r.region, s.place) AS boxes,
            array_agg(r.region_hash ORDER BY r.region) FILTER (WHERE s.place = 1) AS hashes
        FROM imgdb.image_region AS r
        CROSS JOIN LATERAL
            unnest(ARRAY[r.box_left, r.box_top, r.box_width, r.box_height])
            WITH ORDINALITY AS s (side, place)
        WHERE r.image_id = d.image_id
    ) AS asked
    LEFT JOIN LATERAL imgdb._region_matches(
        d.width, d.height, asked.boxes, asked.hashes, d.sha256, NULL, NULL, wrong_per_query,
        collection_name, NULL
    ) AS m ON m.image_id <> d.image_id
    LEFT JOIN imgdb.image AS i
        ON
            i.image_id = m.image_id
            AND NOT coalesce(
                greatest(
                    imgdb.distance(i.ahash, d.ahash), imgdb.distance(i.dhash, d.dhash),
                    imgdb.distance(i.phash, d.phash), imgdb.distance(i.whash, d.whash)
                ) <= alike_bits,
                FALSE
            )
    GROUP BY d.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._wrong_by_parts(text, integer, bigint, integer, double precision) IS
'How many images share parts with each of some images, drawn by a seed, and are no copies of it: '
'not within alike_bits in every hash that both have; error IM011 for an unknown collection.';
