-- Each bucket is compared with what is asked of its prefix, a slice of arrays in which width_bucket
-- finds its ends by halving: a join might be done by hashing, where hashes and prefixes collide
-- (imgdb._add_rows says why).
CREATE FUNCTION imgdb._indexed_among(of_space_id smallint, of_mask bigint, sorted_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Arrays in a record stay as they are; as variables they would be copied at every use.
    v_asked record;
    v_found bigint[];
BEGIN
    SELECT
        array_agg(h.hash & of_mask ORDER BY h.hash & of_mask, h.hash) AS prefixes,
        array_agg(h.hash ORDER BY h.hash & of_mask, h.hash) AS hashes
    INTO v_asked
    FROM unnest(sorted_hashes) AS h (hash);
    SELECT array_agg(DISTINCT asked.hash)
    INTO v_found
    FROM (
        SELECT
            b.hashes,
            unnest(v_asked.hashes[
                -- Behind the last entry of a smaller prefix.
                CASE
                    WHEN b.prefix = -9223372036854775808 THEN 1
                    ELSE width_bucket(b.prefix - 1, v_asked.prefixes) + 1
                END:
                width_bucket(b.prefix, v_asked.prefixes)
            ]) AS hash
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id AND b.prefix = ANY ((SELECT v_asked.prefixes)::bigint[])
    ) AS asked
    WHERE asked.hash = ANY (asked.hashes);
    RETURN v_found;
END
$$;

COMMENT ON FUNCTION imgdb._indexed_among(smallint, bigint, bigint[]) IS
'Those of the sorted hashes that the buckets of a band hold, sorted; NULL if none.';

-- EXCEPT in its sorted form: the hashed one collides (imgdb._add_rows says why).
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

-- A hash stands in all bands or in none: who folds holds the row of imgdb.space_state, and puts
-- it into all of them in one transaction. No statement joins buckets with anything, and arrays are
-- values before the statement that uses them: so the same runs where buckets are distributed.
CREATE FUNCTION imgdb._fold_hashes(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_entry record;
    v_last record;
    v_new_prefixes bigint[];
    v_new_hashes bigint[];
BEGIN
    SELECT
        array_agg(e.prefix ORDER BY e.prefix, e.hash) AS prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) AS hashes
    INTO v_entry
    FROM (
        -- The prefix may be 0 in several bands.
        SELECT DISTINCT h.hash & band.mask AS prefix, h.hash
        FROM unnest(new_hashes) AS h (hash), unnest(v_masks) AS band (mask)
    ) AS e;
    -- The last row of each prefix, if it has room for all that comes.
    SELECT
        array_agg(l.prefix ORDER BY l.prefix) AS prefixes,
        array_agg(l.part ORDER BY l.prefix) AS parts
    INTO v_last
    FROM (
        SELECT DISTINCT ON (b.prefix) b.prefix, b.part, cardinality(b.hashes) AS filled
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = for_space_id AND b.prefix = ANY ((SELECT v_entry.prefixes)::bigint[])
        ORDER BY b.prefix, b.part DESC
    ) AS l
    WHERE
        l.filled + width_bucket(l.prefix, v_entry.prefixes) <= 200 + CASE
            WHEN l.prefix = -9223372036854775808 THEN 0
            ELSE width_bucket(l.prefix - 1, v_entry.prefixes)
        END;
    -- New ones in front: what stays at the end of a row is not written to the WAL again.
    UPDATE imgdb.prefix_bucket AS b
    SET hashes = v_entry.hashes[
        -- Behind the last entry of a smaller prefix.
        CASE
            WHEN b.prefix = -9223372036854775808 THEN 1
            ELSE width_bucket(b.prefix - 1, v_entry.prefixes) + 1
        END:
        width_bucket(b.prefix, v_entry.prefixes)
    ] || b.hashes
    WHERE
        b.space_id = for_space_id
        AND b.prefix = ANY ((SELECT v_last.prefixes)::bigint[])
        AND b.part = v_last.parts[width_bucket(b.prefix, v_last.prefixes)];
    SELECT array_agg(e.prefix), array_agg(e.hash)
    INTO v_new_prefixes, v_new_hashes
    FROM unnest(v_entry.prefixes, v_entry.hashes) AS e (prefix, hash)
    WHERE v_last.prefixes[width_bucket(e.prefix, v_last.prefixes)] IS DISTINCT FROM e.prefix;
    IF v_new_prefixes IS NOT NULL THEN
        PERFORM imgdb._add_rows(for_space_id, v_new_prefixes, v_new_hashes);
    END IF;
    PERFORM imgdb._count_in(for_space_id, cardinality(new_hashes));
END
$$;

COMMENT ON FUNCTION imgdb._fold_hashes(smallint, bigint[]) IS
'Puts hashes that the buckets of a space lack into them: into the last row of each prefix, or a '
'new one where that is full. The caller holds the lock of the space.';
