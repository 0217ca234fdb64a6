-- The right to execute this is the right to compact every space. Asked of session_user, which code
-- of somebody else's could bear: all it could do with that is to compact.
CREATE FUNCTION imgdb._may_maintain()
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN TRUE;

COMMENT ON FUNCTION imgdb._may_maintain() IS 'Its EXECUTE right lets a role compact all spaces.';

CREATE FUNCTION imgdb._check_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT has_function_privilege(session_user, 'imgdb._may_maintain()', 'EXECUTE') THEN
        PERFORM imgdb._check_claim(of_space_id);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_care(smallint) IS
'Error IM013 unless the space is claimed, or the session may compact all.';

-- Merges prefixes that have more rows than they need, in the order of the index, so many rows at a
-- time as hold a twentieth to ten times of the hashes; returns the last prefix that was looked at,
-- NULL after the last one.
CREATE FUNCTION imgdb._merge(of_space_id smallint, from_prefix bigint, most_hashes integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last bigint;
    v_looked record;
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF NOT imgdb._lock_space(of_space_id, true) THEN
        RETURN NULL;
    END IF;
    -- A walk along the index, that ends: what is behind the last prefix is for the next time.
    SELECT max(n.prefix)
    INTO v_last
    FROM (
        SELECT b.prefix
        FROM imgdb.prefix_bucket AS b
        WHERE b.space_id = of_space_id AND b.prefix >= coalesce(from_prefix, -9223372036854775808)
        ORDER BY b.prefix
        LIMIT greatest(most_hashes / 20, 1)
    ) AS n;
    SELECT array_agg(g.prefix) AS prefixes
    INTO v_looked
    FROM (
        SELECT b.prefix
        FROM imgdb.prefix_bucket AS b
        WHERE
            b.space_id = of_space_id
            AND b.prefix BETWEEN coalesce(from_prefix, -9223372036854775808) AND v_last
        GROUP BY b.prefix
        -- The ordered aggregate makes PostgreSQL sort (imgdb._add_rows says why).
        HAVING count(*) > ceil(sum(cardinality(b.hashes) ORDER BY b.prefix) / 200.0)
    ) AS g;
    IF v_looked.prefixes IS NOT NULL THEN
        -- One statement: its snapshot shows what it deletes, and nothing else goes.
        WITH gone AS (
            DELETE FROM imgdb.prefix_bucket AS b
            WHERE b.space_id = of_space_id AND b.prefix = ANY ((SELECT v_looked.prefixes)::bigint[])
            RETURNING b.prefix, b.hashes
        )
        SELECT array_agg(entry.prefix), array_agg(entry.hash)
        INTO v_prefixes, v_hashes
        FROM (SELECT gone.prefix, unnest(gone.hashes) AS hash FROM gone) AS entry;
        PERFORM imgdb._add_rows(of_space_id, v_prefixes, v_hashes);
    END IF;
    RETURN v_last;
END
$$;

COMMENT ON FUNCTION imgdb._merge(smallint, bigint, integer) IS
'Merges the rows of prefixes of a space that have more than they need, and drops doubles.';

CREATE FUNCTION imgdb._flush_all(of_space_id smallint)
RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF EXISTS (SELECT 1 FROM imgdb.space AS s WHERE s.space_id = of_space_id) THEN
        RETURN imgdb._flush(of_space_id, 50000, true);
    END IF;
    -- A writer with an old snapshot may have brought some to a space that was dropped or rebuilt.
    DELETE FROM imgdb.fresh_hashes AS f WHERE f.space_id = of_space_id;
    RETURN 0;
END
$$;

COMMENT ON FUNCTION imgdb._flush_all(smallint) IS
'Flushes many fresh hashes of a space, or forgets them if there is no such space.';

CREATE FUNCTION imgdb._count_anew(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM imgdb._check_care(of_space_id);
    IF imgdb._lock_space(of_space_id, true) THEN
        SELECT coalesce(sum(cardinality(b.hashes)), 0) / max(cardinality(s.band_masks))
        INTO v_count
        FROM imgdb.space AS s
        LEFT JOIN imgdb.prefix_bucket AS b ON b.space_id = s.space_id
        WHERE s.space_id = of_space_id;
        UPDATE imgdb.space_state AS s
        SET
            hash_count = v_count,
            scan_from = imgdb._scan_from(of_space_id, v_count),
            merged_at = now()
        WHERE s.space_id = of_space_id;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._count_anew(smallint) IS 'Counts the hashes in the buckets of a space.';

-- A procedure that commits cannot pin its path, so each of its transactions begins with this.
CREATE FUNCTION imgdb._begin_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := (SELECT s.name FROM imgdb.space AS s WHERE s.space_id = of_space_id);
BEGIN
    IF NOT has_function_privilege('imgdb._may_maintain()', 'EXECUTE') AND v_name IS NOT NULL THEN
        PERFORM imgdb._claim_space(v_name);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._begin_care(smallint) IS
'Claims a space, unless the current user may compact all.';

CREATE FUNCTION imgdb._end_care(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT has_function_privilege('imgdb._may_maintain()', 'EXECUTE') THEN
        PERFORM imgdb._release_space(of_space_id);
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._end_care(smallint) IS 'Ends what imgdb._begin_care began.';

CREATE FUNCTION imgdb._spaces_to_compact(space_name text)
RETURNS smallint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF space_name IS NOT NULL THEN
        RETURN ARRAY[imgdb._space_id(space_name)];
    ELSIF has_function_privilege('imgdb._may_maintain()', 'EXECUTE') THEN
        RETURN ARRAY(
            SELECT s.space_id FROM imgdb.space AS s
            UNION
            SELECT f.space_id FROM imgdb.fresh_hashes AS f
            ORDER BY 1
        );
    END IF;
    RETURN ARRAY(SELECT s.space_id FROM imgdb.own_space AS s ORDER BY 1);
END
$$;

COMMENT ON FUNCTION imgdb._spaces_to_compact(text) IS
'The space of that name; for NULL all spaces that the current user may compact.';

CREATE FUNCTION imgdb._merge_next(of_space_id smallint, from_prefix bigint, most_hashes integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_last bigint;
BEGIN
    PERFORM imgdb._begin_care(of_space_id);
    v_last := imgdb._merge(of_space_id, from_prefix, greatest(most_hashes, 1));
    IF v_last IS NULL OR v_last = 9223372036854775807 THEN
        PERFORM imgdb._count_anew(of_space_id);
        v_last := NULL;
    END IF;
    PERFORM imgdb._end_care(of_space_id);
    RETURN v_last + 1;
END
$$;

COMMENT ON FUNCTION imgdb._merge_next(smallint, bigint, integer) IS
'Merges from a prefix on, and returns where to go on; NULL at the end, after counting anew.';

CREATE FUNCTION imgdb._flush_next(of_space_id smallint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows integer;
BEGIN
    PERFORM imgdb._begin_care(of_space_id);
    v_rows := imgdb._flush_all(of_space_id);
    PERFORM imgdb._end_care(of_space_id);
    -- Distributed buckets show later what was flushed: once is enough.
    RETURN v_rows > 0 AND NOT imgdb._is_distributed();
END
$$;

COMMENT ON FUNCTION imgdb._flush_next(smallint) IS
'Flushes many fresh hashes of a space; true if there may be more.';

-- Reads imgdb's own tables only, so that a role that runs it trusts nobody. Each batch is a
-- transaction: what is done stays done if the procedure is killed. A procedure that commits cannot
-- pin its path, so all it does is done by functions that do.
CREATE PROCEDURE imgdb.compact(space_name text DEFAULT NULL, batch_size integer DEFAULT 200000)
LANGUAGE plpgsql
AS $$
DECLARE
    v_space_id smallint;
    v_more boolean;
    v_next bigint;
BEGIN
    -- Outside of a transaction there is nothing to end.
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    FOREACH v_space_id IN ARRAY imgdb._spaces_to_compact(space_name) LOOP
        v_more := true;
        WHILE v_more LOOP
            v_more := imgdb._flush_next(v_space_id);
            COMMIT AND CHAIN;
        END LOOP;
        v_next := imgdb._merge_next(v_space_id, NULL, batch_size);
        COMMIT AND CHAIN;
        WHILE v_next IS NOT NULL LOOP
            v_next := imgdb._merge_next(v_space_id, v_next, batch_size);
            COMMIT AND CHAIN;
        END LOOP;
    END LOOP;
END
$$;

COMMENT ON PROCEDURE imgdb.compact (text, integer) IS
'Puts fresh hashes into the buckets of a space, or of all, merges the rows of each prefix and '
'drops doubles. Commits after every batch_size hashes: CALL it outside of a transaction. VACUUM '
'gives the space back.';
