-- Level by level: the probes of level g are read, the best match_limit hashes are kept, and after
-- it everything within g is found. So it ends when the last of the best is not farther than g;
-- hashes as far as that one still count, since ties go by hash. Where a level costs more than
-- reading every hash, every hash is read, once.
CREATE FUNCTION imgdb._nearest_hashes(
    of_space_id smallint,
    query_hash bigint,
    match_limit integer,
    max_distance integer
)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
    v_scan_cost double precision;
    v_best bigint[];
    v_more bigint[];
    v_bound integer := max_distance;
    v_level record;
    v_probes bigint[];
BEGIN
    SELECT s.name, c.scan_cost
    INTO v_name, v_scan_cost
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    CROSS JOIN LATERAL imgdb._cost(s.space_id, 0, st.hash_count) AS c
    WHERE s.space_id = of_space_id;
    SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
    INTO v_best
    FROM (
        SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
        FROM (
            SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.space_id = of_space_id
        ) AS entry
        WHERE imgdb.distance(entry.hash, query_hash) <= v_bound
        ORDER BY distance, entry.hash
        LIMIT match_limit
    ) AS near;
    FOR v_level IN
        SELECT p.from_distance, p.band_mask, p.flip_masks
        FROM imgdb.probe AS p
        WHERE p.space_id = of_space_id
        ORDER BY p.from_distance
    LOOP
        IF cardinality(v_best) >= match_limit THEN
            v_bound := imgdb.distance(v_best[match_limit], query_hash);
        END IF;
        -- The level before has found all within the bound.
        IF v_level.from_distance > v_bound THEN
            RETURN v_best;
        END IF;
        EXIT WHEN 1.75 * cardinality(v_level.flip_masks) > v_scan_cost;
        SELECT array_agg((query_hash & v_level.band_mask) # flip)
        INTO v_probes
        FROM unnest(v_level.flip_masks) AS flip;
        SELECT array_agg(candidate.hash)
        INTO v_more
        FROM (
            SELECT unnest(bucket.hashes) AS hash
            FROM imgdb.prefix_bucket AS bucket
            WHERE bucket.space_id = of_space_id AND bucket.prefix = ANY (v_probes)
        ) AS candidate
        WHERE imgdb.distance(candidate.hash, query_hash) <= v_bound;
        IF v_more IS NOT NULL THEN
            SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
            INTO v_best
            FROM (
                SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
                FROM unnest(v_best || v_more) AS entry (hash)
                ORDER BY distance, entry.hash
                LIMIT match_limit
            ) AS near;
        END IF;
    END LOOP;
    IF cardinality(v_best) >= match_limit THEN
        v_bound := imgdb.distance(v_best[match_limit], query_hash);
    END IF;
    RETURN (
        SELECT array_agg(near.hash ORDER BY near.distance, near.hash)
        FROM (
            -- What a scan of one band does not find is a stale hash that is left in another one: it
            -- made the bound, so it counts here, too.
            SELECT DISTINCT entry.hash, imgdb.distance(entry.hash, query_hash) AS distance
            FROM (
                SELECT s.hash FROM imgdb.scan(v_name, query_hash, v_bound) AS s
                UNION ALL
                SELECT unnest(v_best)
            ) AS entry
            ORDER BY distance, entry.hash
            LIMIT match_limit
        ) AS near
    );
END
$$;

COMMENT ON FUNCTION imgdb._nearest_hashes(smallint, bigint, integer, integer) IS
'The hashes of a space nearest to query_hash, by distance, then by hash, whether or not a row '
'holds them still; NULL if there are none.';

-- A superuser runs no code of another role: see imgdb._check_member. Nobody else runs code of a
-- role whose rights he has not. Without an index a table would be read whole.
CREATE FUNCTION imgdb._held_among(of_space_id smallint, doubtful_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_found bigint[];
    v_held bigint[] := '{}';
BEGIN
    FOR v_source IN
        SELECT
            t.table_id,
            t.column_name,
            format('%I.%I', n.nspname, c.relname) AS table_name,
            c.relkind IN ('r', 'p')
            AND pg_has_role(current_user, c.relowner, 'USAGE')
            AND (NOT me.rolsuper OR coalesce(owner.rolsuper, false) OR c.relowner = home.nspowner)
            AND EXISTS (
                SELECT FROM pg_index AS x JOIN pg_attribute AS a ON a.attrelid = x.indrelid
                WHERE
                    x.indrelid = c.oid AND a.attname = t.column_name AND x.indkey[0] = a.attnum
                    AND x.indisvalid
            )
            AND NOT EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid AND c.relkind = 'r')
            AS can_ask
        FROM imgdb.tracked_column AS t
        JOIN pg_class AS c ON c.oid = t.table_id
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        JOIN pg_namespace AS home ON home.nspname = 'imgdb'
        JOIN pg_roles AS me ON me.rolname = current_user
        LEFT JOIN pg_roles AS owner ON owner.oid = c.relowner
        WHERE t.space_id = of_space_id
    LOOP
        IF NOT v_source.can_ask THEN
            RETURN doubtful_hashes;
        END IF;
        EXECUTE format(
            'SELECT array_agg(DISTINCT t.%1$I) FROM %2$s AS t WHERE t.%1$I = ANY ($1)',
            v_source.column_name, v_source.table_name
        ) INTO v_found USING doubtful_hashes;
        v_held := v_held || v_found;
    END LOOP;
    RETURN v_held;
END
$$;

COMMENT ON FUNCTION imgdb._held_among(smallint, bigint[]) IS
'Those of the hashes that a tracked column of the space holds; all of them if the current user may '
'not ask, or a column has no index.';

CREATE FUNCTION imgdb.nearest(
    space_name text,
    query_hash bigint,
    match_limit integer,
    max_distance integer DEFAULT 64
)
RETURNS TABLE (hash bigint, distance integer)
LANGUAGE plpgsql STABLE ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_wanted bigint := match_limit;
    v_best bigint[];
    v_held bigint[];
BEGIN
    PERFORM imgdb._check_query(query_hash);
    PERFORM imgdb._check_distance(max_distance);
    IF match_limit IS NULL OR match_limit < 1 THEN
        RAISE EXCEPTION 'match_limit is %, not 1 or more', coalesce(match_limit::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Say how many of the nearest hashes you want.';
    END IF;
    -- Hashes whose rows are gone must not take the places of others: then more are looked at.
    LOOP
        v_best := imgdb._nearest_hashes(
            v_space_id, query_hash, least(v_wanted, 2147483647)::integer, max_distance
        );
        v_held := imgdb._held_among(v_space_id, v_best);
        SELECT array_agg(b.hash ORDER BY b.place)
        INTO v_held
        FROM unnest(v_best) WITH ORDINALITY AS b (hash, place)
        WHERE b.hash = ANY (v_held);
        EXIT WHEN v_best IS NULL OR cardinality(v_best) < v_wanted
            OR cardinality(v_held) >= match_limit;
        v_wanted := 2 * v_wanted;
    END LOOP;
    RETURN QUERY
    SELECT found.hash, imgdb.distance(found.hash, query_hash)
    FROM unnest(v_held[:match_limit]) WITH ORDINALITY AS found (hash, place)
    ORDER BY found.place;
END
$$;

COMMENT ON FUNCTION imgdb.nearest(text, bigint, integer, integer) IS
'The match_limit hashes nearest to query_hash, at most max_distance away; ties by hash.';
