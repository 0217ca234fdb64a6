CREATE FUNCTION imgdb.pdq_distance(pdq_a bigint[], pdq_b bigint[])
RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN imgdb.distance(pdq_a[1], pdq_b[1]) + imgdb.distance(pdq_a[2], pdq_b[2])
+ imgdb.distance(pdq_a[3], pdq_b[3]) + imgdb.distance(pdq_a[4], pdq_b[4]);

COMMENT ON FUNCTION imgdb.pdq_distance(bigint[], bigint[]) IS
'Number of differing bits of two PDQ hashes, each of four words, 0 to 256.';
