-- Keyset pages in the order of the paths: a folder is a range of the index, however much it holds.
CREATE FUNCTION imgdb._known_below(
    for_collection_id integer, prefix_path text, after_path text, page_size integer
)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 900
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    -- 0 is the character after the slash.
    v_end text COLLATE "C" := substr(prefix_path, 1, length(prefix_path) - 1) || '0';
BEGIN
    RETURN QUERY
    (
        SELECT i.path
        FROM imgdb.image AS i
        WHERE
            i.collection_id = for_collection_id AND i.path > after_path AND i.path < v_end
            AND i.missing_since IS NULL AND i.sha256 IS NOT NULL
        ORDER BY i.path
        LIMIT page_size
    )
    UNION
    (
        SELECT f.path
        FROM imgdb.ingest_failure AS f
        WHERE f.collection_id = for_collection_id AND f.path > after_path AND f.path < v_end
        ORDER BY f.path
        LIMIT page_size
    )
    ORDER BY 1
    LIMIT page_size;
END
$$;

COMMENT ON FUNCTION imgdb._known_below(integer, text, text, integer) IS
'A page of the paths after after_path and below prefix_path (which ends in a slash) that are taken '
'to be there; imported rows, which have no file, left out.';

CREATE FUNCTION imgdb._mark_missing(for_collection_id integer, paths text[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_count bigint;
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = now()
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path
        AND i.missing_since IS NULL AND i.sha256 IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._mark_missing(integer, text[]) IS
'Notes that files are gone, and returns how many images that were; their failures are forgotten.';

CREATE FUNCTION imgdb._mark_found(for_collection_id integer, paths text[])
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    UPDATE imgdb.image AS i
    SET missing_since = NULL
    FROM unnest(paths) AS given (path)
    WHERE
        i.collection_id = for_collection_id AND i.path = given.path
        AND i.missing_since IS NOT NULL;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
END
$$;

COMMENT ON FUNCTION imgdb._mark_found(integer, text[]) IS
'Notes that missing files are back as they were.';
