-- SQL and inlined, so that rows stream instead of being gathered first.
CREATE FUNCTION imgdb._exported_images(of_collection text)
RETURNS TABLE (
    path text, collection text, ahash text, dhash text, phash text, whash text, colours text,
    flat boolean,
    recipe text, byte_size bigint, modified_at timestamptz, sha256 text, format text,
    width integer, height integer, frames integer, missing_since timestamptz, pdq text,
    pdq_quality smallint, pdq_recipe text, region_recipe text, regions text, different_from text,
    ingested_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100000
BEGIN ATOMIC
    -- noqa: disable=all
    SELECT
        i.path, c.name, imgdb.to_hex(i.ahash), imgdb.to_hex(i.dhash), imgdb.to_hex(i.phash),
        imgdb.to_hex(i.whash), encode(i.colours, 'hex'), i.flat, i.recipe, i.byte_size,
        i.modified_at, encode(i.sha256, 'hex'), i.format, i.width, i.height, i.frames, i.missing_since,
        imgdb.to_hex(p.pdq_1) || imgdb.to_hex(p.pdq_2) || imgdb.to_hex(p.pdq_3) || imgdb.to_hex(p.pdq_4),
        p.quality, p.pdq_recipe, i.region_recipe,
        CASE WHEN i.region_recipe IS NOT NULL THEN (
            SELECT coalesce(jsonb_agg(
                jsonb_build_array(r.box_left, r.box_top, r.box_width, r.box_height, imgdb.to_hex(r.region_hash))
                ORDER BY r.region
            ), '[]')::text
            FROM imgdb.image_region AS r
            WHERE r.image_id = i.image_id
        ) END,
        (
            SELECT jsonb_agg(jsonb_build_array(oc.name, o.path, d.marked_at) ORDER BY o.image_id)::text
            FROM imgdb.not_duplicate AS d
            JOIN imgdb.image AS o ON o.image_id = d.image_id_b
            JOIN imgdb.collection AS oc ON oc.collection_id = o.collection_id
            WHERE d.image_id_a = i.image_id
        ),
        i.ingested_at
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE of_collection IS NULL OR c.name = of_collection;
    -- noqa: enable=all
END;

COMMENT ON FUNCTION imgdb._exported_images(text) IS
'What is known of the images of a collection, or of all: what imgdb export writes. regions are '
'lists of left, top, width, height and hash; different_from has collection, path and time of other '
'images.';
