CREATE FUNCTION imgdb.to_hex(hash_value bigint)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN lpad(pg_catalog.to_hex(hash_value), 16, '0');

COMMENT ON FUNCTION imgdb.to_hex(bigint) IS
'A hash as 16 lower-case hex digits, as imagehash prints it.';
