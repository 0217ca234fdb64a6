-- Sums of doubles only: no operator of two types, which another schema could have.
CREATE FUNCTION imgdb.colour_difference(a bytea, b bytea)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_most double precision := 0;
    v_a1 double precision;
    v_b1 double precision;
    v_a2 double precision;
    v_b2 double precision;
    v_square1 double precision;
    v_square2 double precision;
    v_product double precision;
    v_hue double precision;
BEGIN
    IF a = b THEN
        RETURN 0;
    END IF;
    -- Of each cell the second and the third byte: its grey does not count.
    FOR v_at IN 1..25 BY 3 LOOP
        v_a1 := pg_catalog.get_byte(a, v_at) - 128;
        v_b1 := pg_catalog.get_byte(a, v_at + 1) - 128;
        v_a2 := pg_catalog.get_byte(b, v_at) - 128;
        v_b2 := pg_catalog.get_byte(b, v_at + 1) - 128;
        v_square1 := v_a1 * v_a1 + v_b1 * v_b1;
        v_square2 := v_a2 * v_a2 + v_b2 * v_b2;
        v_product := pg_catalog.sqrt(v_square1 * v_square2);
        -- A root that is rounded may be less than what is subtracted.
        v_hue := greatest(v_product - (v_a1 * v_a2 + v_b1 * v_b2), 0);
        v_most := greatest(
            v_most,
            v_hue + v_hue
            + greatest(v_square1 + v_square2 - (v_product + v_product), 0)
            * 0.25::double precision
        );
    END LOOP;
    RETURN pg_catalog.floor(
        pg_catalog.sqrt(v_most) * 2.5::double precision + 0.5::double precision
    ) / 10::double precision;
END
$$;

COMMENT ON FUNCTION imgdb.colour_difference(bytea, bytea) IS
'How far the colours of two images (image.colours) are apart, in hundredths of OKLab: the largest '
'difference of two cells. Another hue counts in full, a paler or stronger colour half, brightness '
'not at all.';
