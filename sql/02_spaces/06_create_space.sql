CREATE FUNCTION imgdb.create_space(space_name text, space_description text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    INSERT INTO imgdb.space (name, description) VALUES (space_name, coalesce(space_description, ''))
    ON CONFLICT ON CONSTRAINT space_name_key DO NOTHING
    RETURNING space_id INTO v_space_id;
    IF v_space_id IS NULL THEN
        RAISE EXCEPTION 'there is a space "%" already', space_name USING
            ERRCODE = 'IM008',
            HINT = 'Use it, or choose another name.';
    END IF;
    PERFORM imgdb._prepare_probes(v_space_id);
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb.create_space(text, text) IS
'Makes a space and its probes, and returns its space_id; error IM008 if the name is taken.';
