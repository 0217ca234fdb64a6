CREATE FUNCTION imgdb.from_hex_array(hex_array text[])
RETURNS bigint[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT coalesce(array_agg(imgdb.from_hex(h.hex) ORDER BY h.place), '{}')
    FROM unnest(hex_array) WITH ORDINALITY AS h (hex, place)
);

COMMENT ON FUNCTION imgdb.from_hex_array(text[]) IS
'The hashes that many texts of 16 hex digits spell, in their order.';
