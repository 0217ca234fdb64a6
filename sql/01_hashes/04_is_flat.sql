-- For hashes that come without their picture: a solid colour has hashes of zeros, but for the first
-- bit of its phash, the sum of the pixels.
CREATE FUNCTION imgdb._is_flat(average bigint, difference bigint, perceptual bigint, wavelet bigint)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN perceptual IS NULL
        THEN
            num_nonnulls(average, difference, wavelet) > 0
            AND coalesce(average, 0) = 0
            AND coalesce(difference, 0) = 0
            AND coalesce(wavelet, 0) = 0
    ELSE
        greatest(
            imgdb.distance(perceptual & 9223372036854775807, 0),
            imgdb.distance(average, 0),
            imgdb.distance(difference, 0),
            imgdb.distance(wavelet, 0)
        ) <= 4
END;

COMMENT ON FUNCTION imgdb._is_flat(bigint, bigint, bigint, bigint) IS
'Whether hashes are those of a picture without structure: with a phash all within 4 bits of a '
'solid colour''s, else equal to them.';
