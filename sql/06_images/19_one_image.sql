CREATE FUNCTION imgdb._image(wanted_id bigint)
RETURNS TABLE (
    image_id bigint,
    collection text,
    path text,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz,
    ingested_at timestamptz,
    sha256 text,
    ahash text,
    dhash text,
    phash text,
    whash text,
    flat boolean,
    recipe text
)
LANGUAGE plpgsql STABLE STRICT ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT
        i.image_id,
        c.name,
        i.path::text,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since,
        i.ingested_at,
        encode(i.sha256, 'hex'),
        imgdb.to_hex(i.ahash),
        imgdb.to_hex(i.dhash),
        imgdb.to_hex(i.phash),
        imgdb.to_hex(i.whash),
        i.flat,
        i.recipe
    FROM imgdb.image AS i
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE i.image_id = wanted_id;
END
$$;

COMMENT ON FUNCTION imgdb._image(bigint) IS 'What is known of one image; no row if there is none.';

CREATE FUNCTION imgdb._newest_image()
RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT i.ingested_at FROM imgdb.image AS i ORDER BY i.image_id DESC LIMIT 1);
END
$$;

COMMENT ON FUNCTION imgdb._newest_image() IS
'When the image that was added last was stored; NULL without any.';

CREATE FUNCTION imgdb._remove_image(wanted_path text, collection_name text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_image_id bigint;
BEGIN
    DELETE FROM imgdb.image AS i
    WHERE
        i.path = wanted_path
        AND i.collection_id = imgdb._collection_id(collection_name)
    RETURNING i.image_id INTO v_image_id;
    RETURN v_image_id;
END
$$;

COMMENT ON FUNCTION imgdb._remove_image(text, text) IS
'Removes one image of a collection and tells its image_id, NULL if there is none of that path; '
'error IM011 if there is no such collection. No file is touched.';
