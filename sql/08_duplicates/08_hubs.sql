-- Sorted, never hashed (imgdb._add_rows says why). Without NULLs, as arrays take them.
CREATE FUNCTION imgdb._held_hashes(
    space_name text,
    max_distance integer,
    collection_name text
)
RETURNS TABLE (hash bigint, second bigint, known integer, images bigint)
LANGUAGE plpgsql STABLE ROWS 100000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_names name[] := imgdb._rule_hashes(space_name);
BEGIN
    PERFORM imgdb._check_rule_distance(cardinality(v_names), max_distance);
    RETURN QUERY EXECUTE format(
        $query$
        SELECT
            coalesce(h.hash, 0),
            coalesce(h.second, 0),
            (h.hash IS NOT NULL)::integer + 2 * (h.second IS NOT NULL)::integer,
            count(*)
        FROM (
            SELECT %1$s AS hash, %2$s AS second
            FROM imgdb.image AS i
            WHERE NOT i.flat AND ($1 IS NULL OR i.collection_id = $1)
        ) AS h
        WHERE num_nonnulls(h.hash, h.second) > 0
        GROUP BY h.hash, h.second
        $query$,
        'i.' || quote_ident(v_names[1]),
        coalesce('i.' || quote_ident(v_names[2]), 'NULL::bigint')
    ) USING imgdb._collection_id(collection_name);
END
$$;

COMMENT ON FUNCTION imgdb._held_hashes(text, integer, text) IS
'The hashes of images that are not flat, by rule phash+dhash pairs of hashes, and how many images '
'have them: known has bit 1 if the hash is known, 2 if the second one is; else it is 0.';

CREATE FUNCTION imgdb._first_paths(
    space_name text,
    collection_name text,
    of_hashes bigint[],
    of_seconds bigint[]
)
RETURNS TABLE (path text)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_names name[] := imgdb._rule_hashes(space_name);
BEGIN
    RETURN QUERY EXECUTE format(
        $query$
        SELECT (
            SELECT min(i.path)
            FROM imgdb.image AS i
            WHERE
                (%1$s = h.hash OR h.hash IS NULL AND %1$s IS NULL AND %2$s = h.second)
                AND %2$s IS NOT DISTINCT FROM h.second
                AND NOT i.flat AND ($1 IS NULL OR i.collection_id = $1)
        )
        FROM unnest($2, $3) WITH ORDINALITY AS h (hash, second, place)
        ORDER BY h.place
        $query$,
        'i.' || quote_ident(v_names[1]),
        coalesce('i.' || quote_ident(v_names[2]), 'NULL::bigint')
    ) USING imgdb._collection_id(collection_name), of_hashes, of_seconds;
END
$$;

COMMENT ON FUNCTION imgdb._first_paths(text, text, bigint[], bigint[]) IS
'The first path of the images that are not flat and have these hashes, in their order.';
