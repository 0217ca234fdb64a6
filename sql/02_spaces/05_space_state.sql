-- The lock of a space: the transaction that writes its buckets holds this row until it ends. A row
-- and no advisory lock, which any role could take and keep.
CREATE TABLE imgdb.space_state (
    space_id smallint NOT NULL,
    hash_count bigint NOT NULL DEFAULT 0,
    scan_from smallint NOT NULL DEFAULT 0,
    flushed_by xid8,
    flushed_at timestamptz,
    merged_at timestamptz,
    CONSTRAINT space_state_pkey PRIMARY KEY (space_id)
)
WITH (fillfactor = 50);

COMMENT ON TABLE imgdb.space_state IS 'What is known of the buckets of a space, kept by flushes.';
COMMENT ON COLUMN imgdb.space_state.space_id IS 'The space.';
COMMENT ON COLUMN imgdb.space_state.hash_count IS
'How many hashes are in the buckets, nearly: compact counts anew.';
COMMENT ON COLUMN imgdb.space_state.scan_from IS
'The smallest distance at which reading every hash costs less than looking up probes.';
COMMENT ON COLUMN imgdb.space_state.flushed_by IS
'The transaction that flushed last: one transaction flushes once.';
COMMENT ON COLUMN imgdb.space_state.flushed_at IS 'When the last flush was.';
COMMENT ON COLUMN imgdb.space_state.merged_at IS 'When the last compact was done.';

-- Microseconds, measured on one core with 3,000 to 10 million hashes: to look a prefix up 0.5, to
-- fetch a row that is there 1.3, a candidate 0.09; in a scan a row 0.12 and a hash 0.035. A scan
-- reads the rows of all bands and unnests those of one.
CREATE FUNCTION imgdb._cost(of_space_id smallint, of_distance integer, of_count bigint)
RETURNS TABLE (probe_cost double precision, scan_cost double precision)
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    WITH band AS (
        SELECT
            n.mask,
            n.prefixes,
            -- The share of prefixes that have a bucket. exp() of less is an error.
            1 - exp(greatest(-of_count / n.prefixes, -50)) AS filled
        FROM (
            SELECT u.mask, 2 ^ bit_count(u.mask::bit(64)) AS prefixes
            FROM imgdb.space AS s
            CROSS JOIN unnest(s.band_masks) AS u (mask)
            WHERE s.space_id = of_space_id
        ) AS n
    )
    SELECT
        -- Levels that are not prepared cost more than anything.
        CASE
            WHEN count(*) <= of_distance THEN 'infinity'::double precision
            ELSE coalesce(
                sum(
                    cardinality(p.flip_masks)
                    * (0.5 + 1.3 * b.filled + 0.09 * of_count / b.prefixes)
                ),
                0
            )
        END,
        0.035 * of_count + 0.12 * (
            SELECT sum(a.filled * a.prefixes + of_count / 200.0) FROM band AS a
        )
    FROM imgdb.probe AS p
    JOIN band AS b ON b.mask = p.band_mask
    WHERE p.space_id = of_space_id AND p.from_distance <= of_distance;
END
$$;

COMMENT ON FUNCTION imgdb._cost(smallint, integer, bigint) IS
'What a search costs in a space of so many hashes, in microseconds: by probes, and by a scan.';

CREATE FUNCTION imgdb._scan_from(of_space_id smallint, of_count bigint)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT min(d.distance)
        FROM generate_series(0, 65) AS d (distance)
        CROSS JOIN LATERAL imgdb._cost(of_space_id, d.distance, of_count) AS c
        WHERE c.probe_cost >= c.scan_cost
    );
END
$$;

COMMENT ON FUNCTION imgdb._scan_from(smallint, bigint) IS
'The smallest distance at which a scan costs less than probes in a space of so many hashes.';

-- A new space has probes and a state before anybody can use it, however its row was made.
CREATE FUNCTION imgdb._begin_space()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._prepare_probes(new.space_id);
    INSERT INTO imgdb.space_state (space_id) VALUES (new.space_id);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._begin_space() IS 'Trigger: gives a new space its probes and its state.';

CREATE TRIGGER space_begin
AFTER INSERT ON imgdb.space
FOR EACH ROW
EXECUTE FUNCTION imgdb._begin_space();

CREATE FUNCTION imgdb._end_space()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The lock: no flush is at work, and none begins.
    DELETE FROM imgdb.space_state AS s WHERE s.space_id = old.space_id;
    DELETE FROM imgdb.fresh_hashes AS f WHERE f.space_id = old.space_id;
    DELETE FROM imgdb.prefix_bucket AS b WHERE b.space_id = old.space_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._end_space() IS 'Trigger: removes the hashes of a space that is dropped.';

CREATE TRIGGER space_end
AFTER DELETE ON imgdb.space
FOR EACH ROW
EXECUTE FUNCTION imgdb._end_space();

CREATE FUNCTION imgdb._refuse_masks()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'the bands of a space are those of its buckets' USING
        ERRCODE = 'IM012',
        HINT = 'CALL imgdb.rebuild(space_name, new_masks) makes the buckets anew.';
END
$$;

COMMENT ON FUNCTION imgdb._refuse_masks() IS 'Trigger: band masks change by imgdb.rebuild only.';

-- Buckets and probes of other masks than the space has would answer with less than all matches.
CREATE TRIGGER space_refuse_masks
BEFORE UPDATE OF band_masks ON imgdb.space
FOR EACH ROW
WHEN (new.band_masks IS DISTINCT FROM old.band_masks)
EXECUTE FUNCTION imgdb._refuse_masks();
