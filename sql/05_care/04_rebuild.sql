CREATE FUNCTION imgdb._make_shadow(of_space_id smallint, wanted_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shadow_id smallint;
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    -- One that a rebuild left which was stopped.
    DELETE FROM imgdb.tracked_column AS t
    USING imgdb.space AS s
    WHERE s.shadow_of = of_space_id AND t.space_id = s.space_id;
    DELETE FROM imgdb.space AS s WHERE s.shadow_of = of_space_id;
    INSERT INTO imgdb.space (
        name, description, band_masks, default_max_distance, owner_name, shadow_of, claimed_by
    )
    SELECT
        s.name || ' (rebuild)', s.description,
        coalesce(
            wanted_masks,
            -- Masks of somebody's own stay.
            CASE
                WHEN s.band_masks IN (imgdb._masks_for(0), imgdb._masks_for(1000000000))
                    THEN imgdb._masks_for(st.hash_count)
            END,
            s.band_masks
        ),
        s.default_max_distance, s.owner_name, s.space_id, s.claimed_by
    FROM imgdb.space AS s
    JOIN imgdb.space_state AS st ON st.space_id = s.space_id
    WHERE s.space_id = of_space_id
    RETURNING space_id INTO v_shadow_id;
    INSERT INTO imgdb.tracked_column (
        table_id, table_number, column_name, column_number, space_id
    )
    SELECT t.table_id, t.table_id, t.column_name, a.attnum, v_shadow_id
    FROM imgdb.tracked_column AS t
    JOIN pg_attribute AS a ON a.attrelid = t.table_id AND a.attname = t.column_name
    WHERE t.space_id = of_space_id;
    RETURN v_shadow_id;
END
$$;

COMMENT ON FUNCTION imgdb._make_shadow(smallint, bigint[]) IS
'Makes the space that will replace a claimed one, tracking the same columns.';

-- Between its transactions a rebuild holds no lock, and the next one throws its shadow away.
CREATE FUNCTION imgdb._check_shadow(of_space_id smallint, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM imgdb.space AS s WHERE s.space_id = of_shadow_id AND s.shadow_of = of_space_id
    ) THEN
        RAISE EXCEPTION 'another rebuild of the space has begun since this one did' USING
            ERRCODE = '40001',
            HINT = 'Nothing is lost. Wait for the other one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_shadow(smallint, smallint) IS
'Error 40001 unless that space is the shadow of the other.';

CREATE FUNCTION imgdb._use_shadow(of_space_id smallint, of_shadow_id smallint)
RETURNS text[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_keys text[];
    v_name text := (SELECT s.name FROM imgdb.space AS s WHERE s.space_id = of_space_id);
BEGIN
    PERFORM imgdb._check_claim(of_space_id);
    PERFORM imgdb._check_shadow(of_space_id, of_shadow_id);
    WITH gone AS (
        DELETE FROM imgdb.tracked_column AS t WHERE t.space_id = of_space_id RETURNING t.track_key
    )
    SELECT array_agg(gone.track_key::text) INTO v_keys FROM gone;
    UPDATE imgdb.space AS s SET shadow_of = NULL WHERE s.space_id = of_shadow_id;
    UPDATE imgdb.watch_list AS w SET space_id = of_shadow_id WHERE w.space_id = of_space_id;
    DELETE FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    UPDATE imgdb.space AS s SET name = v_name WHERE s.space_id = of_shadow_id;
    RETURN coalesce(v_keys, '{}');
END
$$;

COMMENT ON FUNCTION imgdb._use_shadow(smallint, smallint) IS
'Puts the shadow of a claimed space in its place; returns the keys of the columns that fed the old '
'one.';

CREATE FUNCTION imgdb._begin_rebuild(of_space text, wanted_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(of_space);
    v_shadow_id smallint;
BEGIN
    PERFORM imgdb._forget_dropped();
    -- Says what is wrong with a table or a column before anything is made.
    PERFORM imgdb._source_query(v_space_id);
    v_shadow_id := imgdb._make_shadow(v_space_id, wanted_masks);
    PERFORM imgdb._sync_triggers(t.table_id)
    FROM imgdb.tracked_column AS t
    WHERE t.space_id = v_shadow_id;
    PERFORM imgdb._release_space(s.space_id)
    FROM unnest(ARRAY[v_space_id, v_shadow_id]) AS s (space_id);
    RETURN v_shadow_id;
END
$$;

COMMENT ON FUNCTION imgdb._begin_rebuild(text, bigint[]) IS
'Makes the shadow of a space, which it returns, and has the triggers of its columns feed both. '
'Writers wait until the transaction ends.';

CREATE FUNCTION imgdb._fill_shadow(of_space text, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Before the claim, which waits, and after it.
    PERFORM imgdb._check_shadow(imgdb._space_id(of_space), of_shadow_id);
    PERFORM imgdb._claim_space(s.name) FROM imgdb.space AS s WHERE s.space_id = of_shadow_id;
    PERFORM imgdb._check_shadow(imgdb._space_id(of_space), of_shadow_id);
    PERFORM imgdb._lock_claimed(of_shadow_id);
    PERFORM imgdb._index_source(of_shadow_id, imgdb._source_query(of_shadow_id), false);
    PERFORM imgdb._release_space(of_shadow_id);
END
$$;

COMMENT ON FUNCTION imgdb._fill_shadow(text, smallint) IS
'Indexes in the shadow of a space what its columns hold. Writers go on.';

CREATE FUNCTION imgdb._end_rebuild(of_space text, of_shadow_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._claim_space(of_space);
    v_keys text[];
    v_table regclass;
BEGIN
    v_keys := imgdb._use_shadow(v_space_id, of_shadow_id);
    FOR v_table IN
        SELECT DISTINCT t.table_id
        FROM imgdb.tracked_column AS t JOIN imgdb.space AS s ON s.space_id = t.space_id
        WHERE s.name = of_space
    LOOP
        PERFORM imgdb._sync_triggers(v_table, v_keys);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._end_rebuild(text, smallint) IS
'Puts the shadow of a space in its place, and removes the old buckets.';

-- Searches use the old buckets until the new ones are whole; writers feed both. They wait twice,
-- while the triggers change, for as long as it takes to get the locks.
CREATE PROCEDURE imgdb.rebuild(space_name text, new_masks bigint[] DEFAULT NULL)
LANGUAGE plpgsql
AS $$
DECLARE
    v_shadow_id smallint;
BEGIN
    -- Outside of a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    v_shadow_id := imgdb._begin_rebuild(space_name, new_masks);
    COMMIT AND CHAIN;
    PERFORM imgdb._fill_shadow(space_name, v_shadow_id);
    COMMIT AND CHAIN;
    PERFORM imgdb._end_rebuild(space_name, v_shadow_id);
    COMMIT;
END
$$;

COMMENT ON PROCEDURE imgdb.rebuild (text, bigint []) IS -- noqa: LT01
'Makes the buckets of a space anew from its tracked columns, with new band masks, or those that '
'suit how many hashes there are. Searches and writers go on. CALL it outside of a transaction.';
