-- A client merges the rows of a space many times as fast as compact, which sorts them with the
-- planner's means: it takes all hashes, and indexes them again in the same transaction. The first
-- rule of imgdb._compact_prefixes holds here, too: what others append meanwhile is not taken, and
-- stays. No hash is dropped, so the second has no use.
CREATE FUNCTION imgdb._begin_merge(space_name text)
RETURNS TABLE (space_id smallint, band_masks bigint[])
LANGUAGE plpgsql VOLATILE ROWS 1
AS $$
#variable_conflict use_column
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
BEGIN
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR SHARE;
    PERFORM imgdb._hold_off_compact(v_space_id);
    RETURN QUERY
    SELECT s.space_id, s.band_masks FROM imgdb.space AS s WHERE s.space_id = v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._begin_merge(text) IS
'Holds the bands of a space, and compact off, until the transaction ends.';

-- Two that take at once would wait for each other's rows, perhaps crosswise: 'imge', and the space.
CREATE FUNCTION imgdb._take_hashes(of_space_id smallint, most_hashes bigint)
RETURNS bytea
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_band_masks bigint[];
    v_hashes bytea;
BEGIN
    SELECT s.band_masks INTO v_band_masks FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    IF
        NOT has_table_privilege('imgdb.prefix_bucket', 'DELETE')
        OR NOT pg_try_advisory_xact_lock(1768777573, of_space_id)
        OR (
            SELECT sum(cardinality(b.hashes)) > most_hashes * cardinality(v_band_masks)
            FROM imgdb.prefix_bucket AS b
            WHERE b.space_id = of_space_id
        )
    THEN
        RETURN NULL;
    END IF;
    WITH gone AS (
        DELETE FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id
        RETURNING b.prefix, b.hashes
    )
    SELECT string_agg(int8send(entry.hash), '')
    INTO v_hashes
    FROM (
        -- Each hash stands in the rows of every band: these are those of the first.
        SELECT unnest(g.hashes) AS hash FROM gone AS g WHERE g.prefix & ~v_band_masks[1] = 0
    ) AS entry;
    RETURN coalesce(v_hashes, '');
END
$$;

COMMENT ON FUNCTION imgdb._take_hashes(smallint, bigint) IS
'Deletes the bucket rows of a space and returns their hashes, eight bytes each, the highest first, '
'for a client that indexes them again. NULL if there are more, if this role may not, or if '
'somebody else takes them.';
