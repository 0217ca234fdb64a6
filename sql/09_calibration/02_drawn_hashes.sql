-- The path and the seed decide, so the same images are drawn wherever they are stored.
CREATE FUNCTION imgdb._drawn_hashes(
    collection_name text, draw_size integer, draw_seed bigint
)
RETURNS TABLE (ahash bigint, dhash bigint, phash bigint, whash bigint, pdq bigint[])
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        i.ahash, i.dhash, i.phash, i.whash,
        CASE WHEN p.image_id IS NOT NULL THEN ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4] END
    FROM imgdb.image AS i
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE
        NOT i.flat
        AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        AND pg_catalog.num_nonnulls(i.ahash, i.dhash, i.phash, i.whash, p.image_id) > 0
    ORDER BY
        pg_catalog.sha256(
            pg_catalog.int8send(draw_seed) || pg_catalog.convert_to(i.path, 'UTF8')
        ),
        i.image_id
    LIMIT draw_size;
END
$$;

COMMENT ON FUNCTION imgdb._drawn_hashes(text, integer, bigint) IS
'The hashes of images with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';
