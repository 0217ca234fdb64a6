CREATE FUNCTION imgdb._space_id(space_name text)
RETURNS smallint
LANGUAGE plpgsql STABLE
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
