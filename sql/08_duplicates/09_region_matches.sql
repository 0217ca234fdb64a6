-- How many votes are more than chance. Of the images that share a region with a picture by chance,
-- few share another one at the same place (docs/regions.md: 1 in 78 to 1 in 16), few of these a
-- third one, and so on; here 1 in 20. So among H images that share any region, H / 20 ^ (votes - 1)
-- are wrong. How common the regions are, how many are asked for, how many are stored: all that is
-- in H.
CREATE FUNCTION imgdb._votes_needed(images bigint, wrong_per_query double precision)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN greatest(1 + ln(greatest(images, 1) / wrong_per_query) / ln(20::double precision), 2);

COMMENT ON FUNCTION imgdb._votes_needed(bigint, double precision) IS
'How many votes an image needs, so that a search shows so many wrong images on average, if so many '
'images share a region with the query.';

-- What more than one of 20 images have says less: two of them share it by more than such a chance.
-- A few copies in a small collection are not common yet.
CREATE FUNCTION imgdb._vote_weight(images bigint, images_stored bigint)
RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN least(
    ln((images_stored + 1000) / greatest(images - 1, 1)::double precision)
    / ln(20::double precision), 1
);

COMMENT ON FUNCTION imgdb._vote_weight(bigint, bigint) IS
'What a vote by a region counts that so many of the images share, 0 to 1.';

-- Each pair of alike regions says where in the image the query would lie: at which scale, and where
-- its middle falls. Pairs that agree on that lie in one cell; a cell's votes are as many pairs as
-- have neither a region of the query nor one of the image in common, so that neither a query of
-- fifty equal tiles nor an image of them wins by repetition. Cells overlap by half in each of the
-- three dimensions: what is less than half a cell apart shares one. A cell is 2/3 of an octave of
-- scale, and 3/10 of the query's longer side in both directions. Without min_votes, the votes must
-- be more than chance, and what is common counts less.
CREATE FUNCTION imgdb._region_matches(
    query_width integer,
    query_height integer,
    query_boxes integer[],
    query_hashes bigint[],
    query_sha256 bytea,
    max_distance integer,
    min_votes integer,
    wrong_per_query double precision,
    collection_name text,
    match_limit integer,
    alike_asked bigint[] DEFAULT NULL,
    alike_stored bigint[] DEFAULT NULL
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
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    missing_since timestamptz
)
LANGUAGE plpgsql STABLE ROWS 10 COST 100000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = 'region')
    );
    v_collection_id integer := imgdb._collection_id(collection_name);
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
    IF min_votes < 1 OR match_limit < 1 OR wrong_per_query <= 0 THEN
        RAISE EXCEPTION 'min_votes and match_limit are 1 or more, wrong_per_query is above 0' USING
            ERRCODE = 'IM012';
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
        SELECT w.query_hash, w.hash
        FROM imgdb.within_any('region', query_hashes, v_max_distance) AS w
        WHERE alike_asked IS NULL
        UNION ALL
        SELECT * FROM unnest(alike_asked, alike_stored)
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
    common AS MATERIALIZED (
        SELECT a.query_region, count(DISTINCT a.image_id) AS images
        FROM alike AS a
        GROUP BY a.query_region
    ),
    -- What at most one of 20 images has counts in full: more of them need not be counted.
    stored AS MATERIALIZED (
        SELECT count(*) AS images
        FROM (
            SELECT FROM imgdb.image AS i
            WHERE i.region_recipe IS NOT NULL
            LIMIT (SELECT 20 * max(c.images) FROM common AS c)
        ) AS enough
    ),
    vote AS MATERIALIZED (
        SELECT
            c.query_region,
            CASE
                WHEN min_votes IS NULL
                    THEN imgdb._vote_weight(c.images, (SELECT s.images FROM stored AS s))
                ELSE 1
            END AS weight
        FROM common AS c
    ),
    needed AS MATERIALIZED (
        SELECT
            coalesce(
                min_votes, imgdb._votes_needed(count(DISTINCT a.image_id), wrong_per_query)
            ) AS votes
        FROM alike AS a
    ),
    worth AS MATERIALIZED (
        SELECT i.image_id
        FROM (
            SELECT a.image_id
            FROM alike AS a
            GROUP BY a.image_id
            HAVING
                least(count(DISTINCT a.query_region), count(DISTINCT a.region))
                >= (SELECT n.votes FROM needed AS n)
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
            v.weight,
            p.scale,
            a.box_left + a.box_width / 2.0::double precision - p.scale * a.x AS middle_x,
            a.box_top + a.box_height / 2.0::double precision - p.scale * a.y AS middle_y
        FROM worth AS w
        JOIN alike AS a ON a.image_id = w.image_id
        JOIN vote AS v ON v.query_region = a.query_region
        CROSS JOIN LATERAL (
            SELECT (a.box_width + a.box_height) / a.size::double precision AS scale
        ) AS p
    ),
    cell AS (
        SELECT
            p.image_id,
            least(count(DISTINCT p.query_region), count(DISTINCT p.region))::integer AS votes,
            avg(p.weight) AS weight,
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
        WHERE c.votes * c.weight >= (SELECT n.votes FROM needed AS n)
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
        i.frames,
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
    integer, integer, integer[], bigint[], bytea, integer, integer, double precision, text,
    integer, bigint[], bigint[]
) IS
'The images that share regions with a query, most votes first, then by path: what the image is to '
'the query (same, contains it, is a part of it, overlaps it), where in it the query lies, and '
'where in the query it lies. NULL as max_distance stands for the default of the space, '
'NULL as min_votes for as many as leave wrong_per_query images by chance. Which hashes are alike '
'is searched, or alike_asked and alike_stored say it in pairs.';
