CREATE TABLE imgdb.archive (
    collection_id integer NOT NULL,
    path text COLLATE "C" NOT NULL,
    byte_size bigint NOT NULL,
    modified_at timestamptz NOT NULL,
    read_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT archive_pkey PRIMARY KEY (collection_id, path),
    CONSTRAINT archive_collection_id_fkey FOREIGN KEY (collection_id)
    REFERENCES imgdb.collection (collection_id)
);

COMMENT ON TABLE imgdb.archive IS
'Archives that were read to their end: not read again while size and time are the same.';
COMMENT ON COLUMN imgdb.archive.collection_id IS 'The collection that its members belong to.';
COMMENT ON COLUMN imgdb.archive.path IS 'Where it is, spelled as in image.path.';
COMMENT ON COLUMN imgdb.archive.byte_size IS 'Size of the archive in bytes.';
COMMENT ON COLUMN imgdb.archive.modified_at IS 'Modification time of the archive.';
COMMENT ON COLUMN imgdb.archive.read_at IS 'When it was read.';

CREATE FUNCTION imgdb._known_members(
    for_collection_id integer,
    archive_path text,
    size bigint,
    modified timestamptz,
    needed_region_recipe text,
    need_pdq boolean
)
RETURNS TABLE (images bigint, failed_paths text[], failed_reasons text[], failed_details text[])
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- 0 is the character after the slash.
    v_start text COLLATE "C" := archive_path || '!/';
    v_end text COLLATE "C" := archive_path || '!0';
BEGIN
    RETURN QUERY
    SELECT
        (
            SELECT count(*)
            FROM imgdb.image AS i
            WHERE
                i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                AND i.missing_since IS NULL
        ),
        array_remove(array_agg(f.path ORDER BY f.path), NULL),
        array_remove(array_agg(f.reason ORDER BY f.path), NULL),
        array_remove(array_agg(f.detail ORDER BY f.path), NULL)
    FROM imgdb.archive AS a
    LEFT JOIN imgdb.ingest_failure AS f
        ON f.collection_id = for_collection_id AND f.path > v_start AND f.path < v_end
    WHERE
        a.collection_id = for_collection_id AND a.path = archive_path
        AND a.byte_size = size AND a.modified_at = modified
        -- It was gone for a while, and its members with it; or those that it had are elsewhere.
        AND NOT EXISTS (
            SELECT FROM imgdb.image AS i
            WHERE
                i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                AND i.missing_since > a.read_at
        )
        AND (
            NOT need_pdq
            OR NOT EXISTS (
                SELECT FROM imgdb.image AS i
                WHERE
                    i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                    AND i.missing_since IS NULL
                    AND NOT EXISTS (
                        SELECT FROM imgdb.image_pdq AS p WHERE p.image_id = i.image_id
                    )
            )
        )
        AND (
            needed_region_recipe IS NULL
            OR NOT EXISTS (
                SELECT FROM imgdb.image AS i
                WHERE
                    i.collection_id = for_collection_id AND i.path > v_start AND i.path < v_end
                    AND i.missing_since IS NULL
                    AND i.region_recipe IS DISTINCT FROM needed_region_recipe
            )
        )
    GROUP BY a.path;
END
$$;

COMMENT ON FUNCTION imgdb._known_members(integer, text, bigint, timestamptz, text, boolean) IS
'How many images an archive gave and which of its members failed; no row unless it was read, has '
'not changed or been gone since, and its images have the regions and PDQ hashes that are needed.';

CREATE FUNCTION imgdb._store_archives(
    for_collection_id integer, paths text[], sizes bigint[], times timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    INSERT INTO imgdb.archive (collection_id, path, byte_size, modified_at)
    SELECT for_collection_id, given.path, given.byte_size, given.modified_at
    FROM unnest(paths, sizes, times) AS given (path, byte_size, modified_at)
    ORDER BY given.path COLLATE "C"
    ON CONFLICT ON CONSTRAINT archive_pkey DO UPDATE SET
        byte_size = excluded.byte_size,
        modified_at = excluded.modified_at,
        read_at = excluded.read_at;
    DELETE FROM imgdb.ingest_failure AS f
    WHERE f.collection_id = for_collection_id AND f.path = ANY (paths);
END
$$;

COMMENT ON FUNCTION imgdb._store_archives(integer, text[], bigint[], timestamptz[]) IS
'Notes that archives were read to their end.';
