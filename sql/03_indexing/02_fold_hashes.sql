-- An array in which width_bucket finds a value by halving: a join on hashes might be done by
-- hashing, where they collide (imgdb._add_rows says why).
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
    SELECT sorted_hashes AS hashes, array_agg(DISTINCT h.hash & of_mask) AS prefixes
    INTO v_asked
    FROM unnest(sorted_hashes) AS h (hash);
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_found
    FROM (
        SELECT b.prefix, unnest(b.hashes) AS hash
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id AND b.prefix = ANY ((SELECT v_asked.prefixes)::bigint[])
    ) AS entry
    -- The bucket of prefix 0 serves all bands: what it holds for the others is left out.
    WHERE
        entry.hash & of_mask = entry.prefix
        AND v_asked.hashes[width_bucket(entry.hash, v_asked.hashes)] = entry.hash;
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
    v_part bigint := nextval('imgdb._part_sequence');
    v_asked record;
    v_last record;
    v_entry record;
BEGIN
    SELECT array_agg(DISTINCT h.hash & band.mask) AS prefixes
    INTO v_asked
    FROM unnest(new_hashes) AS h (hash), unnest(v_masks) AS band (mask);
    -- The last row of each prefix, and how full it is.
    SELECT
        array_agg(l.prefix ORDER BY l.prefix) AS prefixes,
        array_agg(l.part ORDER BY l.prefix) AS parts,
        array_agg(l.filled ORDER BY l.prefix) AS filled
    INTO v_last
    FROM (
        SELECT DISTINCT ON (b.prefix) b.prefix, b.part, cardinality(b.hashes) AS filled
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = for_space_id AND b.prefix = ANY ((SELECT v_asked.prefixes)::bigint[])
        ORDER BY b.prefix, b.part DESC
    ) AS l;
    -- Entries that have room there, and those that make new rows.
    SELECT
        array_agg(e.prefix ORDER BY e.prefix, e.hash) FILTER (WHERE e.has_room) AS prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) FILTER (WHERE e.has_room) AS hashes,
        array_agg(e.part ORDER BY e.prefix, e.hash) FILTER (WHERE e.has_room) AS parts,
        array_agg(e.prefix ORDER BY e.prefix, e.hash) FILTER (WHERE NOT e.has_room) AS new_prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) FILTER (WHERE NOT e.has_room) AS new_hashes
    INTO v_entry
    FROM (
        SELECT
            n.prefix,
            n.hash,
            v_last.parts[n.place] AS part,
            coalesce(
                v_last.prefixes[n.place] = n.prefix AND v_last.filled[n.place] + n.count <= 200, false
            ) AS has_room
        FROM (
            SELECT
                d.prefix,
                d.hash,
                count(*) OVER (PARTITION BY d.prefix) AS count,
                coalesce(width_bucket(d.prefix, v_last.prefixes), 0) AS place
            FROM (
                SELECT DISTINCT h.hash & band.mask AS prefix, h.hash
                FROM unnest(new_hashes) AS h (hash), unnest(v_masks) AS band (mask)
            ) AS d
        ) AS n
    ) AS e;
    IF v_entry.prefixes IS NOT NULL THEN
        UPDATE imgdb.prefix_bucket AS b
        SET hashes = b.hashes || v_entry.hashes[
            -- Behind the last entry of a smaller prefix.
            CASE
                WHEN b.prefix = -9223372036854775808 THEN 1
                ELSE width_bucket(b.prefix - 1, v_entry.prefixes) + 1
            END:
            width_bucket(b.prefix, v_entry.prefixes)
        ]
        WHERE
            b.space_id = for_space_id
            AND b.prefix = ANY ((SELECT v_entry.prefixes)::bigint[])
            AND b.part = v_entry.parts[width_bucket(b.prefix, v_entry.prefixes)];
    END IF;
    IF v_entry.new_prefixes IS NOT NULL THEN
        PERFORM imgdb._add_rows(for_space_id, v_entry.new_prefixes, v_entry.new_hashes);
    END IF;
    PERFORM imgdb._count_in(for_space_id, cardinality(new_hashes));
END
$$;

COMMENT ON FUNCTION imgdb._fold_hashes(smallint, bigint[]) IS
'Puts hashes that the buckets of a space lack into them: into the last row of each prefix, or a '
'new one where that is full. The caller holds the lock of the space.';
