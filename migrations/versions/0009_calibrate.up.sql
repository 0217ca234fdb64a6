-- The sum of a picture's bytes and the seed decides, so the same pictures are drawn wherever they
-- are stored. Same bytes, same place: only the first of them is drawn.
CREATE FUNCTION imgdb._sampled_images(
    collection_name text, sample_size integer, sample_seed bigint
)
RETURNS TABLE (
    image_id bigint,
    path text,
    sha256 bytea,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint
)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT i.image_id, i.path, i.sha256, i.ahash, i.dhash, i.phash, i.whash
    FROM (
        SELECT DISTINCT ON (drawn.place) drawn.place, drawn.image_id
        FROM (
            SELECT
                j.image_id,
                j.path,
                pg_catalog.sha256(int8send(sample_seed) || j.sha256) AS place
            FROM imgdb.image AS j
            WHERE
                (v_collection_id IS NULL OR j.collection_id = v_collection_id)
                AND j.sha256 IS NOT NULL AND NOT j.flat AND j.missing_since IS NULL
        ) AS drawn
        ORDER BY drawn.place, drawn.path, drawn.image_id
        LIMIT sample_size
    ) AS first
    JOIN imgdb.image AS i ON i.image_id = first.image_id
    ORDER BY first.place;
END
$$;

COMMENT ON FUNCTION imgdb._sampled_images(text, integer, bigint) IS
'Images with a file and with structure, drawn by a seed from a collection or from all; error IM011 '
'for an unknown collection.';

CREATE FUNCTION imgdb._searchable_images(collection_name text)
RETURNS TABLE (
    images bigint, with_file bigint, ahash bigint, dhash bigint, phash bigint, whash bigint
)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT
        count(*),
        count(i.sha256) FILTER (WHERE i.missing_since IS NULL),
        count(i.ahash),
        count(i.dhash),
        count(i.phash),
        count(i.whash)
    FROM imgdb.image AS i
    WHERE (v_collection_id IS NULL OR i.collection_id = v_collection_id) AND NOT i.flat;
END
$$;

COMMENT ON FUNCTION imgdb._searchable_images(text) IS
'How many images that are not flat a collection, or all, has: in all, with a file that is there, '
'and with each hash; error IM011 for an unknown collection.';
-- Unlike pictures often have one hash in common and hardly ever all: so all must agree. What is
-- near in all of them is near in the first that both have, and that one is searched for; phash
-- comes first because fewest are near in it.
CREATE FUNCTION imgdb._copies_of(
    image_ids bigint[], collection_name text, alike_distance integer
)
RETURNS TABLE (original_id bigint, copy_id bigint)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer;
    v_column name;
    v_not_before text := '';
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    SELECT o.image_id, i.image_id
    FROM imgdb.image AS o
    JOIN imgdb.image AS i ON i.sha256 = o.sha256 AND i.image_id <> o.image_id
    WHERE
        o.image_id = ANY (image_ids)
        AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
        AND NOT i.flat;
    FOREACH v_column IN ARRAY ARRAY['phash', 'dhash', 'whash', 'ahash'] LOOP
        RETURN QUERY EXECUTE format(
            $query$
            SELECT o.image_id, i.image_id
            FROM imgdb.within_any(
                %1$L,
                ARRAY(SELECT q.%1$I FROM imgdb.image AS q WHERE q.image_id = ANY ($1)),
                $2
            ) AS found
            JOIN imgdb.image AS o ON o.%1$I = found.query_hash AND o.image_id = ANY ($1)
            JOIN imgdb.image AS i ON i.%1$I = found.hash AND i.image_id <> o.image_id
            WHERE
                -- NULL is passed over: a hash that one of the two lacks says nothing.
                greatest(
                    imgdb.distance(o.ahash, i.ahash),
                    imgdb.distance(o.dhash, i.dhash),
                    imgdb.distance(o.phash, i.phash),
                    imgdb.distance(o.whash, i.whash)
                ) <= $2
                AND i.sha256 IS DISTINCT FROM o.sha256
                AND ($3 IS NULL OR i.collection_id = $3)
                AND NOT i.flat
                %2$s
            $query$,
            v_column, v_not_before
        )
        USING image_ids, alike_distance, v_collection_id;
        v_not_before := v_not_before
            || format(' AND imgdb.distance(o.%1$I, i.%1$I) IS NULL', v_column);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb._copies_of(bigint[], text, integer) IS
'Which other images of a collection, or of all, are taken for copies of images: those of the same '
'bytes, and those within alike_distance of it in every hash that both have. Each pair once.';
-- With draw_size the distances to so many images, drawn by the seed, are all counted: cheap where
-- the collection is small, and the only way beyond the radii that are prepared. Without it the
-- matches in the whole collection are found by the search itself.
CREATE FUNCTION imgdb._false_matches(
    space_name text,
    collection_name text,
    original_ids bigint[],
    copy_hashes bigint[],
    alike_distance integer,
    max_distance integer,
    draw_size integer,
    draw_seed bigint
)
RETURNS TABLE (original_id bigint, distance integer, matches bigint)
LANGUAGE plpgsql STABLE ROWS 900 COST 10000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_found text;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    IF draw_size IS NULL THEN
        v_found := $found$
            SELECT c.original_id, i.image_id, f.distance
            FROM imgdb.within_any($4, $2, $6) AS f
            JOIN imgdb.image AS i ON i.%1$I = f.hash
            JOIN copied AS c ON c.copy_hash = f.query_hash
            WHERE NOT i.flat AND ($3 IS NULL OR i.collection_id = $3)
        $found$;
    ELSE
        v_found := $found$
            SELECT c.original_id, d.image_id, imgdb.distance(c.copy_hash, d.drawn_hash) AS distance
            FROM (
                SELECT i.image_id, i.%1$I AS drawn_hash
                FROM imgdb.image AS i
                WHERE NOT i.flat AND i.%1$I IS NOT NULL AND ($3 IS NULL OR i.collection_id = $3)
                ORDER BY
                    pg_catalog.sha256(int8send($8) || convert_to(i.path, 'UTF8')),
                    i.image_id
                LIMIT $7
            ) AS d
            CROSS JOIN copied AS c
            WHERE imgdb.distance(c.copy_hash, d.drawn_hash) <= $6
        $found$;
    END IF;
    RETURN QUERY EXECUTE format(
        $query$
        WITH copied AS MATERIALIZED (
            SELECT u.original_id, u.copy_hash FROM unnest($1, $2) AS u (original_id, copy_hash)
        ),
        alike AS MATERIALIZED (
            SELECT a.original_id, a.copy_id
            FROM imgdb._copies_of(ARRAY(SELECT DISTINCT unnest($1)), $9, $5) AS a
        ),
        found AS (%s)
        SELECT f.original_id, f.distance, count(*)
        FROM found AS f
        WHERE
            f.image_id <> f.original_id
            AND NOT EXISTS (
                SELECT FROM alike AS a
                WHERE a.original_id = f.original_id AND a.copy_id = f.image_id
            )
        GROUP BY f.original_id, f.distance
        $query$,
        format(v_found, v_column)
    )
    USING
        original_ids, copy_hashes, v_collection_id, space_name, alike_distance, max_distance,
        draw_size, draw_seed, collection_name;
END
$$;

COMMENT ON FUNCTION imgdb._false_matches(
    text, text, bigint[], bigint[], integer, integer, integer, bigint
) IS
'How many images of a collection lie at each distance of hashes of edited copies, but for the '
'originals and what _copies_of takes for copies of them; summed over the copies of an original. '
'With draw_size only so many images are looked at, drawn by a seed.';
CREATE FUNCTION imgdb.set_default_max_distance(space_name text, max_distance integer)
RETURNS integer
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_before integer;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    -- Locked, so that what is returned is what this call replaced.
    SELECT s.default_max_distance
    INTO v_before
    FROM imgdb.space AS s
    WHERE s.space_id = v_space_id
    FOR UPDATE;
    UPDATE imgdb.space AS s
    SET default_max_distance = max_distance
    WHERE s.space_id = v_space_id AND s.default_max_distance <> max_distance;
    RETURN v_before;
END
$$;

COMMENT ON FUNCTION imgdb.set_default_max_distance(text, integer) IS
'Sets the largest distance that counts as alike in a space where nobody says otherwise; returns '
'the one before; error IM001 for an unknown space, IM002 unless it is 0 to 64.';
