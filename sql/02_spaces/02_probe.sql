-- Which prefixes a search looks up is arithmetic on the masks alone, so it is done once per space:
-- computing it in each search costs more than the search.
CREATE TABLE imgdb.probe (
    space_id smallint NOT NULL,
    radius smallint NOT NULL,
    band smallint NOT NULL,
    band_mask bigint NOT NULL,
    flip_masks bigint[] NOT NULL,
    CONSTRAINT probe_pkey PRIMARY KEY (space_id, radius, band),
    CONSTRAINT probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);

COMMENT ON TABLE imgdb.probe IS
'The prefixes that a search looks up: (query_hash & band_mask) XOR each flip mask.';
COMMENT ON COLUMN imgdb.probe.space_id IS 'The space whose bands these are.';
COMMENT ON COLUMN imgdb.probe.radius IS 'The largest distance that these probes find.';
COMMENT ON COLUMN imgdb.probe.band IS 'Position of the band in band_masks, from 0.';
COMMENT ON COLUMN imgdb.probe.band_mask IS 'The bits of the band.';
COMMENT ON COLUMN imgdb.probe.flip_masks IS
'Every mask of at most t bits of the band, t being the threshold of the band at this radius.';

-- With m bands, if band k differs in more than t_k bits for every k, the distance is at least
-- sum(t_k + 1). Thresholds that make that sum max_distance + 1 therefore catch every match (general
-- pigeonhole principle). A band with threshold -1 is not looked up at all. Sources: Norouzi,
-- Punjani, Fleet, Fast search in Hamming space with multi-index hashing (CVPR 2012); Qin and
-- others, GPH (ICDE 2018).
CREATE FUNCTION imgdb._prepare_probes(for_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_masks bigint[] := (SELECT band_masks FROM imgdb.space WHERE space_id = for_space_id);
    v_bands integer := cardinality(v_masks);
BEGIN
    DELETE FROM imgdb.probe WHERE space_id = for_space_id;
    INSERT INTO imgdb.probe (space_id, radius, band, band_mask, flip_masks)
    WITH RECURSIVE bit AS (
        SELECT b.ordinal - 1 AS band, b.mask, 1::bigint << shift AS bit
        FROM unnest(v_masks) WITH ORDINALITY AS b (mask, ordinal), generate_series(0, 63) AS shift
        WHERE b.mask & (1::bigint << shift) <> 0
    ),
    threshold AS (
        SELECT
            radius,
            band,
            radius / v_bands - (band > radius % v_bands)::integer AS flips
        FROM generate_series(0, 12) AS radius, generate_series(0, v_bands - 1) AS band
    ),
    -- Bits are added in ascending order (as unsigned numbers), so each mask is made once.
    flip AS (
        SELECT DISTINCT band, mask AS band_mask, 0::bigint AS flip_mask, 0 AS flips, 0::bit(64) AS last
        FROM bit
        UNION ALL
        SELECT f.band, f.band_mask, f.flip_mask | b.bit, f.flips + 1, b.bit::bit(64)
        FROM flip AS f
        JOIN bit AS b ON b.band = f.band AND b.bit::bit(64) > f.last
        WHERE f.flips < (SELECT max(t.flips) FROM threshold AS t)
    )
    SELECT for_space_id, t.radius, t.band, f.band_mask, array_agg(f.flip_mask ORDER BY f.flip_mask)
    FROM threshold AS t
    JOIN flip AS f ON f.band = t.band AND f.flips <= t.flips
    GROUP BY t.radius, t.band, f.band_mask;
END
$$;

COMMENT ON FUNCTION imgdb._prepare_probes(smallint) IS
'Makes the probes of a space from its band masks, for every radius up to 12.';
