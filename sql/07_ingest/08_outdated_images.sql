CREATE FUNCTION imgdb._outdated_images(
    for_collection_id integer,
    old_recipe text,
    target_recipes text[],
    needed_hashes text[],
    needed_region_recipe text,
    older_than timestamptz,
    after_path text,
    page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT i.path
    FROM imgdb.image AS i
    WHERE
        i.collection_id = for_collection_id
        AND i.path > after_path
        AND i.sha256 IS NOT NULL
        AND i.missing_since IS NULL
        AND (old_recipe IS NULL OR i.recipe = old_recipe)
        AND (
            i.recipe <> ALL (target_recipes)
            OR i.colours IS NULL
            OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
            OR i.ingested_at < older_than
            OR 'ahash' = ANY (needed_hashes) AND i.ahash IS NULL
            OR 'dhash' = ANY (needed_hashes) AND i.dhash IS NULL
            OR 'phash' = ANY (needed_hashes) AND i.phash IS NULL
            OR 'whash' = ANY (needed_hashes) AND i.whash IS NULL
            OR 'pdq' = ANY (needed_hashes)
            AND NOT EXISTS (
                SELECT FROM imgdb.image_pdq AS p
                WHERE p.image_id = i.image_id
            )
        )
    ORDER BY i.path
    LIMIT page_size;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_images(
    integer, text, text[], text[], text, timestamptz, text, integer
) IS
'A page of the paths of images that have a file and are of another recipe, lack a hash, colours or '
'the regions that are needed, or were hashed before a time; in the order of the paths.';

CREATE FUNCTION imgdb._outdated_collections(
    collection_name text,
    old_recipe text,
    target_recipes text[],
    needed_hashes text[],
    needed_region_recipe text,
    older_than timestamptz
)
RETURNS TABLE (collection text, images bigint)
LANGUAGE plpgsql STABLE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT c.name, outdated.images
    FROM imgdb.collection AS c
    CROSS JOIN LATERAL (
        SELECT count(*) AS images
        FROM imgdb._outdated_images(
            c.collection_id, old_recipe, target_recipes, needed_hashes, needed_region_recipe,
            older_than, '', NULL
        )
    ) AS outdated
    WHERE outdated.images > 0 AND (collection_name IS NULL OR c.name = collection_name)
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_collections(text, text, text[], text[], text, timestamptz) IS
'How many images of each collection are outdated; error IM011 for an unknown collection.';
