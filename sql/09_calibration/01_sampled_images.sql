-- The sum of a picture's bytes and the seed decides, so the same pictures are drawn wherever they
-- are stored. Same bytes, same place: only the first of them is drawn.
CREATE FUNCTION imgdb._sampled_images(
    collection_name text, sample_size integer, sample_seed bigint
)
RETURNS TABLE (
    image_id bigint,
    path text,
    sha256 bytea,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint,
    pdq bigint[],
    has_regions boolean
)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, i.path, i.sha256, i.ahash, i.dhash, i.phash, i.whash,
        CASE WHEN p.image_id IS NOT NULL THEN ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4] END,
        i.region_recipe IS NOT NULL
    FROM (
        SELECT DISTINCT ON (drawn.place) drawn.place, drawn.image_id
        FROM (
            SELECT
                j.image_id,
                j.path,
                pg_catalog.sha256(int8send(sample_seed) || j.sha256) AS place
            FROM imgdb.image AS j
            WHERE
                (v_collection_id IS NULL OR j.collection_id = v_collection_id)
                AND j.sha256 IS NOT NULL AND NOT j.flat AND j.missing_since IS NULL
        ) AS drawn
        ORDER BY drawn.place, drawn.path, drawn.image_id
        LIMIT sample_size
    ) AS first
    JOIN imgdb.image AS i ON i.image_id = first.image_id
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    ORDER BY first.place;
END
$$;

COMMENT ON FUNCTION imgdb._sampled_images(text, integer, bigint) IS
'Images with a file and with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';

CREATE FUNCTION imgdb._searchable_images(collection_name text)
RETURNS TABLE (
    images bigint,
    with_file bigint,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint,
    pdq bigint,
    phash_dhash bigint,
    phash_pdq bigint,
    regions bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
BEGIN
    RETURN QUERY
    SELECT
        count(*),
        count(i.sha256) FILTER (WHERE i.missing_since IS NULL),
        count(i.ahash),
        count(i.dhash),
        count(i.phash),
        count(i.whash),
        count(p.image_id),
        count(*) FILTER (WHERE i.phash IS NOT NULL AND i.dhash IS NOT NULL),
        count(*) FILTER (WHERE i.phash IS NOT NULL AND p.image_id IS NOT NULL),
        count(i.region_recipe)
    FROM imgdb.image AS i
    LEFT JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
    WHERE (v_collection_id IS NULL OR i.collection_id = v_collection_id) AND NOT i.flat;
END
$$;

COMMENT ON FUNCTION imgdb._searchable_images(text) IS
'How many images that are not flat a collection, or all, has: in all, with a file that is there, '
'with each hash and with those of each rule, and with regions; error IM011 for an unknown '
'collection.';
