-- Unlike pictures often have one hash in common and hardly ever all: so all must agree. What is
-- near in all of them is near in the first that both have, and that one is searched for; phash
-- comes first because fewest are near in it.
CREATE FUNCTION imgdb._copies_of(
    image_ids bigint[], collection_name text, alike_distance integer
)
RETURNS TABLE (original_id bigint, copy_id bigint)
LANGUAGE plpgsql STABLE ROWS 100 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_column name;
    v_not_before text := '';
BEGIN
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
