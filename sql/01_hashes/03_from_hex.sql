CREATE FUNCTION imgdb.from_hex(hex text)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hex !~ '^[0-9A-Fa-f]{16}$' THEN
        RAISE EXCEPTION '"%" is not a hash', left(hex, 40) USING
            ERRCODE = 'IM003',
            HINT = 'A hash is 16 hex digits, as imagehash prints it.';
    END IF;
    RETURN ('x' || hex)::bit(64)::bigint;
END
$$;

COMMENT ON FUNCTION imgdb.from_hex(text) IS
'The hash that 16 hex digits spell; anything else is error IM003.';
