-- One rule for both functions: the file is there, and the row is not what would be made of it now.
CREATE FUNCTION imgdb._is_outdated(
    candidate imgdb.image,
    old_recipe text,
    target_recipe text,
    needed_hashes text[],
    older_than timestamptz
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN
    candidate.sha256 IS NOT NULL
    AND candidate.missing_since IS NULL
    AND (old_recipe IS NULL OR candidate.recipe = old_recipe)
    AND (
        candidate.recipe <> target_recipe
        OR coalesce(candidate.ingested_at < older_than, false)
        OR 'ahash' = ANY (needed_hashes) AND candidate.ahash IS NULL
        OR 'dhash' = ANY (needed_hashes) AND candidate.dhash IS NULL
        OR 'phash' = ANY (needed_hashes) AND candidate.phash IS NULL
        OR 'whash' = ANY (needed_hashes) AND candidate.whash IS NULL
    );

COMMENT ON FUNCTION imgdb._is_outdated(imgdb.image, text, text, text[], timestamptz) IS
'Whether an image with a file is of another recipe, lacks a hash, or was hashed before a time.';

CREATE FUNCTION imgdb._outdated_collections(
    collection_name text,
    old_recipe text,
    target_recipe text,
    needed_hashes text[],
    older_than timestamptz
)
RETURNS TABLE (collection text, images bigint)
LANGUAGE plpgsql STABLE ROWS 10
AS $$
#variable_conflict use_column
BEGIN
    IF collection_name IS NOT NULL THEN
        PERFORM imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT c.name, count(*)
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE
        (collection_name IS NULL OR c.name = collection_name)
        AND imgdb._is_outdated(i, old_recipe, target_recipe, needed_hashes, older_than)
    GROUP BY c.name
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_collections(text, text, text, text[], timestamptz) IS
'How many images of each collection are outdated; error IM011 for an unknown collection.';

CREATE FUNCTION imgdb._outdated_images(
    for_collection_id integer,
    old_recipe text,
    target_recipe text,
    needed_hashes text[],
    older_than timestamptz,
    after_path text,
    page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT i.path
    FROM imgdb.image AS i
    WHERE
        i.collection_id = for_collection_id
        AND i.path > after_path
        AND imgdb._is_outdated(i, old_recipe, target_recipe, needed_hashes, older_than)
    ORDER BY i.path
    LIMIT page_size;
END
$$;

COMMENT ON FUNCTION imgdb._outdated_images(
    integer, text, text, text[], timestamptz, text, integer
) IS 'A page of the paths of outdated images, in the order of the paths.';
