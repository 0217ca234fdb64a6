CREATE FUNCTION imgdb.set_default_max_distance(space_name text, max_distance integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Locked, so that what is returned is what this call replaced.
    v_space_id smallint := imgdb._claim_space(space_name);
    v_before integer;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    SELECT s.default_max_distance
    INTO v_before
    FROM imgdb.space AS s
    WHERE s.space_id = v_space_id;
    UPDATE imgdb.own_space AS s
    SET default_max_distance = max_distance, claimed_by = NULL
    WHERE s.space_id = v_space_id;
    RETURN v_before;
END
$$;

COMMENT ON FUNCTION imgdb.set_default_max_distance(text, integer) IS
'Sets the largest distance that counts as alike in a space where nobody says otherwise; returns '
'the one before; error IM001 for an unknown space, IM002 unless it is 0 to 64.';
