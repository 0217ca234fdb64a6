CREATE FUNCTION imgdb._sources(of_space_id smallint)
RETURNS TABLE (relation regclass, hash_column name)
LANGUAGE plpgsql STABLE ROWS 1
AS $$
DECLARE
    v_lost text := (
        SELECT string_agg(format('%s.%I', t.table_id, t.column_name), ', ' ORDER BY t.table_id)
        FROM imgdb.tracked_column AS t
        JOIN pg_catalog.pg_class AS c ON c.oid = t.table_id
        WHERE
            t.space_id = of_space_id
            AND NOT EXISTS (
                SELECT FROM pg_catalog.pg_attribute AS a
                WHERE
                    a.attrelid = t.table_id AND a.attname = t.column_name AND NOT a.attisdropped
                    AND a.atttypid = 'pg_catalog.int8'::regtype
            )
    );
BEGIN
    IF v_lost IS NOT NULL THEN
        RAISE EXCEPTION 'imgdb tracks %, dropped, renamed or no bigint any more', v_lost USING
            ERRCODE = 'IM004',
            HINT = 'imgdb.untrack that column, then imgdb.track the one that holds the hashes now.';
    END IF;
    -- A dropped table is no source, whether or not it is forgotten yet.
    RETURN QUERY
    SELECT t.table_id, t.column_name
    FROM imgdb.tracked_column AS t
    JOIN pg_catalog.pg_class AS c ON c.oid = t.table_id
    WHERE t.space_id = of_space_id
    ORDER BY t.table_id, t.column_name;
END
$$;

COMMENT ON FUNCTION imgdb._sources(smallint) IS
'The columns that feed a space, less those whose table is dropped.';

-- Row security would hide rows, and compact would drop their hashes: hence an error.
CREATE FUNCTION imgdb._tracked_hashes(of_space_id smallint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_part bigint[];
    v_hashes bigint[];
BEGIN
    FOR v_source IN SELECT * FROM imgdb._sources(of_space_id) LOOP
        FOR v_part IN EXECUTE imgdb._hash_parts_query(
            format('SELECT %I, false FROM %s', v_source.hash_column, v_source.relation)
        ) LOOP
            v_hashes := v_hashes || v_part;
        END LOOP;
    END LOOP;
    RETURN v_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._tracked_hashes(smallint) IS
'All hashes that the tracked columns of a space hold, each once per column; NULL if none.';

CREATE FUNCTION imgdb._indexed_hashes(of_space_id smallint, of_band integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_mask bigint := (
        SELECT s.band_masks[of_band + 1] FROM imgdb.space AS s WHERE s.space_id = of_space_id
    );
    v_hashes bigint[];
BEGIN
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_hashes
    FROM (
        SELECT bucket.prefix, unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = of_space_id AND bucket.prefix & v_mask = bucket.prefix
    ) AS entry
    WHERE entry.hash & v_mask = entry.prefix;
    RETURN v_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._indexed_hashes(smallint, integer) IS
'The distinct hashes in the buckets of one band, sorted; NULL if none. Every band holds them all.';

CREATE FUNCTION imgdb._held(of_space_id smallint, doubtful_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET row_security = off
AS $$
DECLARE
    v_source record;
    v_found bigint[];
    v_held bigint[];
BEGIN
    FOR v_source IN SELECT * FROM imgdb._sources(of_space_id) LOOP
        EXECUTE format(
            'SELECT array_agg(DISTINCT t.%1$I) FROM %2$s AS t WHERE t.%1$I = ANY ($1)',
            v_source.hash_column, v_source.relation
        ) INTO v_found USING doubtful_hashes;
        v_held := v_held || v_found;
    END LOOP;
    RETURN v_held;
END
$$;

COMMENT ON FUNCTION imgdb._held(smallint, bigint[]) IS
'Those of the hashes that a tracked column of the space holds.';

-- EXCEPT in its sorted form: the hashed one collides (imgdb._append_buckets says why).
CREATE FUNCTION imgdb._difference(hashes_a bigint[], hashes_b bigint[])
RETURNS bigint[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT array_agg(lone.hash ORDER BY lone.hash)
    FROM (
        SELECT DISTINCT ON (listed.hash)
            listed.hash,
            listed.place
        FROM (
            SELECT
                b.hash,
                1 AS place
            FROM unnest(hashes_b) AS b (hash)
            UNION ALL
            SELECT
                a.hash,
                2 AS place
            FROM unnest(hashes_a) AS a (hash)
        ) AS listed
        ORDER BY listed.hash, listed.place
    ) AS lone
    WHERE lone.place = 2
);

COMMENT ON FUNCTION imgdb._difference(bigint[], bigint[]) IS
'The hashes of the first array that the second lacks, sorted, each once; NULL if there are none.';
