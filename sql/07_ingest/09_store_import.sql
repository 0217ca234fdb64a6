CREATE FUNCTION imgdb._stage_import()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CREATE TEMPORARY TABLE fresh_hash (
        line bigint NOT NULL,
        path text COLLATE "C" NOT NULL,
        ahash bigint,
        dhash bigint,
        phash bigint,
        whash bigint,
        pdq bigint[],
        pdq_quality smallint,
        -- What follows comes from an export only; recipe is never NULL then.
        collection text,
        collection_id integer,
        recipe text,
        flat boolean,
        byte_size bigint,
        modified_at timestamptz,
        sha256 bytea,
        format text,
        width integer,
        height integer,
        frames integer,
        colours bytea,
        missing_since timestamptz,
        ingested_at timestamptz,
        pdq_recipe text,
        region_recipe text,
        regions jsonb,
        different_from jsonb
    ) ON COMMIT DROP;
END
$$;

COMMENT ON FUNCTION imgdb._stage_import() IS
'Makes the transaction''s table pg_temp.fresh_hash, which is copied into and then stored.';

CREATE FUNCTION imgdb._repeated_imports(line_limit integer)
RETURNS TABLE (line bigint, first_line bigint, line_count bigint)
LANGUAGE plpgsql STABLE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT numbered.line, numbered.first_line, count(*) OVER ()
    FROM (
        SELECT n.line, min(n.line) OVER (PARTITION BY n.collection, n.path) AS first_line
        FROM pg_temp.fresh_hash AS n
    ) AS numbered
    WHERE numbered.line > numbered.first_line
    ORDER BY numbered.line
    LIMIT line_limit;
END
$$;

COMMENT ON FUNCTION imgdb._repeated_imports(integer) IS
'The first lines whose path stands in an earlier line, and how many there are.';

-- What people said of images that were exported with it.
CREATE FUNCTION imgdb._store_marks(for_collection_id integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO imgdb.not_duplicate (image_id_a, image_id_b, marked_at)
    SELECT
        least(i.image_id, o.image_id), greatest(i.image_id, o.image_id),
        min((mark.said ->> 2)::timestamptz)
    FROM pg_temp.fresh_hash AS n
    JOIN imgdb.image AS i
        ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
    CROSS JOIN LATERAL jsonb_array_elements(n.different_from) AS mark (said)
    LEFT JOIN imgdb.collection AS c ON c.name = mark.said ->> 0
    JOIN imgdb.image AS o
        ON
            o.collection_id
            = CASE WHEN n.collection_id IS NULL THEN for_collection_id ELSE c.collection_id END
            AND o.path = mark.said ->> 1 AND o.image_id <> i.image_id
    GROUP BY 1, 2
    ON CONFLICT ON CONSTRAINT not_duplicate_pkey DO NOTHING;
END
$$;

COMMENT ON FUNCTION imgdb._store_marks(integer) IS
'Marks the images of pg_temp.fresh_hash as different from those that it names, where these are '
'known.';

-- Hashes that imgdb made from a file are better than what somebody says of them, and stay. Rows
-- that are the same are not touched. INSERT ... ON CONFLICT would do both in one statement, and
-- take longer; here another writer of the same path is a unique violation. No plan_cache_mode is
-- set: custom plans would be forced on the check of the foreign key, too, once for each row.
CREATE FUNCTION imgdb._store_import(for_collection_id integer)
RETURNS TABLE (added bigint, updated bigint)
LANGUAGE plpgsql VOLATILE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_pdq_count bigint := 0;
BEGIN
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.collection IS NOT NULL) THEN
        UPDATE pg_temp.fresh_hash AS n
        SET collection_id = c.collection_id
        FROM imgdb.collection AS c
        WHERE c.name = n.collection;
    END IF;
    DELETE FROM pg_temp.fresh_hash AS n
    USING imgdb.image AS i
    WHERE
        i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        AND i.sha256 IS NOT NULL;
    UPDATE imgdb.image AS i
    SET
        ahash = n.ahash,
        dhash = n.dhash,
        phash = n.phash,
        whash = n.whash,
        flat = coalesce(n.flat, imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash)),
        recipe = coalesce(n.recipe, i.recipe),
        byte_size = n.byte_size,
        modified_at = n.modified_at,
        sha256 = n.sha256,
        format = n.format,
        width = n.width,
        height = n.height,
        frames = n.frames,
        colours = n.colours,
        missing_since = n.missing_since,
        region_recipe = n.region_recipe,
        ingested_at = coalesce(n.ingested_at, now())
    FROM pg_temp.fresh_hash AS n
    WHERE
        i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        -- A list of PDQ hashes says nothing of the others.
        AND (n.recipe IS NOT NULL OR num_nonnulls(n.ahash, n.dhash, n.phash, n.whash) > 0)
        AND (i.ahash, i.dhash, i.phash, i.whash, i.recipe, i.sha256)
        IS DISTINCT FROM
        (n.ahash, n.dhash, n.phash, n.whash, coalesce(n.recipe, i.recipe), n.sha256);
    GET DIAGNOSTICS updated = ROW_COUNT;
    INSERT INTO imgdb.image (
        collection_id, path, byte_size, modified_at, sha256, format, width, height, frames, ahash,
        dhash, phash, whash, flat, recipe, colours, missing_since, region_recipe, ingested_at
    )
    SELECT
        coalesce(n.collection_id, for_collection_id), n.path, n.byte_size, n.modified_at, n.sha256,
        n.format, n.width, n.height, n.frames, n.ahash, n.dhash, n.phash, n.whash,
        coalesce(n.flat, imgdb._is_flat(n.ahash, n.dhash, n.phash, n.whash)),
        coalesce(n.recipe, 'imported'), n.colours, n.missing_since, n.region_recipe,
        coalesce(n.ingested_at, now())
    FROM pg_temp.fresh_hash AS n
    WHERE NOT EXISTS (
        SELECT FROM imgdb.image AS i
        WHERE
            i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
    )
    -- Quicker for the index.
    ORDER BY n.path;
    GET DIAGNOSTICS added = ROW_COUNT;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.pdq IS NOT NULL) THEN
        INSERT INTO imgdb.image_pdq AS p (
            image_id, pdq_1, pdq_2, pdq_3, pdq_4, quality, pdq_recipe
        )
        SELECT
            i.image_id, n.pdq[1], n.pdq[2], n.pdq[3], n.pdq[4], n.pdq_quality,
            coalesce(n.pdq_recipe, 'imported')
        FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        WHERE n.pdq IS NOT NULL
        ORDER BY i.image_id
        ON CONFLICT ON CONSTRAINT image_pdq_pkey DO UPDATE SET
            pdq_1 = excluded.pdq_1,
            pdq_2 = excluded.pdq_2,
            pdq_3 = excluded.pdq_3,
            pdq_4 = excluded.pdq_4,
            quality = excluded.quality,
            pdq_recipe = excluded.pdq_recipe
        WHERE
            (p.pdq_1, p.pdq_2, p.pdq_3, p.pdq_4, p.quality, p.pdq_recipe)
            IS DISTINCT FROM (
                excluded.pdq_1, excluded.pdq_2, excluded.pdq_3, excluded.pdq_4, excluded.quality,
                excluded.pdq_recipe
            );
        GET DIAGNOSTICS v_pdq_count = ROW_COUNT;
        -- Whatever got another PDQ hash was updated, if it was nothing else.
        updated := greatest(updated, v_pdq_count - added);
    END IF;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.regions IS NOT NULL) THEN
        DELETE FROM imgdb.image_region AS r
        USING pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        WHERE r.image_id = i.image_id AND n.regions IS NOT NULL;
        INSERT INTO imgdb.image_region (
            image_id, region, box_left, box_top, box_width, box_height, region_hash
        )
        SELECT
            i.image_id, found.region, (found.box ->> 0)::integer, (found.box ->> 1)::integer,
            (found.box ->> 2)::integer, (found.box ->> 3)::integer,
            imgdb.from_hex(found.box ->> 4)
        FROM pg_temp.fresh_hash AS n
        JOIN imgdb.image AS i
            ON i.collection_id = coalesce(n.collection_id, for_collection_id) AND i.path = n.path
        CROSS JOIN LATERAL jsonb_array_elements(n.regions) WITH ORDINALITY AS found (box, region)
        ORDER BY i.image_id, found.region;
    END IF;
    IF EXISTS (SELECT FROM pg_temp.fresh_hash AS n WHERE n.different_from IS NOT NULL) THEN
        PERFORM imgdb._store_marks(for_collection_id);
    END IF;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION imgdb._store_import(integer) IS
'Puts the rows of pg_temp.fresh_hash, each path of a collection once, into imgdb.image, with what '
'belongs to them; rows that were made from a file stay as they are.';
