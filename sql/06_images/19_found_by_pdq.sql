-- Not by imgdb._rule_hashes: four words in a table of their own are no column of imgdb.image.
CREATE FUNCTION imgdb._is_by_pdq(space_name text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(space_name IN ('pdq', 'phash-pdq'), FALSE);

COMMENT ON FUNCTION imgdb._is_by_pdq(text) IS
'Whether images are compared by their PDQ hashes: pdq looks for them alone, phash-pdq takes what '
'is within 12 by phash and lets PDQ decide.';

-- What _found_images is for the other rules. The words of query n are elements 4n - 3 to 4n.
CREATE FUNCTION imgdb._found_by_pdq(
    space_name text,
    query_words bigint[],
    query_phashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    collection_name text,
    match_limit integer,
    flood_limit integer,
    include_flat boolean,
    include_missing boolean
)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    distance integer,
    query_number integer,
    same_bytes boolean,
    missing boolean,
    images bigint
)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_max_distance integer := coalesce(max_distance, CASE space_name WHEN 'pdq' THEN 31 ELSE 70 END);
    v_different bigint[];
BEGIN
    PERFORM imgdb._check_pdq(query_words[q * 4 - 3:q * 4], v_max_distance)
    FROM generate_series(1, greatest(cardinality(query_words) / 4, 1)) AS q;
    IF EXISTS (SELECT 1 FROM imgdb.not_duplicate) THEN
        v_different := imgdb._different_from(ARRAY(
            SELECT p.image_id
            FROM generate_series(1, cardinality(query_words) / 4) AS q
            JOIN imgdb.image_pdq AS p
                ON p.pdq_1 = query_words[q * 4 - 3] AND p.pdq_2 = query_words[q * 4 - 2]
                AND p.pdq_3 = query_words[q * 4 - 1] AND p.pdq_4 = query_words[q * 4]
        )) || imgdb._different_from(
            ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
        );
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            q AS query_number,
            query_words[q * 4 - 3:q * 4] AS words,
            query_phashes[q] AS phash
        FROM generate_series(1, cardinality(query_words) / 4) AS q
    ),
    near AS (
        SELECT DISTINCT ON (m.image_id) m.image_id, m.distance, m.query_number
        FROM (
            SELECT w.image_id, w.distance, a.query_number
            FROM asked AS a
            CROSS JOIN LATERAL imgdb.within_pdq(a.words, v_max_distance) AS w
            WHERE space_name = 'pdq'
            UNION ALL
            SELECT
                p.image_id,
                imgdb.pdq_distance(ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4], a.words),
                a.query_number
            FROM asked AS a
            CROSS JOIN LATERAL imgdb.within('phash', query_hash => a.phash, max_distance => 12) AS w
            JOIN imgdb.image AS i ON i.phash = w.hash
            JOIN imgdb.image_pdq AS p ON p.image_id = i.image_id
            WHERE space_name = 'phash-pdq'
        ) AS m
        WHERE m.distance <= v_max_distance
        ORDER BY m.image_id, m.distance, m.query_number
    ),
    found AS (
        SELECT n.image_id, n.distance, n.query_number, FALSE AS same_bytes
        FROM near AS n
        JOIN imgdb.image AS i ON i.image_id = n.image_id
        WHERE
            (query_sha256 IS NULL OR i.sha256 IS DISTINCT FROM query_sha256)
            AND (include_flat OR NOT i.flat)
            AND (v_different IS NULL OR n.image_id <> ALL (v_different))
        UNION ALL
        -- They are found even where no PDQ hash is stored.
        SELECT
            i.image_id,
            (
                SELECT
                    imgdb.pdq_distance(
                        ARRAY[p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4], query_words[1:4]
                    )
                FROM imgdb.image_pdq AS p
                WHERE p.image_id = i.image_id
            ),
            1,
            TRUE
        FROM imgdb.image AS i
        WHERE i.sha256 = query_sha256
    ),
    line AS (
        SELECT
            f.*,
            c.name AS collection,
            i.path,
            i.missing_since IS NOT NULL AS missing,
            CASE
                WHEN p.image_id IS NULL THEN 1
                ELSE count(*) OVER (PARTITION BY p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4)
            END AS held,
            row_number() OVER (
                PARTITION BY p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4
                ORDER BY i.missing_since IS NOT NULL, f.same_bytes DESC, i.path, f.image_id
            ) AS place
        FROM found AS f
        JOIN imgdb.image AS i ON i.image_id = f.image_id
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
        LEFT JOIN imgdb.image_pdq AS p ON p.image_id = f.image_id
        WHERE
            (v_collection_id IS NULL OR i.collection_id = v_collection_id)
            AND (include_missing OR i.missing_since IS NULL)
    )
    SELECT
        o.image_id, o.collection, o.path, o.distance, o.query_number, o.same_bytes, o.missing,
        CASE WHEN o.held > flood_limit THEN o.held ELSE 1 END
    FROM line AS o
    WHERE flood_limit IS NULL OR o.place = 1 OR o.held <= flood_limit
    ORDER BY o.missing, o.same_bytes DESC, o.distance, o.path, o.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._found_by_pdq(
    text, bigint[], bigint[], bytea, integer, text, integer, integer, boolean, boolean
) IS
'Images of the same bytes, then those within max_distance (NULL: 31 for pdq, 70 for phash-pdq) by '
'PDQ of any query, each with the number of the query that it is nearest to; those whose files are '
'gone come last, or not at all.';
