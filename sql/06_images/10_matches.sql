-- What a person needs to judge a match, in one call. The query has one hash of each kind, or one
-- for each of query_orientations, which a match then names; query_pdqs has four words for each.
CREATE FUNCTION imgdb._matches(
    space_name text,
    query_ahashes bigint[],
    query_dhashes bigint[],
    query_phashes bigint[],
    query_whashes bigint[],
    query_pdqs bigint[],
    query_orientations text[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean
)
RETURNS TABLE (
    path text,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    orientation text,
    same_bytes boolean,
    images bigint,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_is_by_pdq boolean := imgdb._is_by_pdq(space_name);
    v_hashes name[] := CASE WHEN NOT v_is_by_pdq THEN imgdb._rule_hashes(space_name) END;
BEGIN
    RETURN QUERY
    SELECT
        f.path,
        f.distance,
        imgdb.distance(i.ahash, query_ahashes[f.query_number]),
        imgdb.distance(i.dhash, query_dhashes[f.query_number]),
        imgdb.distance(i.phash, query_phashes[f.query_number]),
        imgdb.distance(i.whash, query_whashes[f.query_number]),
        query_orientations[f.query_number],
        f.same_bytes,
        f.images,
        f.collection,
        f.image_id,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since
    FROM (
        SELECT *
        FROM imgdb._found_images(
            space_name,
            CASE v_hashes[1]
                WHEN 'ahash' THEN query_ahashes
                WHEN 'dhash' THEN query_dhashes
                WHEN 'phash' THEN query_phashes
                WHEN 'whash' THEN query_whashes
            END,
            -- No other rule has a second hash.
            CASE WHEN pg_catalog.cardinality(v_hashes) = 2 THEN query_dhashes END,
            query_sha256,
            coalesce(max_distance, imgdb._default_distance(space_name, collection_name)),
            collection_name,
            match_limit,
            flood_limit,
            include_flat
        )
        WHERE NOT v_is_by_pdq
        UNION ALL
        SELECT *
        FROM imgdb._found_by_pdq(
            space_name, query_pdqs, query_phashes, query_sha256, max_distance, collection_name,
            match_limit, flood_limit, include_flat
        )
        WHERE v_is_by_pdq
    ) AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    ORDER BY f.same_bytes DESC, f.distance, f.path, f.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._matches(
    text, bigint[], bigint[], bigint[], bigint[], bigint[], text[], bytea, integer, text, integer,
    integer, boolean
) IS
'Images like a picture, with the distances in all hashes that each has and what is known of each '
'file. Files of the same bytes come first, then the nearest; NULL as max_distance stands for the '
'default of the collection, or of the rule, NULL as flood_limit for none.';
