CREATE FUNCTION imgdb._space_id(space_name text)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := (SELECT s.space_id FROM imgdb.space AS s WHERE s.name = space_name);
BEGIN
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'there is no space "%"', space_name USING
            ERRCODE = 'IM001',
            HINT = 'SELECT name FROM imgdb.space lists the spaces; imgdb.create_space makes one.';
    END IF;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._space_id(text) IS
'The identity of a space; error IM001 if there is none.';

CREATE FUNCTION imgdb._check_distance(max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 64 THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and 64',
            coalesce(max_distance::text, 'NULL') USING
            ERRCODE = 'IM002',
            HINT = 'It counts the differing bits of two 64-bit hashes; 8 is a usual choice.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_distance(integer) IS 'Error IM002 unless 0 <= max_distance <= 64.';

CREATE FUNCTION imgdb._check_query(query_hash bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF query_hash IS NULL THEN
        RAISE EXCEPTION 'query_hash is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give the hash to search for, a bigint; imgdb.from_hex turns hex digits into one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_query(bigint) IS 'Error IM012 if a query is NULL.';

-- Not SECURITY DEFINER, and through the view: see imgdb.own_space.
CREATE FUNCTION imgdb._claim_space(space_name text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint;
    v_owner text;
BEGIN
    LOOP
        UPDATE imgdb.own_space AS s
        SET claimed_by = pg_current_xact_id()::text::bigint
        WHERE s.name = space_name
        RETURNING s.space_id INTO v_space_id;
        EXIT WHEN FOUND;
        v_space_id := imgdb._space_id(space_name);
        v_owner := (SELECT s.owner_name FROM imgdb.space AS s WHERE s.space_id = v_space_id);
        -- One's own, and not there: a rebuild has just put another one in its place.
        CONTINUE WHEN v_owner IS NULL OR imgdb._may_keep(v_owner);
        RAISE EXCEPTION 'space "%" belongs to %', space_name, v_owner USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it.';
    END LOOP;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._claim_space(text) IS
'Locks a space of the current user''s for changes by this transaction; error IM013 if it is '
'another''s.';

CREATE FUNCTION imgdb._release_space(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE imgdb.own_space AS s SET claimed_by = NULL WHERE s.space_id = of_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._release_space(smallint) IS
'Ends the claim. The lock stays until the transaction ends.';

CREATE FUNCTION imgdb._check_claim(of_space_id smallint)
RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM imgdb.space AS s
        WHERE s.space_id = of_space_id AND s.claimed_by = pg_current_xact_id_if_assigned()::text::bigint
    ) THEN
        RAISE EXCEPTION 'space % is not claimed by this transaction', of_space_id USING
            ERRCODE = 'IM013',
            HINT = 'This is a step of imgdb''s own functions: call track, untrack, rebuild or catch_up.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_claim(smallint) IS
'Error IM013 unless this transaction claimed the space, which only its owner can.';
