-- By a sum, a hub is a pair of hashes: what is near by it is near by one of them within half.
-- Sorted and merged, never hashed (imgdb._add_rows says why).
CREATE FUNCTION imgdb._hubs(
    space_name text,
    max_distance integer,
    flood_limit integer,
    collection_name text,
    hub_limit integer,
    most_in_array bigint DEFAULT 10000000
)
RETURNS TABLE (hash bigint, second bigint, images bigint, matches bigint, path text)
LANGUAGE plpgsql STABLE ROWS 20 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
SET enable_hashjoin = off
SET enable_nestloop = off
AS $$
#variable_conflict use_column
DECLARE
    v_names name[] := imgdb._rule_hashes(space_name);
    v_size integer := cardinality(v_names);
    v_columns text[] := ARRAY(
        SELECT coalesce('i.' || quote_ident(v_names[k]), 'NULL::bigint') FROM generate_series(1, 2) AS k
    );
    v_where text := format(
        'NOT i.flat AND (%1$L::integer IS NULL OR i.collection_id = %1$L::integer)',
        imgdb._collection_id(collection_name)
    );
    v_sources text[];
    v_count bigint;
    v_counts bigint[];
    v_hashes bigint[];
    v_seconds bigint[];
    v_near text[];
BEGIN
    PERFORM imgdb._check_rule_distance(v_size, max_distance);
    FOR k IN 1..v_size LOOP
        v_sources[k] := format(
            'SELECT DISTINCT %1$s AS hash FROM imgdb.image AS i WHERE %1$s IS NOT NULL AND %2$s',
            v_columns[k], v_where
        );
        EXECUTE format('SELECT count(*) FROM (%s) AS h', v_sources[k]) INTO v_count;
        v_counts[k] := v_count;
        v_near[k] := format(
            $query$
            SELECT
                a.hash, a.second, b.hash AS other_hash, b.second AS other_second, a.images,
                b.images AS others
            FROM (
                SELECT p.hash_a, p.hash_b FROM pair_%1$s AS p
                UNION ALL
                SELECT p.hash_b, p.hash_a FROM pair_%1$s AS p
                UNION ALL
                SELECT h.hash, h.hash FROM (%2$s) AS h
            ) AS p
            JOIN held AS a ON a.%3$I = p.hash_a
            JOIN held AS b ON b.%3$I = p.hash_b
            WHERE imgdb._rule_distance(a.hash, a.second, b.hash, b.second, $5) <= $6
            $query$,
            k, v_sources[k], (ARRAY['hash', 'second'])[k]
        );
    END LOOP;
    -- Pairs read the hashes many times over: as an array faster, if they are not too many for one.
    IF v_counts[1] <= most_in_array THEN
        EXECUTE format('SELECT array_agg(h.hash) FROM (%s) AS h', v_sources[1]) INTO v_hashes;
    END IF;
    IF v_counts[2] <= most_in_array THEN
        EXECUTE format('SELECT array_agg(h.hash) FROM (%s) AS h', v_sources[2]) INTO v_seconds;
    END IF;
    RETURN QUERY EXECUTE format(
        $query$
        WITH held AS MATERIALIZED (
            SELECT %1$s AS hash, %2$s AS second, count(*) AS images
            FROM imgdb.image AS i
            WHERE num_nonnulls(%1$s, %2$s) > 0 AND %3$s
            GROUP BY 1, 2
        ),
        pair_1 AS MATERIALIZED (
            SELECT p.hash_a, p.hash_b FROM imgdb._pairs_query(%4$L, $1, $2, $7) AS p
        ),
        pair_2 AS MATERIALIZED (
            SELECT p.hash_a, p.hash_b FROM imgdb._pairs_query(%5$L, $3, $4, $7) AS p
        ),
        -- What is near by both is there twice, and counts once.
        near AS (%6$s),
        hub AS (
            SELECT
                n.hash, n.second, n.images, sum(n.others)::bigint - 1 AS matches
            FROM near AS n
            GROUP BY n.hash, n.second, n.images
            HAVING sum(n.others) - 1 > $8
            ORDER BY 4 DESC, 3 DESC, n.hash, n.second
            LIMIT $9
        )
        SELECT hub.hash, hub.second, hub.images, hub.matches, (
            SELECT min(i.path)
            FROM imgdb.image AS i
            WHERE
                (%1$s = hub.hash OR hub.hash IS NULL AND %1$s IS NULL AND %2$s = hub.second)
                AND %2$s IS NOT DISTINCT FROM hub.second AND %3$s
        )
        FROM hub
        ORDER BY 4 DESC, 3 DESC, 1, 2
        $query$,
        v_columns[1],
        v_columns[2],
        v_where,
        CASE WHEN v_hashes IS NULL THEN v_sources[1] ELSE 'SELECT unnest($1)' END,
        CASE WHEN v_seconds IS NULL THEN v_sources[2] ELSE 'SELECT unnest($1)' END,
        array_to_string(v_near, ' UNION ')
    ) USING
        v_hashes, v_counts[1], v_seconds, v_counts[2], v_size > 1, max_distance,
        max_distance / v_size, flood_limit, hub_limit;
END
$$;

COMMENT ON FUNCTION imgdb._hubs(text, integer, integer, text, integer, bigint) IS
'The hashes, by rule phash+dhash the pairs of hashes, whose images match more than flood_limit '
'other images, most matches first: how many images have them, how many others are within '
'max_distance of one of these, and the first path. Flat images do not count.';
