CREATE FUNCTION imgdb._collections()
RETURNS TABLE (name text, images bigint, missing bigint, failures bigint, bytes bigint)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        c.name,
        coalesce(i.images, 0),
        coalesce(i.missing, 0),
        coalesce(f.failures, 0),
        coalesce(i.bytes, 0)
    FROM imgdb.collection AS c
    LEFT JOIN (
        SELECT
            g.collection_id,
            count(*) AS images,
            count(g.missing_since) AS missing,
            sum(g.byte_size)::bigint AS bytes
        FROM imgdb.image AS g
        GROUP BY g.collection_id
    ) AS i ON i.collection_id = c.collection_id
    LEFT JOIN (
        SELECT
            g.collection_id,
            count(*) AS failures
        FROM imgdb.ingest_failure AS g
        GROUP BY g.collection_id
    ) AS f ON f.collection_id = c.collection_id
    ORDER BY c.name;
END
$$;

COMMENT ON FUNCTION imgdb._collections() IS
'The collections by name: their images, those of them whose files are gone, the files that failed, '
'and the bytes of all files.';

CREATE FUNCTION imgdb._rename_collection(collection_name text, new_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE imgdb.collection SET name = new_name
    WHERE collection_id = imgdb._collection_id(collection_name);
END
$$;

COMMENT ON FUNCTION imgdb._rename_collection(text, text) IS
'Gives a collection another name; error IM011 if there is none of that name.';

-- The row of the collection is locked first: who adds to it meanwhile waits, and finds it gone.
CREATE FUNCTION imgdb._remove_collection(collection_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_collection_id integer := imgdb._collection_id(collection_name);
    v_images bigint;
BEGIN
    PERFORM FROM imgdb.collection AS c WHERE c.collection_id = v_collection_id FOR UPDATE;
    DELETE FROM imgdb.archive AS a WHERE a.collection_id = v_collection_id;
    DELETE FROM imgdb.ingest_failure AS f WHERE f.collection_id = v_collection_id;
    DELETE FROM imgdb.image AS i WHERE i.collection_id = v_collection_id;
    GET DIAGNOSTICS v_images = ROW_COUNT;
    DELETE FROM imgdb.collection AS c WHERE c.collection_id = v_collection_id;
    RETURN v_images;
END
$$;

COMMENT ON FUNCTION imgdb._remove_collection(text) IS
'Removes a collection with its images, failures, archives, regions and marks, and tells how many '
'images these were; error IM011 if there is none of that name. No file is touched.';
