CREATE FUNCTION imgdb._make_collection(collection_name text)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not one that is there already: each attempt would burn a number of the identity.
    IF NOT EXISTS (SELECT FROM imgdb.collection AS c WHERE c.name = collection_name) THEN
        INSERT INTO imgdb.collection (name) VALUES (collection_name)
        ON CONFLICT ON CONSTRAINT collection_name_key DO NOTHING;
    END IF;
    RETURN imgdb._collection_id(collection_name);
END
$$;

COMMENT ON FUNCTION imgdb._make_collection(text) IS
'The identity of a collection, which is made if there is none of that name.';
