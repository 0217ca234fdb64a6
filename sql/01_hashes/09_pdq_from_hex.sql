CREATE FUNCTION imgdb.pdq_from_hex(hex text)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hex !~ '^[0-9A-Fa-f]{64}$' THEN
        RAISE EXCEPTION '"%" is not a PDQ hash', left(hex, 80) USING
            ERRCODE = 'IM003',
            HINT = 'A PDQ hash is 64 hex digits, as ThreatExchange spells it.';
    END IF;
    RETURN ARRAY[
        ('x' || substr(hex, 1, 16))::bit(64)::bigint,
        ('x' || substr(hex, 17, 16))::bit(64)::bigint,
        ('x' || substr(hex, 33, 16))::bit(64)::bigint,
        ('x' || substr(hex, 49, 16))::bit(64)::bigint
    ];
END
$$;

COMMENT ON FUNCTION imgdb.pdq_from_hex(text) IS
'The four words of the PDQ hash that 64 hex digits spell; anything else is error IM003.';
