-- Split 64 bits into max_distance + e bands. Two hashes within max_distance agree in e of them at
-- least, so hashes are grouped by every choice of e bands, and only hashes of a group are compared.
-- More bands to agree in make smaller groups, but more choices; the cheapest e is taken.
CREATE FUNCTION imgdb._pair_masks(max_distance integer, of_count bigint)
RETURNS TABLE (group_mask bigint, skipped_masks bigint[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_equal integer;
    v_bands integer;
    v_masks bigint[];
BEGIN
    -- The unit is one hash sorted into its group, which costs about six comparisons.
    SELECT e.equal
    INTO v_equal
    FROM (
        SELECT
            listed.equal,
            -- Number of ways to choose e of (max_distance + e) bands.
            (
                SELECT coalesce(exp(sum(ln((max_distance + i)::double precision / i))), 1)
                FROM generate_series(1, listed.equal) AS i
            ) AS choices,
            64.0::double precision * listed.equal / (max_distance + listed.equal) AS bits
        FROM generate_series(0, 5) AS listed (equal)
        WHERE max_distance + listed.equal BETWEEN 1 AND 64
    ) AS e
    ORDER BY e.choices * (1 + of_count / 12.0 / 2 ^ e.bits)
    LIMIT 1;
    v_bands := max_distance + v_equal;
    -- Neighbours in the 8x8 grid are alike in real pictures: rows are turned against each other
    -- before the bits are dealt out, so that they fall into different bands.
    SELECT array_agg(band.mask ORDER BY band.number)
    INTO v_masks
    FROM (
        SELECT
            (8 * (i / 8) + (i % 8 + 3 * (i / 8)) % 8) % v_bands AS number,
            bit_or(1::bigint << i) AS mask
        FROM generate_series(0, 63) AS i
        GROUP BY 1
    ) AS band;
    RETURN QUERY
    WITH RECURSIVE choice AS (
        SELECT 0 AS equal, 0 AS last, 0::bigint AS chosen, '{}'::bigint[] AS skipped
        UNION ALL
        SELECT
            c.equal + 1,
            next.band,
            c.chosen | v_masks[next.band],
            c.skipped || v_masks[c.last + 1:next.band - 1]
        FROM choice AS c
        CROSS JOIN LATERAL generate_series(c.last + 1, v_bands) AS next (band)
        WHERE c.equal < v_equal
    )
    SELECT c.chosen, c.skipped FROM choice AS c WHERE c.equal = v_equal;
END
$$;

COMMENT ON FUNCTION imgdb._pair_masks(integer, bigint) IS
'Masks by which pairs groups hashes, and the masks of bands before its last that each leaves out.';

-- The hashes come by a query, so that no array holds all of them; a group is an array.
CREATE FUNCTION imgdb._pairs_query(
    source_query text, given_hashes bigint[], of_count bigint, max_distance integer
)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
SET enable_hashagg = off
AS $$
#variable_conflict use_column
DECLARE
    v_group_mask bigint;
    v_skipped_masks bigint[];
BEGIN
    IF max_distance = 0 OR of_count IS NULL THEN
        RETURN;
    END IF;
    FOR v_group_mask, v_skipped_masks IN
        SELECT m.group_mask, m.skipped_masks FROM imgdb._pair_masks(max_distance, of_count) AS m
    LOOP
        -- A pair that agrees in more bands than it must stands in several groups: it is given by
        -- the choice of the first bands, so a band left out before the last must differ.
        RETURN QUERY EXECUTE format(
            $query$
            SELECT pair.hash_a, pair.hash_b, imgdb.distance(pair.hash_a, pair.hash_b)
            FROM (
                SELECT first.hash_a, unnest(first.hashes) AS hash_b
                FROM (
                    SELECT unnest(together.hashes) AS hash_a, together.hashes
                    FROM (
                        SELECT array_agg(DISTINCT one.hash) AS hashes
                        FROM (%s) AS one (hash)
                        GROUP BY one.hash & $2
                        HAVING count(*) > 1
                    ) AS together
                ) AS first
            ) AS pair
            WHERE
                pair.hash_a < pair.hash_b
                AND imgdb.distance(pair.hash_a, pair.hash_b) <= $3
                AND NOT EXISTS (
                    SELECT FROM unnest($4) AS skipped (mask)
                    WHERE (pair.hash_a # pair.hash_b) & skipped.mask = 0
                )
            $query$,
            source_query
        )
        USING given_hashes, v_group_mask, max_distance, v_skipped_masks;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._pairs_query(text, bigint[], bigint, integer) IS
'All pairs within max_distance of each other among the hashes of a query, in which $1 stands for '
'given_hashes; each once.';

CREATE FUNCTION imgdb._pairs_among(among_hashes bigint[], max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT *
    FROM imgdb._pairs_query(
        'SELECT unnest($1)', among_hashes, cardinality(among_hashes), max_distance
    );
END
$$;

COMMENT ON FUNCTION imgdb._pairs_among(bigint[], integer) IS
'All pairs of the hashes, which must be distinct, within max_distance of each other, each once.';

CREATE FUNCTION imgdb.pairs(space_name text, max_distance integer)
RETURNS TABLE (hash_a bigint, hash_b bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10000 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_count bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = v_space_id);
    v_fresh bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT array_agg(entry.hash)
    INTO v_fresh
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = v_space_id
    ) AS entry;
    RETURN QUERY
    SELECT *
    FROM imgdb._pairs_query(
        format(
            'SELECT entry.hash FROM (SELECT b.prefix, unnest(b.hashes) AS hash '
            'FROM imgdb.prefix_bucket AS b '
            'WHERE b.space_id = %s AND b.prefix & (%s)::bigint = b.prefix) AS entry '
            'WHERE entry.hash & (%2$s)::bigint = entry.prefix UNION ALL SELECT unnest($1)',
            v_space_id, v_mask
        ),
        v_fresh,
        v_count + coalesce(cardinality(v_fresh), 0),
        max_distance
    );
END
$$;

COMMENT ON FUNCTION imgdb.pairs(text, integer) IS
'All pairs of hashes of a space within max_distance of each other, each once, hash_a < hash_b.';
