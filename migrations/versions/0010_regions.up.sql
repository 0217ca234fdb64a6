-- Regions of images: a column that says whether they were looked for, a table, a space.
ALTER TABLE imgdb.image ADD COLUMN region_recipe text;

-- Regions are looked for in pixels, which imported hashes do not have.
ALTER TABLE imgdb.image
ADD CONSTRAINT image_region_recipe_check CHECK (region_recipe IS NULL OR sha256 IS NOT NULL);

COMMENT ON COLUMN imgdb.image.region_recipe IS
'Which rules made its rows of image_region, of which there may be none; NULL if regions were not '
'looked for.';

CREATE TABLE imgdb.image_region (
    image_id bigint NOT NULL,
    region smallint NOT NULL,
    box_left integer NOT NULL,
    box_top integer NOT NULL,
    box_width integer NOT NULL,
    box_height integer NOT NULL,
    region_hash bigint NOT NULL,
    CONSTRAINT image_region_pkey PRIMARY KEY (image_id, region),
    CONSTRAINT image_region_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    -- Scales are ratios of the sides of boxes.
    CONSTRAINT image_region_box_check CHECK (
        box_left >= 0 AND box_top >= 0 AND box_width > 0 AND box_height > 0
    )
);

CREATE INDEX image_region_region_hash_idx ON imgdb.image_region (region_hash);

COMMENT ON TABLE imgdb.image_region IS
'Parts of images that a crop or a collage keeps, each with a hash (ingest --regions).';
COMMENT ON COLUMN imgdb.image_region.image_id IS
'The image; its region_recipe says which rules made the regions.';
COMMENT ON COLUMN imgdb.image_region.region IS
'Which region of the image: the first ones stand out most.';
COMMENT ON COLUMN imgdb.image_region.box_left IS
'Where it begins from the left, in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_top IS
'Where it begins from above, in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_width IS 'Its width in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_height IS 'Its height in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.region_hash IS
'Hash of the region alone, compared in space region.';
COMMENT ON INDEX imgdb.image_region_region_hash_idx IS 'Joins with matches in space region.';

CREATE FUNCTION imgdb._forget_regions()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.image_region AS r WHERE r.image_id = NEW.image_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_regions() IS 'Forgets the regions of a file that has changed.';

CREATE TRIGGER image_forget_regions
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.region_recipe IS NOT NULL AND old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_regions();

DROP FUNCTION imgdb._compare_files(integer, text[], bigint[], timestamptz[], text);

-- Planned anew for each call: a plan made while the tables were empty would read all of them for
-- ever after.
CREATE FUNCTION imgdb._compare_files(
    for_collection_id integer,
    paths text[],
    sizes bigint[],
    times timestamptz[],
    current_recipe text,
    needed_region_recipe text
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
                THEN CASE
                    WHEN i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
                        THEN 'incomplete'
                    WHEN i.missing_since IS NULL THEN 'outdated'
                    ELSE 'found'
                END
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
        OR i.region_recipe IS DISTINCT FROM coalesce(needed_region_recipe, i.region_recipe)
        OR (i.byte_size, i.modified_at) IS DISTINCT FROM (given.byte_size, given.modified_at);
END
$$;

COMMENT ON FUNCTION imgdb._compare_files(
    integer, text[], bigint[], timestamptz[], text, text
) IS
'What is to do for files by size and time: new, changed, found (unchanged, was missing), outdated '
'(unchanged, of another recipe), incomplete (unchanged, without the regions that are needed, if '
'any) or failed (unchanged since it failed); nothing is said of the others, which are unchanged.';

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
            recipe text NOT NULL,
            region_recipe text
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
            ahash, dhash, phash, whash, flat, recipe, region_recipe
        )
        SELECT
            for_collection_id, n.path, n.byte_size, n.modified_at, n.sha256, n.format, n.width,
            n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash, n.flat, n.recipe,
            n.region_recipe
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
            missing_since = NULL,
            -- Regions that were not asked for this time stay, if they are of the same bytes.
            region_recipe = CASE
                WHEN excluded.region_recipe IS NULL AND i.sha256 = excluded.sha256
                    THEN i.region_recipe
                ELSE excluded.region_recipe
            END
        WHERE
            rewrite
            OR i.missing_since IS NOT NULL
            OR (i.byte_size, i.modified_at, i.sha256, i.recipe, i.ahash, i.dhash, i.phash, i.whash)
            IS DISTINCT FROM (
                excluded.byte_size, excluded.modified_at, excluded.sha256, excluded.recipe,
                excluded.ahash, excluded.dhash, excluded.phash, excluded.whash
            )
            OR i.region_recipe IS DISTINCT FROM coalesce(excluded.region_recipe, i.region_recipe)
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

CREATE FUNCTION imgdb._stage_regions()
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- Asked first, because IF NOT EXISTS would tell the client about it each time.
    IF to_regclass('pg_temp.fresh_region') IS NULL THEN
        CREATE TEMPORARY TABLE fresh_region (
            path text COLLATE "C" NOT NULL,
            -- Left, top, width and height of the first region, of the second, ...
            boxes integer[] NOT NULL,
            hashes bigint[] NOT NULL
        ) ON COMMIT DELETE ROWS;
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._stage_regions() IS
'Makes the session''s table pg_temp.fresh_region, which is copied into and then stored.';

-- After _store_images, which locks the rows of the same files.
CREATE FUNCTION imgdb._store_regions(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    DELETE FROM imgdb.image_region AS r
    USING pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    WHERE r.image_id = i.image_id;
    INSERT INTO imgdb.image_region (
        image_id, region, box_left, box_top, box_width, box_height, region_hash
    )
    SELECT
        i.image_id, found.region, n.boxes[4 * found.region - 3], n.boxes[4 * found.region - 2],
        n.boxes[4 * found.region - 1], n.boxes[4 * found.region], found.region_hash
    FROM pg_temp.fresh_region AS n
    JOIN imgdb.image AS i ON i.collection_id = for_collection_id AND i.path = n.path
    CROSS JOIN LATERAL unnest(n.hashes) WITH ORDINALITY AS found (region_hash, region)
    ORDER BY i.image_id, found.region;
END
$$;

COMMENT ON FUNCTION imgdb._store_regions(integer) IS
'Replaces the regions of the images in pg_temp.fresh_region.';

-- Each pair of alike regions says where in the image the query would lie: at which scale, and where
-- its middle falls. Pairs that agree on that lie in one cell; a cell's votes are as many pairs as
-- have neither a region of the query nor one of the image in common, so that neither a query of
-- fifty equal tiles nor an image of them wins by repetition. Cells overlap by half in each of the
-- three dimensions: what is less than half a cell apart shares one. A cell is 2/3 of an octave of
-- scale, and 3/10 of the query's longer side in both directions.
CREATE FUNCTION imgdb._region_matches(
    query_width integer,
    query_height integer,
    query_boxes integer[],
    query_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    min_votes integer,
    collection_name text,
    match_limit integer
)
RETURNS TABLE (
    path text,
    votes integer,
    regions integer,
    relation text,
    box_left integer,
    box_top integer,
    box_width integer,
    box_height integer,
    query_left integer,
    query_top integer,
    query_box_width integer,
    query_box_height integer,
    same_bytes boolean,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region')
    );
    v_collection_id integer;
    v_different bigint[] := imgdb._different_from(
        ARRAY(SELECT i.image_id FROM imgdb.image AS i WHERE i.sha256 = query_sha256)
    );
    -- Thirds of an octave from 1/256 to 256.
    v_scales double precision[] := ARRAY(
        SELECT power(2.0::double precision, (s.third - 24) / 3.0::double precision)
        FROM generate_series(0, 48) AS s (third)
    );
    v_reach double precision := 0.15::double precision * greatest(query_width, query_height);
BEGIN
    IF min_votes < 1 OR match_limit < 1 THEN
        RAISE EXCEPTION 'min_votes and match_limit are 1 or more' USING ERRCODE = 'IM012';
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            q.region,
            q.hash,
            query_boxes[4 * q.region - 3] + query_boxes[4 * q.region - 1] / 2.0::double precision
                - query_width / 2.0::double precision AS x,
            query_boxes[4 * q.region - 2] + query_boxes[4 * q.region] / 2.0::double precision
                - query_height / 2.0::double precision AS y,
            query_boxes[4 * q.region - 1] + query_boxes[4 * q.region] AS size
        FROM unnest(query_hashes) WITH ORDINALITY AS q (hash, region)
    ),
    hit AS MATERIALIZED (
        SELECT * FROM imgdb.within_any('region', query_hashes, v_max_distance)
    ),
    alike AS MATERIALIZED (
        SELECT q.region AS query_region, r.image_id, r.region, q.x, q.y, q.size, r.box_left,
            r.box_top, r.box_width, r.box_height
        FROM hit
        -- The offset keeps it from being flattened: each hash is one index lookup, also while
        -- nothing is known of the table.
        CROSS JOIN LATERAL (
            SELECT t.* FROM imgdb.image_region AS t WHERE t.region_hash = hit.hash OFFSET 0
        ) AS r
        JOIN asked AS q ON q.hash = hit.query_hash
    ),
    worth AS MATERIALIZED (
        SELECT i.image_id
        FROM (
            SELECT a.image_id
            FROM alike AS a
            GROUP BY a.image_id
            HAVING least(count(DISTINCT a.query_region), count(DISTINCT a.region)) >= min_votes
        ) AS a
        JOIN imgdb.image AS i ON i.image_id = a.image_id
        WHERE
            i.region_recipe IS NOT NULL
            AND (v_collection_id IS NULL OR i.collection_id = v_collection_id)
            AND (v_different IS NULL OR i.image_id <> ALL (v_different))
    ),
    placed AS (
        SELECT
            a.*,
            p.scale,
            a.box_left + a.box_width / 2.0::double precision - p.scale * a.x AS middle_x,
            a.box_top + a.box_height / 2.0::double precision - p.scale * a.y AS middle_y
        FROM worth AS w
        JOIN alike AS a ON a.image_id = w.image_id
        CROSS JOIN LATERAL (
            SELECT (a.box_width + a.box_height) / a.size::double precision AS scale
        ) AS p
    ),
    cell AS (
        SELECT
            p.image_id,
            least(count(DISTINCT p.query_region), count(DISTINCT p.region))::integer AS votes,
            sum(p.box_width + p.box_height) / sum(p.size)::double precision AS scale,
            avg(p.middle_x) AS middle_x,
            avg(p.middle_y) AS middle_y,
            s.cell AS cell_scale,
            m.cell_x + x.more AS cell_x,
            m.cell_y + y.more AS cell_y
        FROM placed AS p
        CROSS JOIN LATERAL (
            SELECT width_bucket(p.scale, v_scales) + t.more FROM generate_series(0, 1) AS t (more)
        ) AS s (cell)
        CROSS JOIN LATERAL (
            SELECT
                floor(p.middle_x / (v_reach * v_scales[least(greatest(s.cell, 1), 49)])),
                floor(p.middle_y / (v_reach * v_scales[least(greatest(s.cell, 1), 49)]))
        ) AS m (cell_x, cell_y)
        CROSS JOIN generate_series(0, 1) AS x (more)
        CROSS JOIN generate_series(0, 1) AS y (more)
        GROUP BY p.image_id, s.cell, m.cell_x + x.more, m.cell_y + y.more
    ),
    best AS (
        SELECT DISTINCT ON (c.image_id)
            c.image_id,
            c.votes,
            c.scale,
            c.middle_x - c.scale * query_width / 2 AS from_x,
            c.middle_y - c.scale * query_height / 2 AS from_y,
            c.middle_x + c.scale * query_width / 2 AS to_x,
            c.middle_y + c.scale * query_height / 2 AS to_y
        FROM cell AS c
        WHERE c.votes >= min_votes
        ORDER BY c.image_id, c.votes DESC, c.cell_scale, c.cell_x, c.cell_y
    ),
    framed AS (
        SELECT
            b.*,
            i.width,
            i.height,
            -- Frames that differ by less than a twentieth are the same.
            greatest(i.width, b.to_x - b.from_x) / 20 AS slack_x,
            greatest(i.height, b.to_y - b.from_y) / 20 AS slack_y,
            greatest(round(b.from_x), 0)::integer AS box_left,
            greatest(round(b.from_y), 0)::integer AS box_top,
            least(round(b.to_x), i.width)::integer AS box_right,
            least(round(b.to_y), i.height)::integer AS box_bottom
        FROM best AS b
        JOIN imgdb.image AS i ON i.image_id = b.image_id
    ),
    related AS (
        SELECT
            f.*,
            f.from_x >= -f.slack_x AND f.to_x <= f.width + f.slack_x
            AND f.from_y >= -f.slack_y AND f.to_y <= f.height + f.slack_y AS holds_query,
            f.from_x <= f.slack_x AND f.to_x >= f.width - f.slack_x
            AND f.from_y <= f.slack_y AND f.to_y >= f.height - f.slack_y AS is_held
        FROM framed AS f
    )
    SELECT
        i.path,
        f.votes,
        (SELECT count(*) FROM imgdb.image_region AS r WHERE r.image_id = f.image_id)::integer,
        CASE
            WHEN f.holds_query AND f.is_held THEN 'same'
            WHEN f.holds_query THEN 'contains'
            WHEN f.is_held THEN 'part'
            ELSE 'overlaps'
        END,
        f.box_left,
        f.box_top,
        f.box_right - f.box_left,
        f.box_bottom - f.box_top,
        greatest(round((f.box_left - f.from_x) / f.scale), 0)::integer,
        greatest(round((f.box_top - f.from_y) / f.scale), 0)::integer,
        round((f.box_right - f.box_left) / f.scale)::integer,
        round((f.box_bottom - f.box_top) / f.scale)::integer,
        coalesce(i.sha256 = query_sha256, false),
        c.name,
        i.image_id,
        i.width,
        i.height,
        i.byte_size,
        i.format,
        i.modified_at,
        i.missing_since
    FROM related AS f
    JOIN imgdb.image AS i ON i.image_id = f.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ORDER BY f.votes DESC, i.path, i.image_id
    LIMIT match_limit;
END
$$;

COMMENT ON FUNCTION imgdb._region_matches(
    integer, integer, integer[], bigint[], bytea, integer, integer, text, integer
) IS
'The images that share regions with a query, most votes first, then by path: what the image is to '
'the query (same, contains it, is a part of it, overlaps it), where in it the query lies, and '
'where in the query it lies. NULL as max_distance stands for the default of the space.';

DROP FUNCTION imgdb._known_members(integer, text, bigint, timestamptz);

CREATE FUNCTION imgdb._known_members(
    for_collection_id integer,
    archive_path text,
    size bigint,
    modified timestamptz,
    needed_region_recipe text
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

COMMENT ON FUNCTION imgdb._known_members(integer, text, bigint, timestamptz, text) IS
'How many images an archive gave and which of its members failed; no row unless it was read, has '
'not changed, and its images have the regions that are needed, if any.';

SELECT imgdb.create_space('region', 'hashes like phash of the regions in imgdb.image_region');
SELECT imgdb.track('imgdb.image_region', 'region_hash', 'region');
