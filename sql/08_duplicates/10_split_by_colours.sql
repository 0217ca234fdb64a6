CREATE FUNCTION imgdb._is_grey(of_colours bytea)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR v_at IN 0..24 BY 3 LOOP
        IF pg_catalog.get_byte(of_colours, v_at + 1) <> 128
            OR pg_catalog.get_byte(of_colours, v_at + 2) <> 128 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb._is_grey(bytea) IS
'Whether a picture has no colour at all: a grey one, whatever its format.';

-- A grey thing is hardly ever without any colour, and as bright as a thing of another colour in
-- every cell: so what is both is a copy that lost its colours. The other way round, no picture is
-- made of its grey copy.
CREATE FUNCTION imgdb._may_be_copy(of_colours bytea, kept_colours bytea, tier_name text)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tier_name = 'same-picture' THEN
        RETURN imgdb.same_colours(of_colours, kept_colours)
            AND imgdb.colour_difference(of_colours, kept_colours) <= 1::double precision;
    END IF;
    IF imgdb.same_colours(of_colours, kept_colours) THEN
        RETURN TRUE;
    END IF;
    IF NOT imgdb._is_grey(of_colours) THEN
        RETURN FALSE;
    END IF;
    FOR v_at IN 0..24 BY 3 LOOP
        IF pg_catalog.abs(
            pg_catalog.get_byte(of_colours, v_at) - pg_catalog.get_byte(kept_colours, v_at)
        ) > 4 THEN
            RETURN FALSE;
        END IF;
    END LOOP;
    RETURN TRUE;
END
$$;

COMMENT ON FUNCTION imgdb._may_be_copy(bytea, bytea, text) IS
'Whether, by its colours, an image may be a copy of the one that is kept: of the same colours, or '
'its grey copy; in tier same-picture of equal ones. NULL if those of one are not known.';

-- Images of a group and kind, in the order in which they are kept: the first one is kept, and each
-- one that is no copy of any that is kept so far. Nobody looks at more than a hundred; further ones
-- that are copies of none of these are kept, too.
CREATE FUNCTION imgdb._split_by_colours(
    of_groups bigint[],
    of_kinds text[],
    of_places bigint[],
    of_images bigint[],
    of_digests bytea[],
    of_colours bytea[],
    linked_a bigint[],
    linked_b bigint[],
    tier_name text
)
RETURNS TABLE (image_id bigint, kept_place bigint)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_group bigint;
    v_kind text;
    v_member record;
    v_images bigint[];
    v_places bigint[];
    v_digests bytea[];
    v_colours bytea[];
    v_found integer;
BEGIN
    FOR v_member IN
        SELECT m.*, l.partners
        FROM unnest(of_groups, of_kinds, of_places, of_images, of_digests, of_colours)
            AS m (in_group, kind, place, image, digest, colours)
        LEFT JOIN (
            SELECT pair.a, array_agg(pair.b) AS partners
            FROM (
                SELECT g.a, g.b FROM unnest(linked_a, linked_b) AS g (a, b)
                UNION ALL
                SELECT g.b, g.a FROM unnest(linked_a, linked_b) AS g (a, b)
            ) AS pair
            GROUP BY pair.a
        ) AS l ON l.a = m.image
        ORDER BY m.in_group, m.kind, m.place
    LOOP
        IF (v_group, v_kind) IS DISTINCT FROM (v_member.in_group, v_member.kind) THEN
            v_group := v_member.in_group;
            v_kind := v_member.kind;
            v_images := '{}';
            v_places := '{}';
            v_digests := '{}';
            v_colours := '{}';
        END IF;
        v_found := NULL;
        FOR v_at IN 1..least(pg_catalog.cardinality(v_places), 100) LOOP
            -- Of what has no file nothing can go: it stands by the first one.
            IF v_member.digest IS NULL
                OR v_member.digest = v_digests[v_at]
                OR v_images[v_at] = ANY (v_member.partners)
                OR imgdb._may_be_copy(v_member.colours, v_colours[v_at], tier_name)
            THEN
                v_found := v_at;
                EXIT;
            END IF;
        END LOOP;
        IF v_found IS NULL THEN
            v_images := pg_catalog.array_append(v_images, v_member.image);
            v_places := pg_catalog.array_append(v_places, v_member.place);
            v_digests := pg_catalog.array_append(v_digests, v_member.digest);
            v_colours := pg_catalog.array_append(v_colours, v_member.colours);
            v_found := pg_catalog.cardinality(v_places);
        END IF;
        image_id := v_member.image;
        kept_place := v_places[v_found];
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._split_by_colours(
    bigint[], text[], bigint[], bigint[], bytea[], bytea[], bigint[], bigint[], text
) IS
'For each image of groups the place of the one that is kept for it: the first of its kind in the '
'group that it may be a copy of, by its bytes or its colours, or that it is linked with.';

-- The images of one key have equal hashes; those that also have equal colours get one key.
CREATE FUNCTION imgdb._same_pictures(of_images bigint[], of_keys bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        WITH given AS MATERIALIZED (
            SELECT g.image, g.key, g.place
            FROM unnest(of_images, of_keys) WITH ORDINALITY AS g (image, key, place)
        ),
        alike AS (
            SELECT
                array_agg(m.key) AS keys,
                array_agg('picture'::text) AS kinds,
                array_agg(m.image) AS images,
                array_agg(i.sha256) AS digests,
                array_agg(i.colours) AS colours
            FROM (
                SELECT g.image, g.key, count(*) OVER (PARTITION BY g.key) AS held
                FROM given AS g
                WHERE g.key IS NOT NULL
            ) AS m
            JOIN imgdb.image AS i ON i.image_id = m.image
            WHERE m.held > 1
        )
        SELECT array_agg(d.kept_place ORDER BY g.place)
        FROM alike AS a
        CROSS JOIN LATERAL imgdb._split_by_colours(
            a.keys, a.kinds, a.images, a.images, a.digests, a.colours, NULL, NULL, 'same-picture'
        ) AS d
        RIGHT JOIN given AS g ON g.image = d.image_id
    );
END
$$;

COMMENT ON FUNCTION imgdb._same_pictures(bigint[], bigint[]) IS
'Other keys for images of equal hashes, in step: one for those that also have equal colours, NULL '
'for what nothing is equal to.';
