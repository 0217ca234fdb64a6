CREATE FUNCTION imgdb.pdq_to_hex(pdq_words bigint[])
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN imgdb.to_hex(pdq_words[1]) || imgdb.to_hex(pdq_words[2])
|| imgdb.to_hex(pdq_words[3]) || imgdb.to_hex(pdq_words[4]);

COMMENT ON FUNCTION imgdb.pdq_to_hex(bigint[]) IS
'A PDQ hash of four words as 64 lower-case hex digits, as ThreatExchange spells it.';
