CREATE FUNCTION imgdb.find_pdq(query_pdq bigint[], max_distance integer DEFAULT 31)
RETURNS TABLE (image_id bigint, collection text, path text, distance integer)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 10 COST 10000
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF max_distance > 31 THEN
        RAISE EXCEPTION 'max_distance is %, more than the 31 that count as alike', max_distance USING
            ERRCODE = 'IM002',
            HINT = 'imgdb.within_pdq takes any distance, from roles that may read.';
    END IF;
    RETURN QUERY
    SELECT i.image_id, c.name, i.path, m.distance
    FROM imgdb.within_pdq(query_pdq, max_distance) AS m
    JOIN imgdb.image AS i ON i.image_id = m.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ORDER BY m.distance, i.path, i.image_id;
END
$$;

COMMENT ON FUNCTION imgdb.find_pdq(bigint[], integer) IS
'As imgdb.within_pdq, for roles that may not read: never a hash, and no distance beyond 31 (error '
'IM002); says where the images are, too.';
