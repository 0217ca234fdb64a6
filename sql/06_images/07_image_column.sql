CREATE FUNCTION imgdb._image_column(space_name text)
RETURNS name
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_column name := (
        SELECT t.column_name
        FROM imgdb.tracked_column AS t
        WHERE t.space_id = v_space_id AND t.table_id = 'imgdb.image'::regclass
    );
BEGIN
    IF v_column IS NULL THEN
        RAISE EXCEPTION 'space "%" has no column of imgdb.image', space_name USING
            ERRCODE = 'IM009',
            HINT = 'Images are in ahash, dhash, phash and whash; join imgdb.within with your table.';
    END IF;
    RETURN v_column;
END
$$;

COMMENT ON FUNCTION imgdb._image_column(text) IS
'The column of imgdb.image that feeds a space; error IM009 if there is none.';
