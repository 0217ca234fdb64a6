CREATE FUNCTION imgdb.create_space(space_name text, space_description text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    IF space_name IS NULL THEN
        RAISE EXCEPTION 'space_name is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give the space a name.';
    END IF;
    BEGIN
        INSERT INTO imgdb.own_space (name, description)
        VALUES (space_name, coalesce(space_description, ''))
        RETURNING space_id INTO v_space_id;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'there is a space "%" already', space_name USING
                ERRCODE = 'IM008',
                HINT = 'Use it, or choose another name.';
    END;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb.create_space(text, text) IS
'Makes a space that belongs to the current user, and returns its space_id; error IM008 if the name '
'is taken.';
