CREATE FUNCTION imgdb._newest_image_id()
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT max(i.image_id) FROM imgdb.image AS i);

COMMENT ON FUNCTION imgdb._newest_image_id() IS
'The identity of the image that was stored last; NULL if there is none.';

CREATE FUNCTION imgdb._images_of_sizes(
    for_collection_id integer,
    last_image_id bigint,
    sizes bigint[],
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (
    image_id bigint,
    path text,
    byte_size bigint,
    modified_at timestamptz,
    sha256 bytea,
    complete boolean
)
LANGUAGE plpgsql STABLE ROWS 500
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        i.image_id, i.path, i.byte_size, i.modified_at, i.sha256,
        i.region_recipe IS NOT DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        AND (
            NOT need_pdq
            OR EXISTS (SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id)
        )
    FROM imgdb.image AS i
    WHERE
        i.byte_size = ANY (sizes)
        AND i.collection_id = for_collection_id
        AND i.image_id <= last_image_id;
END
$$;

COMMENT ON FUNCTION imgdb._images_of_sizes(integer, bigint, bigint[], text, boolean) IS
'The images up to last_image_id whose files are of these sizes; complete are those that have the '
'regions and the PDQ hash that are needed.';

-- A file that is gone from its path and that was found at another one keeps its row, and with it
-- all that is known and that people said of it. A row that stood at the new path gets the old one,
-- where it counts as missing until its own file is found: so any permutation of names comes out
-- right, one move after the other.
CREATE FUNCTION imgdb._move_images(
    for_collection_id integer,
    image_ids bigint[],
    digests bytea[],
    old_paths text[],
    new_paths text[],
    times timestamptz[]
)
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_done bigint[];
    v_move record;
    v_path text;
    v_other_id bigint;
BEGIN
    -- At once all that have their new path for themselves: nearly all.
    WITH moved AS (
        UPDATE imgdb.image AS i
        SET path = given.new_path, modified_at = given.modified, missing_since = NULL
        FROM unnest(image_ids, digests, old_paths, new_paths, times)
            AS given (id, digest, old_path, new_path, modified)
        WHERE
            i.image_id = given.id AND i.collection_id = for_collection_id
            AND i.sha256 = given.digest AND i.path = given.old_path
            AND NOT EXISTS (
                SELECT FROM imgdb.image AS other
                WHERE
                    other.collection_id = for_collection_id AND other.path = given.new_path
                    AND other.image_id <> given.id
            )
        RETURNING i.image_id
    )
    SELECT array_agg(m.image_id) INTO v_done FROM moved AS m;
    FOR v_move IN
        SELECT given.id, given.digest, given.old_path, given.new_path, given.modified
        FROM unnest(image_ids, digests, old_paths, new_paths, times)
            AS given (id, digest, old_path, new_path, modified)
        WHERE given.id <> ALL (coalesce(v_done, '{}'))
    LOOP
        -- It may stand there already, having made room for another one.
        SELECT i.path INTO v_path
        FROM imgdb.image AS i
        WHERE
            i.image_id = v_move.id AND i.collection_id = for_collection_id
            -- A new file at the old path may have taken the row over.
            AND i.sha256 = v_move.digest
            AND i.path IN (v_move.old_path, v_move.new_path)
        FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NEXT v_move.new_path;
            CONTINUE;
        END IF;
        -- No file can have such a path: the spellings of control characters hold none.
        UPDATE imgdb.image AS i
        SET path = chr(1) || i.image_id, missing_since = coalesce(i.missing_since, now())
        WHERE
            i.collection_id = for_collection_id AND i.path = v_move.new_path
            AND i.image_id <> v_move.id
        RETURNING i.image_id INTO v_other_id;
        UPDATE imgdb.image AS i
        SET path = v_move.new_path, modified_at = v_move.modified, missing_since = NULL
        WHERE i.image_id = v_move.id;
        UPDATE imgdb.image AS i SET path = v_path WHERE i.image_id = v_other_id;
    END LOOP;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (new_paths);
    -- An archive that members have left is read again if it comes back.
    DELETE FROM imgdb.archive AS a
    USING unnest(old_paths) AS old (path)
    WHERE
        a.collection_id = for_collection_id
        AND a.path IN (substring(old.path, '^(.*?)!/'), substring(old.path, '^(.*)!/'));
END
$$;

COMMENT ON FUNCTION imgdb._move_images(integer, bigint[], bytea[], text[], text[], timestamptz[]) IS
'Moves images to other paths, and returns those paths whose image is no longer what it was at the '
'old one.';
