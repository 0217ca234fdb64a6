-- Which prefixes a search looks up is arithmetic on the masks alone, so it is done once per space:
-- computing it in each search costs more than the search.
CREATE TABLE imgdb.probe (
    space_id smallint NOT NULL,
    from_distance smallint NOT NULL,
    band_mask bigint NOT NULL,
    flip_masks bigint[] NOT NULL,
    CONSTRAINT probe_pkey PRIMARY KEY (space_id, from_distance),
    CONSTRAINT probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);

-- Uncompressed: every search reads the first ones.
ALTER TABLE imgdb.probe ALTER COLUMN flip_masks SET STORAGE EXTERNAL; -- noqa: PRS

COMMENT ON TABLE imgdb.probe IS
'The prefixes that a search looks up, level by level: (query_hash & band_mask) XOR each flip mask.';
COMMENT ON COLUMN imgdb.probe.space_id IS 'The space whose bands these are.';
COMMENT ON COLUMN imgdb.probe.from_distance IS
'The level: searches of this distance and above need it. Levels 0 to r find all within r.';
COMMENT ON COLUMN imgdb.probe.band_mask IS 'The bits of the band.';
COMMENT ON COLUMN imgdb.probe.flip_masks IS
'Every mask of exactly t bits of the band, t being the level divided by the number of bands.';

-- With m bands, if band k differs in more than t_k bits for every k, the distance is at least
-- sum(t_k + 1). Thresholds that make that sum r + 1 therefore catch every match within r (general
-- pigeonhole principle). Such thresholds for r are those for r - 1 with one more in band r % m: so
-- level r is band r % m with exactly r / m bits flipped, and levels 0 to r are the search. Sources:
-- Norouzi, Punjani, Fleet, Fast search in Hamming space with multi-index hashing (CVPR 2012); Qin
-- and others, GPH (ICDE 2018).
CREATE FUNCTION imgdb._prepare_probes(for_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_bands integer := cardinality(v_masks);
    v_bits bigint[];
    v_level record;
    v_alike smallint := (
        SELECT min(s.space_id)
        FROM imgdb.space AS s
        WHERE
            s.band_masks = v_masks
            AND EXISTS (SELECT FROM imgdb.probe AS p WHERE p.space_id = s.space_id)
    );
BEGIN
    IF v_alike IS NOT NULL THEN
        INSERT INTO imgdb.probe (space_id, from_distance, band_mask, flip_masks)
        SELECT for_space_id, p.from_distance, p.band_mask, p.flip_masks
        FROM imgdb.probe AS p
        WHERE p.space_id = v_alike;
        RETURN;
    END IF;
    FOR v_band IN 0..v_bands - 1 LOOP
        SELECT array_agg(1::bigint << shift ORDER BY shift)
        INTO v_bits
        FROM generate_series(0, 63) AS shift
        WHERE v_masks[v_band + 1] & (1::bigint << shift) <> 0;
        SELECT ARRAY[0]::bigint[] AS flips, ARRAY[0] AS last INTO v_level;
        FOR v_flip_count IN 0..64 LOOP
            INSERT INTO imgdb.probe (space_id, from_distance, band_mask, flip_masks)
            VALUES (
                for_space_id, v_flip_count * v_bands + v_band, v_masks[v_band + 1],
                coalesce(v_level.flips, '{}')
            );
            -- 8,000 probes cost more than most scans.
            EXIT WHEN (v_flip_count + 1) * v_bands + v_band > 64
                OR cardinality(v_level.flips) * (cardinality(v_bits) - v_flip_count)
                > 8000 * (v_flip_count + 1);
            -- One more bit, behind the last: so each mask is made once.
            SELECT
                array_agg(f.flip | v_bits[b.place] ORDER BY b.place, f.flip) AS flips,
                array_agg(b.place ORDER BY b.place, f.flip) AS last
            INTO v_level
            FROM unnest(v_level.flips, v_level.last) AS f (flip, last)
            JOIN generate_series(1, cardinality(v_bits)) AS b (place) ON b.place > f.last;
        END LOOP;
    END LOOP;
    -- A level counts only with all before it.
    DELETE FROM imgdb.probe AS p
    WHERE
        p.space_id = for_space_id
        AND p.from_distance > (
            SELECT min(q.from_distance)
            FROM imgdb.probe AS q
            WHERE
                q.space_id = for_space_id
                AND NOT EXISTS (
                    SELECT FROM imgdb.probe AS n
                    WHERE n.space_id = for_space_id AND n.from_distance = q.from_distance + 1
                )
        );
END
$$;

COMMENT ON FUNCTION imgdb._prepare_probes(smallint) IS
'Makes the probes of a space from its band masks: all levels of at most 8,000 prefixes.';
