CREATE FUNCTION imgdb.from_hex_array(hex_array text[])
RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(
    SELECT imgdb.from_hex(h.hex)
    FROM unnest(hex_array) WITH ORDINALITY AS h (hex, place)
    ORDER BY h.place
);

COMMENT ON FUNCTION imgdb.from_hex_array(text[]) IS
'The hashes that many texts of 16 hex digits spell, in their order.';
