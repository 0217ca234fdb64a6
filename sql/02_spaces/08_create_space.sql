-- Three bands of 21 and 22 bits need fewer candidates than four of 16 where a bucket of these would
-- hold hundreds of hashes (docs/benchmarks.md). Bit i is in band i % 3.
CREATE FUNCTION imgdb._masks_for(of_count bigint)
RETURNS bigint[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN of_count >= 30000000 THEN (
            SELECT array_agg(b.mask ORDER BY b.band)
            FROM (
                SELECT
                    i % 3 AS band,
                    bit_or(1::bigint << i) AS mask
                FROM generate_series(0, 63) AS i
                GROUP BY i % 3
            ) AS b
        )
        ELSE ARRAY[
            imgdb.from_hex('aa005500aa005500'),
            imgdb.from_hex('00aa005500aa0055'),
            imgdb.from_hex('5500aa005500aa00'),
            imgdb.from_hex('005500aa005500aa')
        ]
    END;
END
$$;

COMMENT ON FUNCTION imgdb._masks_for(bigint) IS 'The band masks that suit so many hashes.';

CREATE FUNCTION imgdb._make_space(space_name text, space_description text, new_masks bigint[])
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint;
BEGIN
    IF space_name IS NULL THEN
        RAISE EXCEPTION 'space_name is NULL' USING
            ERRCODE = 'IM012',
            HINT = 'Give the space a name.';
    END IF;
    BEGIN
        INSERT INTO imgdb.own_space (name, description, band_masks)
        VALUES (space_name, coalesce(space_description, ''), new_masks)
        RETURNING space_id INTO v_space_id;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'there is a space "%" already', space_name USING
                ERRCODE = 'IM008',
                HINT = 'Use it, or choose another name.';
    END;
    RETURN v_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._make_space(text, text, bigint[]) IS
'Makes a space of such bands that belongs to the current user, and returns its space_id; error '
'IM008 if the name is taken.';

CREATE FUNCTION imgdb.create_space(space_name text, space_description text)
RETURNS smallint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN imgdb._make_space(space_name, space_description, imgdb._masks_for(0));
END
$$;

COMMENT ON FUNCTION imgdb.create_space(text, text) IS
'Makes a space that belongs to the current user, and returns its space_id; error IM008 if the name '
'is taken.';
