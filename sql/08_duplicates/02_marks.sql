CREATE FUNCTION imgdb._forget_marks()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.not_duplicate AS d
    WHERE d.image_id_a = NEW.image_id OR d.image_id_b = NEW.image_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_marks() IS
'Forgets what was said of an image that is another picture now.';

-- A person who said that two pictures are different has seen these two. Other bytes with the same
-- four hashes are the same picture (its tags were edited), and other hashes of the same bytes, too
-- (it was hashed by other rules). Only the hashes of imported rows are known.
CREATE TRIGGER image_forget_marks
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (
    (old.ahash, old.dhash, old.phash, old.whash)
    IS DISTINCT FROM (new.ahash, new.dhash, new.phash, new.whash)
    AND (old.sha256 IS DISTINCT FROM new.sha256 OR new.sha256 IS NULL)
)
EXECUTE FUNCTION imgdb._forget_marks();

-- Through the collections, because the index of paths begins with them.
CREATE FUNCTION imgdb._images_at(paths text[], collection_name text)
RETURNS TABLE (path text, image_id bigint, collection text, is_file boolean)
LANGUAGE plpgsql STABLE ROWS 2
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT i.path, i.image_id, c.name, i.sha256 IS NOT NULL
    FROM imgdb.collection AS c
    JOIN imgdb.image AS i ON i.collection_id = c.collection_id
    WHERE i.path = ANY (paths) AND (collection_name IS NULL OR c.name = collection_name)
    ORDER BY i.image_id;
END
$$;

COMMENT ON FUNCTION imgdb._images_at(text[], text) IS
'The images of a collection, or of all, that have one of the paths.';

CREATE FUNCTION imgdb._mark_different(image_ids_a bigint[], image_ids_b bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b)
    SELECT DISTINCT least(pair.a, pair.b), greatest(pair.a, pair.b)
    FROM unnest(image_ids_a, image_ids_b) AS pair (a, b)
    ORDER BY 1, 2
    ON CONFLICT ON CONSTRAINT not_duplicate_pkey DO NOTHING;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._mark_different(bigint[], bigint[]) IS
'Remembers that the images of each pair are different; returns how many pairs are new.';

CREATE FUNCTION imgdb._unmark_different(image_ids_a bigint[], image_ids_b bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM imgdb.not_duplicate AS d
    USING unnest(image_ids_a, image_ids_b) AS pair (a, b)
    WHERE
        d.image_id_a = least(pair.a, pair.b)
        AND (
            d.image_id_b = greatest(pair.a, pair.b)
            OR pair.b IS NULL
        )
        OR d.image_id_b = pair.a AND pair.b IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._unmark_different(bigint[], bigint[]) IS
'Takes back that the images of each pair are different, NULL standing for any; returns how many.';

CREATE FUNCTION imgdb._marks(collection_name text)
RETURNS TABLE (
    path_a text, collection_a text, path_b text, collection_b text, marked_at timestamptz
)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name);
    RETURN QUERY
    SELECT a.path, ca.name, b.path, cb.name, d.marked_at
    FROM imgdb.not_duplicate AS d
    JOIN imgdb.image AS a ON a.image_id = d.image_id_a
    JOIN imgdb.collection AS ca ON ca.collection_id = a.collection_id
    JOIN imgdb.image AS b ON b.image_id = d.image_id_b
    JOIN imgdb.collection AS cb ON cb.collection_id = b.collection_id
    WHERE collection_name IS NULL OR collection_name IN (ca.name, cb.name)
    ORDER BY d.marked_at, d.image_id_a, d.image_id_b;
END
$$;

COMMENT ON FUNCTION imgdb._marks(text) IS
'The pairs that somebody marked as different, those of a collection or all, oldest first.';
