CREATE FUNCTION imgdb._is_distributed()
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_found boolean := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_dist_partition '
        'WHERE logicalrelid = ''imgdb.prefix_bucket''::regclass)' INTO v_found;
    END IF;
    RETURN v_found;
END
$$;

COMMENT ON FUNCTION imgdb._is_distributed() IS 'Whether the buckets are on several nodes (Citus).';

CREATE FUNCTION imgdb._lock_space(of_space_id smallint, to_wait boolean)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_wait THEN
        PERFORM FROM imgdb.space_state AS s WHERE s.space_id = of_space_id FOR UPDATE;
    ELSE
        PERFORM FROM imgdb.space_state AS s WHERE s.space_id = of_space_id FOR UPDATE SKIP LOCKED;
    END IF;
    RETURN FOUND;
END
$$;

COMMENT ON FUNCTION imgdb._lock_space(smallint, boolean) IS
'Holds others off from the buckets of a space; false if one is at work there, or there are none.';

-- A hash may be in some bands only: its row went while a rebuild or catch_up read the table band by
-- band, or the nodes of distributed buckets do not show all of them yet.
CREATE FUNCTION imgdb._known_among(of_space_id smallint, of_masks bigint[], sorted_hashes bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_mask bigint;
BEGIN
    FOREACH v_mask IN ARRAY of_masks LOOP
        EXIT WHEN sorted_hashes IS NULL;
        sorted_hashes := imgdb._indexed_among(of_space_id, v_mask, sorted_hashes);
    END LOOP;
    RETURN sorted_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._known_among(smallint, bigint[], bigint[]) IS
'Those of the sorted hashes that the buckets of all bands hold, sorted; NULL if none.';

-- A snapshot shows a hash in the fresh level, in the buckets or in both, never in neither: what
-- goes from one to the other goes in one transaction. Distributed buckets show it some time after
-- the commit here, so there a row stays fresh until a later flush sees its hashes in all bands.
CREATE FUNCTION imgdb._flush(of_space_id smallint, most_hashes integer, to_wait boolean)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[];
    v_rows tid[];
    v_hashes bigint[];
    v_known bigint[];
BEGIN
    IF NOT imgdb._lock_space(of_space_id, to_wait) THEN
        RETURN 0;
    END IF;
    -- Twice in a transaction would leave versions of rows that nothing can prune before it ends.
    SELECT s.band_masks
    INTO v_masks
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    WHERE s.space_id = of_space_id AND st.flushed_by IS DISTINCT FROM pg_current_xact_id();
    IF v_masks IS NULL THEN
        RETURN 0;
    END IF;
    SELECT array_agg(f.place)
    INTO v_rows
    FROM (
        SELECT g.ctid AS place, sum(cardinality(g.hashes)) OVER (ORDER BY g.ctid) AS running
        FROM imgdb.fresh_hashes AS g
        WHERE g.space_id = of_space_id
    ) AS f
    WHERE f.running <= greatest(most_hashes, 200);
    SELECT array_agg(DISTINCT entry.hash)
    INTO v_hashes
    FROM (
        SELECT unnest(f.hashes) AS hash FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows)
    ) AS entry;
    IF v_hashes IS NULL THEN
        RETURN 0;
    END IF;
    v_known := imgdb._known_among(of_space_id, v_masks, v_hashes);
    IF imgdb._is_distributed() THEN
        DELETE FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows) AND f.hashes <@ v_known;
    ELSE
        DELETE FROM imgdb.fresh_hashes AS f WHERE f.ctid = ANY (v_rows);
    END IF;
    v_hashes := imgdb._difference(v_hashes, v_known);
    IF v_hashes IS NULL THEN
        -- Nothing was written: this transaction may flush again.
        RETURN cardinality(v_rows);
    END IF;
    PERFORM imgdb._fold_hashes(of_space_id, v_hashes);
    RETURN cardinality(v_rows);
END
$$;

COMMENT ON FUNCTION imgdb._flush(smallint, integer, boolean) IS
'Folds about so many fresh hashes of a space into its buckets; returns how many rows it took. '
'0 if somebody else writes the buckets and to_wait is false.';

-- A load that is larger than all before it, or has several hashes for each prefix, makes rows that
-- are full enough. Another one is folded in.
CREATE FUNCTION imgdb._load(for_space_id smallint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_hash_count bigint := (
        SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = for_space_id
    );
    v_widest integer := (SELECT max(bit_count(mask::bit(64))) FROM unnest(v_masks) AS u (mask));
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    SELECT array_agg(DISTINCT h.hash) INTO v_hashes FROM unnest(new_hashes) AS h (hash);
    v_hashes := imgdb._difference(
        v_hashes, imgdb._known_among(for_space_id, v_masks, v_hashes)
    );
    IF v_hashes IS NULL THEN
        RETURN;
    END IF;
    IF cardinality(v_hashes) > least(v_hash_count, 4 * 2 ^ v_widest) THEN
        SELECT array_agg(given.hash & band.mask), array_agg(given.hash)
        INTO v_prefixes, new_hashes
        FROM unnest(v_hashes) AS given (hash), unnest(v_masks) AS band (mask);
        PERFORM imgdb._add_rows(for_space_id, v_prefixes, new_hashes);
        PERFORM imgdb._count_in(for_space_id, cardinality(v_hashes));
    ELSE
        PERFORM imgdb._fold_hashes(for_space_id, v_hashes);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._load(smallint, bigint[]) IS
'Puts many hashes into the buckets of a space at once. The caller holds the lock of the space.';

-- A statement that brings many hashes pays for them itself; a small one leaves them in the fresh
-- level, and one in many looks whether that is worth a flush. An older snapshot could fail on rows
-- that others have changed, so REPEATABLE READ leaves the buckets to others.
CREATE FUNCTION imgdb._append(for_space_id smallint, new_hashes bigint[], from_table text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer := cardinality(new_hashes);
    v_fresh record;
    v_may_flush boolean := current_setting('transaction_isolation') LIKE 'read %';
BEGIN
    IF v_may_flush AND v_count >= 10000 AND NOT imgdb._is_distributed()
    AND imgdb._lock_space(for_space_id, false) THEN
        PERFORM imgdb._load(for_space_id, new_hashes);
    ELSE
        INSERT INTO imgdb.fresh_hashes (space_id, hashes)
        SELECT for_space_id, new_hashes[first:first + 199]
        FROM generate_series(1, v_count, 200) AS first;
        IF v_may_flush AND random() * 200 < v_count THEN
            SELECT count(*) AS rows, sum(cardinality(f.hashes)) AS hashes
            INTO v_fresh
            FROM imgdb.fresh_hashes AS f
            WHERE f.space_id = for_space_id;
            IF v_fresh.rows > 500 OR v_fresh.hashes > 1000 THEN
                -- More than statements bring from one look to the next, and not so much that one
                -- waits long: each hash takes some 45 us. Of many, which slow all searches, it
                -- takes a part.
                PERFORM imgdb._flush(
                    for_space_id,
                    greatest(500, v_count * 5 / 4, least(v_fresh.hashes / 4, 20000))::integer,
                    false
                );
            END IF;
        END IF;
    END IF;
    IF EXISTS (SELECT FROM imgdb.watch_list AS w WHERE w.space_id = for_space_id) THEN
        PERFORM imgdb._note_matches(for_space_id, new_hashes, from_table);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._append(smallint, bigint[], text) IS
'Makes hashes of a table searchable in a space: puts them into its fresh level, or many into its '
'buckets; and notes those that somebody watches for.';
