-- Two rules keep concurrent work right without locking anyone out:
-- * Rows that others append meanwhile are not visible to the DELETE, and stay.
-- * Whether a stale hash is held again is asked after the DELETE took its snapshot. A hash in a
--   visible bucket row was brought by a transaction that had committed by then, so the asking sees
--   its holder, unless that is gone. Asked first, a hash that came back in between would be lost.
CREATE FUNCTION imgdb._compact_prefixes(
    of_space_id smallint,
    old_prefixes bigint[],
    stale_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
    v_dropped bigint[];
BEGIN
    WITH gone AS (
        DELETE FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = of_space_id AND bucket.prefix = ANY (old_prefixes)
        RETURNING bucket.prefix, bucket.hashes
    )
    SELECT array_agg(entry.prefix), array_agg(entry.hash)
    INTO v_prefixes, v_hashes
    FROM (SELECT gone.prefix, unnest(gone.hashes) AS hash FROM gone) AS entry;
    v_dropped := imgdb._difference(stale_hashes, imgdb._held(of_space_id, stale_hashes));
    IF v_dropped IS NOT NULL THEN
        SELECT array_agg(entry.prefix), array_agg(entry.hash)
        INTO v_prefixes, v_hashes
        FROM unnest(v_prefixes, v_hashes) AS entry (prefix, hash)
        LEFT JOIN unnest(v_dropped) AS dropped (hash) ON dropped.hash = entry.hash
        WHERE dropped.hash IS NULL;
    END IF;
    PERFORM imgdb._append_buckets(of_space_id, v_prefixes, v_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._compact_prefixes(smallint, bigint[], bigint[]) IS
'Merges the rows of each prefix; drops doubles, and those of the stale hashes that nothing holds.';

-- Each batch of prefixes is one transaction: what is done stays done if the procedure is killed,
-- and the next run does the rest. One compactor at a time works on a space, batch by batch.
CREATE PROCEDURE imgdb.compact(space_name text, batch_size integer DEFAULT 10000)
LANGUAGE plpgsql
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_stale bigint[];
    v_stale_prefixes bigint[];
    v_stale_hashes bigint[];
    v_next bigint := -9223372036854775808;
    v_last bigint;
    v_prefixes bigint[];
    v_batch_stale_prefixes bigint[];
    v_batch_stale bigint[];
BEGIN
    -- The rules above need a snapshot per statement. Outside a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    PERFORM imgdb._forget_dropped();
    -- From all bands: a compact that was killed may have dropped a hash from some of them only.
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_stale
    FROM (
        SELECT unnest(bucket.hashes) AS hash
        FROM imgdb.prefix_bucket AS bucket
        WHERE bucket.space_id = v_space_id
    ) AS entry;
    v_stale := imgdb._difference(v_stale, imgdb._tracked_hashes(v_space_id));
    SELECT array_agg(stale.hash & band.mask), array_agg(stale.hash)
    INTO v_stale_prefixes, v_stale_hashes
    FROM imgdb.space AS s
    CROSS JOIN unnest(s.band_masks) AS band (mask)
    CROSS JOIN unnest(v_stale) AS stale (hash)
    WHERE s.space_id = v_space_id;
    COMMIT AND CHAIN;
    LOOP
        PERFORM imgdb._hold_off_compact(v_space_id);
        -- The ordered aggregate makes this a walk along the index. Merged rows do not overlap: where
        -- rows do, they may hold doubles, however full they are.
        SELECT max(bucket.prefix), array_agg(bucket.prefix) FILTER (WHERE bucket.fragmented)
        INTO v_last, v_prefixes
        FROM (
            SELECT
                b.prefix,
                count(*) > ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)
                OR bool_or(b.overlaps) AS fragmented
            FROM (
                SELECT
                    part.prefix,
                    part.hashes,
                    part.hashes[1] <= lag(part.hashes[cardinality(part.hashes)])
                        OVER (PARTITION BY part.prefix ORDER BY part.hashes[1]) AS overlaps
                FROM imgdb.prefix_bucket AS part
                WHERE part.space_id = v_space_id AND part.prefix >= v_next
            ) AS b
            GROUP BY b.prefix
            ORDER BY b.prefix
            LIMIT greatest(batch_size, 1)
        ) AS bucket;
        EXIT WHEN v_last IS NULL;
        SELECT array_agg(stale.prefix), array_agg(DISTINCT stale.hash)
        INTO v_batch_stale_prefixes, v_batch_stale
        FROM unnest(v_stale_prefixes, v_stale_hashes) AS stale (prefix, hash)
        WHERE stale.prefix BETWEEN v_next AND v_last;
        v_prefixes := v_prefixes || v_batch_stale_prefixes;
        IF v_prefixes IS NOT NULL THEN
            PERFORM imgdb._compact_prefixes(v_space_id, v_prefixes, v_batch_stale);
        END IF;
        COMMIT AND CHAIN;
        EXIT WHEN v_last = 9223372036854775807;
        v_next := v_last + 1;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE imgdb.compact (text, integer) IS
'Merges the bucket rows of each prefix of a space, drops doubles and hashes that no tracked column '
'holds any more. Commits after every batch_size prefixes: CALL it outside a transaction. VACUUM '
'gives the space back.';
