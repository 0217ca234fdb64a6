CREATE FUNCTION imgdb._remove_hashes(of_space_id smallint, gone_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = of_space_id);
    v_gone record;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    SELECT
        array_agg(e.prefix ORDER BY e.prefix, e.hash) AS prefixes,
        array_agg(e.hash ORDER BY e.prefix, e.hash) AS hashes
    INTO v_gone
    FROM (
        SELECT DISTINCT g.hash & band.mask AS prefix, g.hash
        FROM unnest(gone_hashes) AS g (hash), unnest(v_masks) AS band (mask)
    ) AS e;
    -- What is left of a row finds room on its page, which costs no index entry. A row is compared
    -- with those of its prefix, behind the last entry of a smaller one.
    DELETE FROM imgdb.prefix_bucket AS b
    WHERE
        b.space_id = of_space_id
        AND b.prefix = ANY ((SELECT v_gone.prefixes)::bigint[])
        AND b.hashes <@ v_gone.hashes[
            CASE
                WHEN b.prefix = -9223372036854775808 THEN 1
                ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
            END:
            width_bucket(b.prefix, v_gone.prefixes)
        ];
    UPDATE imgdb.prefix_bucket AS b
    SET hashes = imgdb._difference(b.hashes, v_gone.hashes[
        CASE
            WHEN b.prefix = -9223372036854775808 THEN 1
            ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
        END:
        width_bucket(b.prefix, v_gone.prefixes)
    ])
    WHERE
        b.space_id = of_space_id
        AND b.prefix = ANY ((SELECT v_gone.prefixes)::bigint[])
        AND b.hashes && v_gone.hashes[
            CASE
                WHEN b.prefix = -9223372036854775808 THEN 1
                ELSE width_bucket(b.prefix - 1, v_gone.prefixes) + 1
            END:
            width_bucket(b.prefix, v_gone.prefixes)
        ];
    PERFORM imgdb._count_in(of_space_id, -cardinality(gone_hashes));
END
$$;

COMMENT ON FUNCTION imgdb._remove_hashes(smallint, bigint[]) IS
'Removes hashes from all buckets of a claimed space.';

CREATE FUNCTION imgdb._put_back(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    INSERT INTO imgdb.fresh_hashes (space_id, hashes)
    SELECT for_space_id, new_hashes[first:first + 199]
    FROM generate_series(1, cardinality(new_hashes), 200) AS first;
END
$$;

COMMENT ON FUNCTION imgdb._put_back(smallint, bigint[]) IS
'Puts hashes into the fresh level of a claimed space.';

-- Whether a hash is held again is asked after it was removed. A row that came before is seen
-- then; one that comes later has its hash in the fresh level, which nobody flushes meanwhile.
CREATE FUNCTION imgdb._drop_if_stale(of_space_id smallint, source_query text, stale_hashes bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
AS $$
DECLARE
    v_stale bigint[] := imgdb._difference(stale_hashes, NULL);
    v_back bigint[];
BEGIN
    IF v_stale IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM imgdb._remove_hashes(of_space_id, v_stale);
    EXECUTE format(
        'SELECT array_agg(DISTINCT s.hash) FROM (%s) AS s (hash) WHERE s.hash = ANY ($1)',
        source_query
    ) INTO v_back USING v_stale;
    IF v_back IS NOT NULL THEN
        PERFORM imgdb._put_back(of_space_id, v_back);
    END IF;
    RETURN cardinality(v_stale) - coalesce(cardinality(v_back), 0);
END
$$;

COMMENT ON FUNCTION imgdb._drop_if_stale(smallint, text, bigint[]) IS
'Removes hashes from the buckets of a claimed space, and puts those back that the query still '
'gives.';

CREATE FUNCTION imgdb.drop_stale(space_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(space_name);
    v_mask bigint := (SELECT s.band_masks[1] FROM imgdb.space AS s WHERE s.space_id = v_space_id);
    v_source text;
    v_part bigint[];
    v_indexed bigint[];
    v_stale bigint[] := '{}';
    v_after bigint;
    v_to bigint;
    v_count bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'stale hashes cannot be dropped in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    PERFORM imgdb._forget_dropped();
    PERFORM imgdb._lock_claimed(v_space_id);
    v_source := imgdb._source_query(v_space_id);
    -- Each part of the tracked hashes ends a range of the buckets; the last range has no end.
    FOR v_part IN EXECUTE
        format(
            '(%s) UNION ALL SELECT NULL::bigint[]', imgdb._ordered_parts_query(v_source, v_mask)
        )
    LOOP
        v_to := v_part[cardinality(v_part)];
        LOOP
            v_indexed := imgdb._indexed_between(v_space_id, v_mask, v_after, v_to);
            EXIT WHEN v_indexed IS NULL;
            v_after := v_indexed[cardinality(v_indexed)];
            v_stale := v_stale || imgdb._difference(v_indexed, v_part);
            -- Many at once: hashes that are neighbours here are strewn over the other bands, and
            -- each version of a row stays until the transaction ends.
            IF cardinality(v_stale) >= 1000000 THEN
                v_count := v_count + imgdb._drop_if_stale(v_space_id, v_source, v_stale);
                v_stale := '{}';
            END IF;
            EXIT WHEN cardinality(v_indexed) < 200000;
        END LOOP;
        v_after := v_to;
    END LOOP;
    v_count := v_count + imgdb._drop_if_stale(v_space_id, v_source, v_stale);
    PERFORM imgdb._release_space(v_space_id);
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb.drop_stale(text) IS
'Removes hashes that no tracked column holds any more from a space of the current user''s, and '
'returns how many. Fresh ones stay until they are flushed.';
