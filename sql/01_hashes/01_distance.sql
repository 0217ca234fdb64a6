-- int8xor is the function behind #: the linter parses it and the planner inlines it the same.
CREATE FUNCTION imgdb.distance(a bigint, b bigint)
RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN bit_count(int8xor(a, b)::bit(64))::integer;

COMMENT ON FUNCTION imgdb.distance(bigint, bigint) IS
'Number of differing bits of two hashes (Hamming distance), 0 to 64.';
