-- Planned anew for each call: a plan made while the tables were empty would always read all of
-- them.
CREATE FUNCTION imgdb._compare_files(
    for_collection_id integer,
    paths text[],
    sizes bigint[],
    times timestamptz[],
    current_recipes text[],
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (ordinal bigint, state text, reason text, detail text)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        given.ordinal,
        CASE
            WHEN i.byte_size = given.byte_size AND i.modified_at = given.modified_at
                THEN CASE
                    WHEN i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
                        OR need_pdq AND NOT EXISTS (
                            SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id
                        )
                        THEN 'incomplete'
                    WHEN i.missing_since IS NULL THEN 'outdated'
                    ELSE 'found'
                END
            WHEN f.byte_size = given.byte_size AND f.modified_at = given.modified_at THEN 'failed'
            WHEN i.path IS NULL AND f.path IS NULL THEN 'new'
            ELSE 'changed'
        END,
        f.reason,
        f.detail
    FROM unnest(paths, sizes, times) WITH ORDINALITY
        AS given (path, byte_size, modified_at, ordinal)
    LEFT JOIN imgdb.image AS i
        ON i.collection_id = for_collection_id AND i.path = given.path
    LEFT JOIN imgdb.ingest_failure AS f
        ON f.collection_id = for_collection_id AND f.path = given.path
    WHERE
        i.missing_since IS NOT NULL
        OR i.recipe <> ALL (current_recipes)
        OR i.sha256 IS NOT NULL AND i.colours IS NULL
        OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        OR need_pdq
        AND NOT EXISTS (
            SELECT FROM imgdb.image_pdq AS p
            WHERE p.image_id = i.image_id
        )
        OR (i.byte_size, i.modified_at) IS DISTINCT FROM (given.byte_size, given.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._compare_files(
    integer, text[], bigint[], timestamptz[], text[], text, boolean
) IS
'What is to do for files by size and time: new, changed, found (unchanged, was missing), outdated '
'(unchanged, of another recipe or without colours), incomplete (unchanged, without the regions or '
'the PDQ hash that are needed) or failed (unchanged since it failed); nothing is said of the '
'others, which are unchanged.';
