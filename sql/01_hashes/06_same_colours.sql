-- What edits change little, and another dye changes much: the colour of each cell; the hue of the
-- whole, also of pale pictures, whose colours are never far apart; which cells have more colour
-- than others; and which are darker, which tells black, grey and white things apart.
CREATE FUNCTION imgdb.same_colours(a bytea, b bytea)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_along double precision := 0;
    v_across double precision := 0;
    v_square1 double precision := 0;
    v_square2 double precision := 0;
    v_grey1 bigint := 0;
    v_grey2 bigint := 0;
    v_scale double precision := 1;
    v_apart_a double precision;
    v_apart_b double precision;
    v_a1 integer;
    v_b1 integer;
    v_a2 integer;
    v_b2 integer;
BEGIN
    IF a = b THEN
        RETURN TRUE;
    END IF;
    IF imgdb.colour_difference(a, b) > 3::double precision THEN
        RETURN FALSE;
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        v_a1 := pg_catalog.get_byte(a, v_at + 1) - 128;
        v_b1 := pg_catalog.get_byte(a, v_at + 2) - 128;
        v_a2 := pg_catalog.get_byte(b, v_at + 1) - 128;
        v_b2 := pg_catalog.get_byte(b, v_at + 2) - 128;
        v_along := v_along + (v_a1 * v_a2 + v_b1 * v_b2)::double precision;
        v_across := v_across + (v_a1 * v_b2 - v_b1 * v_a2)::double precision;
        v_square1 := v_square1 + (v_a1 * v_a1 + v_b1 * v_b1)::double precision;
        v_square2 := v_square2 + (v_a2 * v_a2 + v_b2 * v_b2)::double precision;
        v_grey1 := v_grey1 + pg_catalog.get_byte(a, v_at) + 1;
        v_grey2 := v_grey2 + pg_catalog.get_byte(b, v_at) + 1;
    END LOOP;
    -- The tangent of ten degrees; or a step in each cell, which is no more than noise.
    IF pg_catalog.abs(v_across) > greatest(
        v_along * 0.176::double precision,
        pg_catalog.sqrt(pg_catalog.sqrt(v_square1 * v_square2)) * 3::double precision
    ) THEN
        RETURN FALSE;
    END IF;
    -- An edit multiplies all colours alike, and more or less light all greys: so they are compared
    -- after they were scaled to one mean. A step is a quarter of a hundredth.
    IF v_square1 > 0 AND v_square2 > 0 THEN
        v_scale := pg_catalog.sqrt(pg_catalog.sqrt(v_square2 / v_square1));
        v_scale := greatest(least(v_scale, 2), 0.5::double precision);
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        v_apart_a := (pg_catalog.get_byte(a, v_at + 1) - 128)::double precision * v_scale
            - (pg_catalog.get_byte(b, v_at + 1) - 128)::double precision / v_scale;
        v_apart_b := (pg_catalog.get_byte(a, v_at + 2) - 128)::double precision * v_scale
            - (pg_catalog.get_byte(b, v_at + 2) - 128)::double precision / v_scale;
        IF v_apart_a * v_apart_a + v_apart_b * v_apart_b > 36 THEN
            RETURN FALSE;
        END IF;
        IF pg_catalog.abs(
            (pg_catalog.get_byte(a, v_at) + 1) * v_grey2
            - (pg_catalog.get_byte(b, v_at) + 1) * v_grey1
        ) * (v_grey1 + v_grey2) > 40 * v_grey1 * v_grey2 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb.same_colours(bytea, bytea) IS
'Whether the colours of two images (image.colours) are the same, as far as edits leave them: '
'their colour_difference is at most 3, their hues are turned by at most 10 degrees, and after '
'scaling to one mean their cells differ by at most 1.5 (in colour) and 20 levels (in grey). '
'NULL if those of one are not known.';
