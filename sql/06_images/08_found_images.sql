-- Two distances that sum up to s are not both above s / 2: so what is near by a sum is within half
-- of it by one hash or by the other, and each is asked for alone. (Both are asked for half of s,
-- though one could be asked for a bit less: where a row lacks a hash, the other one decides.) An
-- image that is near in several orientations counts for the nearest, then for the first of them.
-- Beyond a half of 16 nearly every row would be a candidate, and all are read.
--
-- Any two reaches do that sum up to s - 1. One picture in twenty has dhash 0, since nothing changes
-- in it from left to right, and many more are near that. Where it is within half of s, dhash is
-- asked for what is nearer than 0 only, and phash for the rest: up to some 20 bits phashes do not
-- crowd. This needs a phash of every row that has a dhash.
CREATE FUNCTION imgdb._near_images(rule_hashes name[], half_distance integer)
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_queries constant text :=
        'unnest($2, $3) WITH ORDINALITY AS q (hash, second, query_number)';
    v_row text := 'i.image_id, i.collection_id, i.path, i.flat, i.sha256, i.missing_since, '
        || pg_catalog.format('i.%I AS hash, ', rule_hashes[1])
        || coalesce('i.' || pg_catalog.quote_ident(rule_hashes[2]), 'NULL::bigint') || ' AS second';
    v_distance text := imgdb._distance_to_query(rule_hashes);
    v_first text := half_distance;
    v_second text := half_distance;
    v_parts text[];
BEGIN
    IF half_distance > 16 THEN
        RETURN pg_catalog.format(
            'SELECT %1$s, near.distance, near.query_number FROM imgdb.image AS i '
            'CROSS JOIN LATERAL (SELECT %2$s AS distance, q.query_number::integer FROM %3$s '
            'ORDER BY 1, 2 LIMIT 1) AS near WHERE near.distance <= $1',
            v_row, v_distance, v_queries
        );
    END IF;
    IF
        rule_hashes[2] = 'dhash' AND half_distance <= 10
        -- EXISTS would read the table where statistics say that there are many.
        AND (SELECT pg_catalog.min(i.dhash) FROM imgdb.image AS i WHERE i.phash IS NULL) IS NULL
    THEN
        v_first := pg_catalog.format(
            'CASE WHEN imgdb.distance(q.second, 0) <= %1$s '
            'THEN $1 - imgdb.distance(q.second, 0) ELSE %1$s END',
            half_distance
        );
        v_second := pg_catalog.format(
            'CASE WHEN q.hash IS NULL THEN %1$s '
            'ELSE least(imgdb.distance(q.second, 0) - 1, %1$s) END',
            half_distance
        );
    END IF;
    FOR v_place IN 1..pg_catalog.cardinality(rule_hashes) LOOP
        v_parts[v_place] := pg_catalog.format(
            'SELECT %1$s, %2$s AS distance, q.query_number::integer '
            'FROM (SELECT * FROM %3$s WHERE %4$s IS NOT NULL AND %6$s >= 0) AS q '
            'CROSS JOIN LATERAL imgdb.within(%5$L, query_hash => %4$s, max_distance => %6$s) AS m '
            'JOIN imgdb.image AS i ON i.%5$I = m.hash',
            v_row, v_distance, v_queries,
            CASE v_place WHEN 1 THEN 'q.hash' ELSE 'q.second' END, rule_hashes[v_place],
            CASE v_place WHEN 1 THEN v_first ELSE v_second END
        );
    END LOOP;
    RETURN 'SELECT DISTINCT ON (n.image_id) n.* FROM ('
        || pg_catalog.array_to_string(v_parts, ' UNION ALL ')
        || ') AS n WHERE n.distance <= $1 ORDER BY n.image_id, n.distance, n.query_number';
END
$$;

COMMENT ON FUNCTION imgdb._near_images(name[], integer) IS
'The statement that finds the images within $1 of the queries $2 (their first hashes) and $3 '
'(their second ones) by a rule of these hashes, of which one at least is within half_distance: '
'that is $1 for a rule of one hash.';

CREATE FUNCTION imgdb._distance_to_query(rule_hashes name[])
RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN pg_catalog.format(
        'imgdb._rule_distance(i.%I, %s, q.hash, q.second, %L)',
        rule_hashes[1],
        coalesce('i.' || pg_catalog.quote_ident(rule_hashes[2]), 'NULL::bigint'),
        rule_hashes[2] IS NOT NULL
    );
END
$$;

COMMENT ON FUNCTION imgdb._distance_to_query(name[]) IS
'The expression for the distance of imgdb.image AS i to a query q (hash, second) by a rule.';

-- What similar_images and _matches share: images near a query (one picture, or one in several
-- orientations), and files of the same bytes. The columns of imgdb.image depend on the rule, so the
-- statement is made for them.
--
-- A caller who gives the hashes of images in the database asks for what is like these (and like
-- files of the same bytes). What was marked as different from all of them is no answer. (Images of
-- the very same hashes cannot be told apart here, and count as these.)
--
-- What can be opened comes first, and counts for the limit.
CREATE FUNCTION imgdb._found_images(
    space_name text,
    query_hashes bigint[],
    query_seconds bigint[],
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
    v_hashes name[] := imgdb._rule_hashes(space_name);
    v_count integer := pg_catalog.cardinality(v_hashes);
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_second text := coalesce('i.' || pg_catalog.quote_ident(v_hashes[2]), 'NULL::bigint');
    v_search text :=
        'SELECT o.image_id, o.collection, o.path, o.distance, o.query_number, o.same_bytes, '
        'o.missing, CASE WHEN o.held > $9 THEN o.held ELSE 1 END '
        'FROM (SELECT f.*, %2$s AS held, %3$s AS place FROM ('
        'SELECT n.image_id, c.name AS collection, n.path, n.hash, n.second, n.distance, '
        'n.query_number, false AS same_bytes, n.missing_since IS NOT NULL AS missing '
        'FROM (%1$s) AS n '
        'JOIN imgdb.collection AS c ON c.collection_id = n.collection_id '
        'WHERE ($4 IS NULL OR n.collection_id = $4) AND ($6 OR NOT n.flat) '
        'AND ($7 IS NULL OR n.image_id <> ALL ($7)) %4$s) AS f '
        'WHERE $10 OR NOT f.missing) AS o '
        'WHERE o.place = 1 OR o.held <= $9 '
        'ORDER BY o.missing, o.same_bytes DESC, o.distance, o.path, o.image_id LIMIT $5';
    v_same_bytes text := '';
    v_held text := '1::bigint';
    v_place text := '1';
    v_asked_for bigint[];
    v_different bigint[];
    v_max_distance integer := max_distance;
    v_found bigint;
BEGIN
    PERFORM imgdb._check_rule_distance(v_count, max_distance);
    IF match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', match_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all matches.';
    END IF;
    IF EXISTS (SELECT 1 FROM imgdb.not_duplicate) THEN
        EXECUTE pg_catalog.format(
            'SELECT pg_catalog.array_agg(DISTINCT i.image_id) '
            'FROM unnest($1, $2) AS q (hash, second) '
            'JOIN imgdb.image AS i ON i.%I = q.hash AND %s IS NOT DISTINCT FROM q.second',
            v_hashes[1], v_second
        ) INTO v_asked_for USING query_hashes, query_seconds;
        v_different := imgdb._different_from(v_asked_for) || imgdb._different_from(
            ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
        );
    END IF;
    IF query_sha256 IS NOT NULL THEN
        -- They are found even where the row lacks the hash, or has one made by other rules.
        v_same_bytes := pg_catalog.format(
            'AND n.sha256 IS DISTINCT FROM $8 UNION ALL '
            'SELECT i.image_id, c.name, i.path, i.%I, %s, %s, 1, true, '
            'i.missing_since IS NOT NULL '
            'FROM (SELECT ($2)[1] AS hash, ($3)[1] AS second) AS q '
            'CROSS JOIN imgdb.image AS i '
            'JOIN imgdb.collection AS c ON c.collection_id = i.collection_id '
            'WHERE i.sha256 = $8 AND ($4 IS NULL OR i.collection_id = $4)',
            v_hashes[1], v_second, imgdb._distance_to_query(v_hashes)
        );
    END IF;
    IF flood_limit IS NOT NULL THEN
        v_held := 'CASE WHEN pg_catalog.num_nonnulls(f.hash, f.second) = 0 THEN 1 '
            'ELSE pg_catalog.count(*) OVER (PARTITION BY f.hash, f.second) END';
        v_place := 'pg_catalog.row_number() OVER '
            '(PARTITION BY f.hash, f.second '
            'ORDER BY f.missing, f.same_bytes DESC, f.path, f.image_id)';
    END IF;
    -- The nearest few are mostly within a distance that needs not read every row.
    IF match_limit IS NOT NULL AND max_distance / v_count > 16 THEN
        FOREACH v_max_distance IN ARRAY ARRAY[4, 8, 12, max_distance] LOOP
            EXIT WHEN v_max_distance = max_distance;
            v_max_distance := v_max_distance * v_count;
            EXECUTE 'SELECT pg_catalog.count(*) FROM (' || pg_catalog.format(
                v_search, imgdb._near_images(v_hashes, v_max_distance / v_count), v_held, v_place,
                v_same_bytes
            ) || ') AS line (image_id, collection, path, distance, number, same, missing, images) '
                'WHERE NOT line.missing'
            INTO v_found
            USING v_max_distance, query_hashes, query_seconds, v_collection_id, match_limit,
                include_flat, v_different, query_sha256, flood_limit, include_missing;
            EXIT WHEN v_found = match_limit;
        END LOOP;
    END IF;
    RETURN QUERY EXECUTE pg_catalog.format(
        v_search, imgdb._near_images(v_hashes, v_max_distance / v_count), v_held, v_place,
        v_same_bytes
    )
    USING v_max_distance, query_hashes, query_seconds, v_collection_id, match_limit, include_flat,
        v_different, query_sha256, flood_limit, include_missing;
END
$$;

COMMENT ON FUNCTION imgdb._found_images(
    text, bigint[], bigint[], bytea, integer, text, integer, integer, boolean, boolean
) IS
'Images of the same bytes, then those within max_distance of any query, each with the number of '
'the query that it is nearest to; those whose files are gone come last, in the same order, or not '
'at all. query_hashes has the hashes of the queries, query_seconds those '
'that a rule adds to them. With a flood_limit one image stands for all of a hash that more images '
'have; images says for how many.';
