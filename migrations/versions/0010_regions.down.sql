DROP FUNCTION imgdb._region_matches(
    integer, integer, integer[], bigint[], bytea, integer, integer, text, integer
);

DROP FUNCTION imgdb._store_regions(integer);
DROP FUNCTION imgdb._stage_regions();

SELECT imgdb.untrack('imgdb.image_region', 'region_hash');
SELECT imgdb.drop_space('region');

DROP TRIGGER image_forget_regions ON imgdb.image;
DROP FUNCTION imgdb._forget_regions();
DROP TABLE imgdb.image_region;

DROP FUNCTION imgdb._known_members(integer, text, bigint, timestamptz, text);

CREATE FUNCTION imgdb._known_members(
    for_collection_id integer, archive_path text, size bigint, modified timestamptz
)
RETURNS TABLE (images bigint, failed_paths text[], failed_reasons text[], failed_details text[])
LANGUAGE plpgsql STABLE ROWS 1
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
    GROUP BY a.path;
END
$$;

COMMENT ON FUNCTION imgdb._known_members(integer, text, bigint, timestamptz) IS
'How many images an archive gave and which of its members failed; no row unless it was read and '
'has not changed.';

DROP FUNCTION imgdb._compare_files(integer, text[], bigint[], timestamptz[], text, text);

-- Planned anew for each call: a plan made while the tables were empty would read all of them for
-- ever after.
CREATE FUNCTION imgdb._compare_files(
    for_collection_id integer,
    paths text[],
    sizes bigint[],
    times timestamptz[],
    current_recipe text
)
RETURNS TABLE (ordinal bigint, state text, reason text, detail text)
LANGUAGE plpgsql STABLE ROWS 500
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        given.ordinal,
        CASE
            WHEN i.byte_size = given.byte_size AND i.modified_at = given.modified_at
                THEN CASE WHEN i.missing_since IS NULL THEN 'outdated' ELSE 'found' END
            WHEN f.byte_size = given.byte_size AND f.modified_at = given.modified_at THEN 'failed'
            WHEN i.path IS NULL AND f.path IS NULL THEN 'new'
            ELSE 'changed'
        END,
        f.reason,
        f.detail
    FROM unnest(paths, sizes, times) WITH ORDINALITY
        AS given (path, byte_size, modified_at, ordinal)
    LEFT JOIN imgdb.image AS i
        ON i.collection_id = for_collection_id AND i.path = given.path
    LEFT JOIN imgdb.ingest_failure AS f
        ON f.collection_id = for_collection_id AND f.path = given.path
    WHERE
        i.missing_since IS NOT NULL
        OR i.recipe <> current_recipe
        OR (i.byte_size, i.modified_at) IS DISTINCT FROM (given.byte_size, given.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._compare_files(integer, text[], bigint[], timestamptz[], text) IS
'What is to do for files by size and time: new, changed, found (unchanged, was missing), outdated '
'(unchanged, of another recipe) or failed (unchanged since it failed); nothing is said of the '
'others, which are unchanged.';

CREATE OR REPLACE FUNCTION imgdb._stage_images()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_image') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_image (
            path text COLLATE "C" NOT NULL,
            byte_size bigint NOT NULL,
            modified_at timestamptz NOT NULL,
            sha256 bytea NOT NULL,
            format text NOT NULL,
            width integer NOT NULL,
            height integer NOT NULL,
            frames integer NOT NULL,
            ahash bigint,
            dhash bigint,
            phash bigint,
            whash bigint,
            flat boolean NOT NULL,
            recipe text NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_images() IS
'Makes the session''s table pg_temp.fresh_image, which is copied into and then stored.';

CREATE OR REPLACE FUNCTION imgdb._store_images(for_collection_id integer, rewrite boolean)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql ROWS 1
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    RETURN QUERY
    WITH stored AS (
        INSERT INTO imgdb.image AS i (
            collection_id, path, byte_size, modified_at, sha256, format, width, height, frames,
            ahash, dhash, phash, whash, flat, recipe
        )
        SELECT
            for_collection_id, n.path, n.byte_size, n.modified_at, n.sha256, n.format, n.width,
            n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash, n.flat, n.recipe
        FROM pg_temp.fresh_image AS n
        ORDER BY n.path
        ON CONFLICT ON CONSTRAINT image_collection_id_path_key DO UPDATE SET
            byte_size = excluded.byte_size,
            modified_at = excluded.modified_at,
            sha256 = excluded.sha256,
            format = excluded.format,
            width = excluded.width,
            height = excluded.height,
            frames = excluded.frames,
            ahash = excluded.ahash,
            dhash = excluded.dhash,
            phash = excluded.phash,
            whash = excluded.whash,
            flat = excluded.flat,
            recipe = excluded.recipe,
            ingested_at = excluded.ingested_at,
            missing_since = NULL
        WHERE
            rewrite
            OR i.missing_since IS NOT NULL
            OR (i.byte_size, i.modified_at, i.sha256, i.recipe, i.ahash, i.dhash, i.phash, i.whash)
            IS DISTINCT FROM (
                excluded.byte_size, excluded.modified_at, excluded.sha256, excluded.recipe,
                excluded.ahash, excluded.dhash, excluded.phash, excluded.whash
            )
        -- A row that is new has never been locked by anybody.
        RETURNING i.xmax = 0 AS is_new
    )
    SELECT
        count(*) FILTER (WHERE stored.is_new),
        count(*) FILTER (WHERE NOT stored.is_new)
    FROM stored;
    DELETE FROM imgdb.ingest_failure AS f
    USING pg_temp.fresh_image AS n
    WHERE f.collection_id = for_collection_id AND f.path = n.path;
END
$$;

COMMENT ON FUNCTION imgdb._store_images(integer, boolean) IS
'Files the rows of pg_temp.fresh_image in imgdb.image and forgets their failures; rows that are '
'the same are written again only if rewrite says so.';

ALTER TABLE imgdb.image DROP COLUMN region_recipe;
