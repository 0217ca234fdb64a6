-- What a person needs to judge a match, in one call. The query has one hash of each kind for each
-- of its looks: turned, with its borders cut off; query_pdqs has four words for each. A match has
-- the orientation and the relation of the look that it is nearest to. Looks may have regions: the
-- first look has the first of region_counts, and so on. A match that shares some of them need not
-- be near: of it only a part is alike, so that its colours say nothing. Of many images of one hash
-- some may have the same colours and some not: none stands for others where only the same count.
CREATE FUNCTION imgdb._matches(
    space_name text,
    query_ahashes bigint[],
    query_dhashes bigint[],
    query_phashes bigint[],
    query_whashes bigint[],
    query_pdqs bigint[],
    query_orientations text[],
    query_colours bytea[],
    query_relations text[],
    query_widths integer[],
    query_heights integer[],
    region_counts integer[],
    region_boxes integer[],
    region_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean,
    include_missing boolean,
    only_same_colours boolean
)
RETURNS TABLE (
    path text,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    orientation text,
    relation text,
    votes integer,
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
    missing_since timestamptz,
    colour_difference double precision,
    same_colours boolean
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_is_by_pdq boolean := imgdb._is_by_pdq(space_name);
    v_limit integer := CASE WHEN NOT only_same_colours THEN match_limit END;
    v_flood integer := CASE WHEN NOT only_same_colours THEN flood_limit END;
    v_hashes name[] := CASE WHEN NOT v_is_by_pdq THEN imgdb._rule_hashes(space_name) END;
BEGIN
    -- What it calls does so, too; but a plan that meets an empty table first calls nothing.
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    WITH whole AS MATERIALIZED (
        SELECT f.image_id, f.distance, f.query_number, f.same_bytes, f.images
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
            v_limit,
            v_flood,
            include_flat,
            include_missing
        ) AS f
        WHERE NOT v_is_by_pdq
        UNION ALL
        SELECT f.image_id, f.distance, f.query_number, f.same_bytes, f.images
        FROM imgdb._found_by_pdq(
            space_name, query_pdqs, query_phashes, query_sha256, max_distance, collection_name,
            v_limit, v_flood, include_flat, include_missing
        ) AS f
        WHERE v_is_by_pdq
    ),
    shared AS MATERIALIZED (
        SELECT DISTINCT ON (p.image_id) p.image_id, p.relation, p.votes, l.query_number
        FROM (
            SELECT
                c.query_number::integer AS query_number,
                c.regions,
                pg_catalog.sum(c.regions) OVER (ORDER BY c.query_number)::integer AS last
            FROM unnest(region_counts) WITH ORDINALITY AS c (regions, query_number)
        ) AS l
        CROSS JOIN LATERAL imgdb._region_matches(
            query_widths[l.query_number],
            query_heights[l.query_number],
            region_boxes[4 * (l.last - l.regions) + 1:4 * l.last],
            region_hashes[l.last - l.regions + 1:l.last],
            query_sha256,
            NULL,
            NULL,
            0.1,
            collection_name,
            NULL
        ) AS p
        WHERE l.regions > 0 AND (include_missing OR p.missing_since IS NULL)
        ORDER BY p.image_id, p.votes DESC, l.query_number
    ),
    found AS (
        SELECT
            w.distance,
            s.votes,
            coalesce(w.same_bytes, false) AS same_bytes,
            coalesce(w.images, 1) AS images,
            coalesce(w.query_number, s.query_number) AS query_number,
            CASE
                WHEN w.same_bytes THEN 'same'
                ELSE coalesce(s.relation, query_relations[w.query_number])
            END AS relation,
            coalesce(w.image_id, s.image_id) AS image_id,
            query_colours[w.query_number] AS asked_colours
        FROM whole AS w
        FULL JOIN shared AS s ON s.image_id = w.image_id
    )
    SELECT
        i.path,
        f.distance,
        imgdb.distance(i.ahash, query_ahashes[f.query_number]),
        imgdb.distance(i.dhash, query_dhashes[f.query_number]),
        imgdb.distance(i.phash, query_phashes[f.query_number]),
        imgdb.distance(i.whash, query_whashes[f.query_number]),
        query_orientations[f.query_number],
        f.relation,
        f.votes,
        f.same_bytes,
        f.images,
        c.name,
        f.image_id,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since,
        imgdb.colour_difference(i.colours, f.asked_colours),
        imgdb.same_colours(i.colours, f.asked_colours)
    FROM found AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE
        NOT only_same_colours
        OR f.same_bytes
        OR imgdb.same_colours(i.colours, f.asked_colours)
    ORDER BY
        i.missing_since IS NOT NULL, f.same_bytes DESC, f.distance, f.votes DESC NULLS LAST, i.path,
        f.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._matches(
    text, bigint[], bigint[], bigint[], bigint[], bigint[], text[], bytea[], text[], integer[],
    integer[], integer[], integer[], bigint[], bytea, integer, text, integer, integer, boolean,
    boolean, boolean
) IS
'Images like a picture, or those of the same colours, with the distances in all hashes that each '
'has, the difference of colours and what is known of each file. Files of the same bytes come '
'first, then the nearest, then what only shares regions (distance is NULL there), most votes '
'first; what is gone comes last. NULL as max_distance stands for the default of the collection, or '
'of the rule, NULL as flood_limit for none.';
