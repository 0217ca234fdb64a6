CREATE FUNCTION imgdb._note_tracked(
    relation regclass, hash_column name, hash_number smallint, for_space_id smallint
)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    INSERT INTO imgdb.tracked_column (table_id, table_number, column_name, column_number, space_id)
    VALUES (relation, relation, hash_column, hash_number, for_space_id)
    ON CONFLICT ON CONSTRAINT tracked_column_pkey DO NOTHING;
    -- After a restore or a rename that is meant: what it is called and numbered now. A row that says
    -- so already is not locked, since that would turn writers away.
    UPDATE imgdb.tracked_column AS t
    SET table_number = relation, column_number = hash_number
    WHERE
        t.table_id = relation AND t.column_name = hash_column AND t.space_id = for_space_id
        AND (t.table_number <> relation OR t.column_number <> hash_number);
END
$$;

COMMENT ON FUNCTION imgdb._note_tracked(regclass, name, smallint, smallint) IS
'Writes a row of imgdb.tracked_column, for a claimed space.';

CREATE FUNCTION imgdb._lock_claimed(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    PERFORM imgdb._lock_space(of_space_id, true);
END
$$;

COMMENT ON FUNCTION imgdb._lock_claimed(smallint) IS
'Waits until nobody else writes the buckets of a claimed space, and holds others off until commit.';

CREATE FUNCTION imgdb._add_band(for_space_id smallint, of_mask bigint, new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    SELECT array_agg(n.hash & of_mask), array_agg(n.hash)
    INTO v_prefixes, v_hashes
    FROM unnest(new_hashes) AS n (hash);
    PERFORM imgdb._add_rows(for_space_id, v_prefixes, v_hashes);
    -- Once for all bands.
    IF EXISTS (
        SELECT FROM imgdb.watch_list AS w JOIN imgdb.space AS s ON s.space_id = w.space_id
        WHERE w.space_id = for_space_id AND s.band_masks[1] = of_mask
    ) THEN
        PERFORM imgdb._note_matches(for_space_id, new_hashes, NULL);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._add_band(smallint, bigint, bigint[]) IS
'Adds hashes to the buckets of one band of a claimed space.';

CREATE FUNCTION imgdb._count_added(for_space_id smallint, more_hashes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_claim(for_space_id);
    PERFORM imgdb._count_in(for_space_id, more_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._count_added(smallint, bigint) IS
'Notes that a claimed space holds so many hashes more.';

-- Row security would hide rows, so it is an error where it applies. The query reads what is
-- committed when each band begins: an older snapshot would miss rows. Where triggers are missing
-- (as_first_band), a row may come after the first band was read, and go again: a band that held its
-- hash alone would never lose it, as imgdb.drop_stale looks in the first.
CREATE FUNCTION imgdb._index_source(
    for_space_id smallint, source_query text, as_first_band boolean
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET row_security = off
SET enable_hashagg = off
AS $$
DECLARE
    v_masks bigint[] := (SELECT s.band_masks FROM imgdb.space AS s WHERE s.space_id = for_space_id);
    v_mask bigint;
    v_part bigint[];
    v_missing bigint[];
    v_fresh bigint[];
    v_after bigint;
    v_count bigint := 0;
    v_most bigint := 0;
BEGIN
    IF current_setting('transaction_isolation') NOT LIKE 'read %' THEN
        RAISE EXCEPTION 'a column cannot be tracked in a % transaction',
            upper(current_setting('transaction_isolation')) USING
            ERRCODE = 'IM012',
            HINT = 'Its snapshot may lack rows that others have committed. Use READ COMMITTED.';
    END IF;
    FOREACH v_mask IN ARRAY v_masks LOOP
        v_count := 0;
        v_after := NULL;
        FOR v_part IN EXECUTE imgdb._ordered_parts_query(source_query, v_mask) LOOP
            v_missing := v_part;
            -- A few are looked up; many are compared with their range of the buckets, which may
            -- hold more than one answer gives.
            IF cardinality(v_part) < 10000 THEN
                v_missing := imgdb._difference(
                    v_part,
                    imgdb._indexed_among(for_space_id, v_mask, imgdb._difference(v_part, NULL))
                );
            END IF;
            WHILE cardinality(v_part) >= 10000 LOOP
                DECLARE
                    v_indexed bigint[] := imgdb._indexed_between(
                        for_space_id, v_mask, v_after, v_part[cardinality(v_part)]
                    );
                BEGIN
                    EXIT WHEN v_indexed IS NULL;
                    v_missing := imgdb._difference(v_missing, v_indexed);
                    v_after := v_indexed[cardinality(v_indexed)];
                    EXIT WHEN cardinality(v_indexed) < 200000;
                END;
            END LOOP;
            -- Fresh hashes are found already. Nobody flushes meanwhile, so what came since the
            -- table was read is among them.
            SELECT array_agg(DISTINCT entry.hash)
            INTO v_fresh
            FROM (
                SELECT unnest(f.hashes) AS hash
                FROM imgdb.fresh_hashes AS f
                WHERE f.space_id = for_space_id
            ) AS entry;
            IF v_fresh IS NOT NULL THEN
                v_missing := imgdb._difference(v_missing, v_fresh);
            END IF;
            IF as_first_band AND v_mask <> v_masks[1] THEN
                v_missing := imgdb._indexed_among(for_space_id, v_masks[1], v_missing);
            END IF;
            IF v_missing IS NOT NULL THEN
                PERFORM imgdb._add_band(for_space_id, v_mask, v_missing);
                v_count := v_count + cardinality(v_missing);
            END IF;
            v_after := v_part[cardinality(v_part)];
        END LOOP;
        v_most := greatest(v_most, v_count);
    END LOOP;
    IF v_most > 0 THEN
        PERFORM imgdb._count_added(for_space_id, v_most);
    END IF;
    RETURN v_most;
END
$$;

COMMENT ON FUNCTION imgdb._index_source(smallint, text, boolean) IS
'Indexes what a query gives and a claimed space lacks, band by band, in later ones only what the '
'first holds if that is wanted; returns how many hashes.';

CREATE FUNCTION imgdb.track(relation regclass, hash_column name, space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := imgdb._hold_table(relation);
    v_number smallint := imgdb._check_column(relation, hash_column);
    v_space_id smallint;
    v_count bigint;
BEGIN
    IF EXISTS (
        SELECT FROM imgdb.tracked_column AS t
        WHERE t.table_id = relation AND t.column_name = hash_column
    ) THEN
        RAISE EXCEPTION 'column "%" of % is tracked already', hash_column, relation USING
            ERRCODE = 'IM005',
            HINT = 'imgdb.tracked_column says into which space; imgdb.untrack ends that.';
    END IF;
    IF NOT EXISTS (SELECT FROM imgdb.space AS s WHERE s.name = space_name) THEN
        EXECUTE format('SELECT count(t.%I) FROM %s AS t', hash_column, v_name) INTO v_count;
        PERFORM imgdb._make_space(space_name, '', imgdb._masks_for(v_count));
    END IF;
    v_space_id := imgdb._claim_space(space_name);
    -- Before the table: who writes it may hold this.
    PERFORM imgdb._lock_claimed(v_space_id);
    PERFORM imgdb._note_tracked(relation, hash_column, v_number, v_space_id);
    -- Waits for every writer at work and holds new ones off: from here on none is missed.
    PERFORM imgdb._sync_triggers(relation);
    PERFORM imgdb._index_source(
        v_space_id, format('SELECT t.%I FROM %s AS t', hash_column, v_name), false
    );
    PERFORM imgdb._release_space(v_space_id);
END
$$;

COMMENT ON FUNCTION imgdb.track(regclass, name, text) IS
'Indexes the hashes of a bigint column, those there now and all that come, in a space, which is '
'made, with bands that suit how many there are, if there is none of that name. Writers to the '
'table wait until the transaction ends.';
