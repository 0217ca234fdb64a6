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
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_found text;
BEGIN
    PERFORM imgdb._check_distance(max_distance);
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
