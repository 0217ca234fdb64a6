CREATE FUNCTION imgdb._forget_marks()
RETURNS trigger
LANGUAGE plpgsql
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

-- Who said that two pictures are different has seen these pictures. Other bytes with the same four
-- hashes are the same picture (its tags were edited), and other hashes of the same bytes, too (it
-- was hashed by other rules). Of imported rows only the hashes are known.
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
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
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
LANGUAGE plpgsql
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
LANGUAGE plpgsql
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
AS $$
#variable_conflict use_column
BEGIN
    PERFORM imgdb._collection_id(collection_name) WHERE collection_name IS NOT NULL;
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

-- A node is a hash and stands for all images that have it: nobody compares ten thousand copies of
-- one placeholder with each other. Where images are told apart by side or folder, it is what is of
-- one hash, side and folder. An image for which only some edges of its node hold (it is marked as
-- different from another; or it is linked, and its like are no neighbours) is a node of its own.
CREATE FUNCTION imgdb._connected_images(
    of_images bigint[],
    of_hashes bigint[],
    of_sides integer[],
    of_folders integer[],
    max_distance integer,
    linked_a bigint[],
    linked_b bigint[],
    different_a bigint[],
    different_b bigint[]
)
RETURNS TABLE (image_id bigint, first_image_id bigint)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_apart boolean := of_sides IS NOT NULL OR of_folders IS NOT NULL;
    v_lone bigint[] := different_a || different_b
        || CASE WHEN v_apart THEN linked_a || linked_b END;
    -- One entry per image, in step.
    v_images bigint[];
    v_hashes bigint[];
    v_sides integer[];
    v_folders integer[];
    v_nodes integer[];
    -- One entry per node: its parent in a forest whose trees are the groups (union-find).
    v_parents integer[];
    v_a integer;
    v_b integer;
BEGIN
    SELECT
        array_agg(n.image_id), array_agg(n.hash), array_agg(n.side), array_agg(n.folder),
        array_agg(n.node)
    INTO v_images, v_hashes, v_sides, v_folders, v_nodes
    FROM (
        SELECT
            i.image_id, i.hash, i.side, i.folder,
            dense_rank() OVER (
                ORDER BY
                    i.hash, i.side, i.folder, lone.image_id,
                    CASE WHEN i.hash IS NULL THEN i.image_id END
            ) AS node
        FROM unnest(of_images, of_hashes, of_sides, of_folders) AS i (image_id, hash, side, folder)
        LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id) ON lone.image_id = i.image_id
    ) AS n;
    SELECT array_agg(n.node ORDER BY n.node)
    INTO v_parents
    FROM generate_series(1, (SELECT max(n.node) FROM unnest(v_nodes) AS n (node))) AS n (node);
    FOR v_a, v_b IN
        WITH image AS MATERIALIZED (
            SELECT i.image_id, i.hash, i.side, i.folder, i.node
            FROM unnest(v_images, v_hashes, v_sides, v_folders, v_nodes)
                AS i (image_id, hash, side, folder, node)
        ),
        -- Of many folders with near hashes, comparing the first three of each hash and side with
        -- all others is enough: two folders always have a neighbour in common among three.
        node AS MATERIALIZED (
            SELECT
                one.*,
                CASE
                    WHEN one.image_id IS NULL THEN row_number() OVER (
                        PARTITION BY one.hash, one.side, one.image_id IS NULL ORDER BY one.folder
                    )
                    ELSE 0
                END AS place
            FROM (
                SELECT DISTINCT ON (i.node) i.node, i.hash, i.side, i.folder, lone.image_id
                FROM image AS i
                LEFT JOIN (SELECT DISTINCT unnest(v_lone)) AS lone (image_id)
                    ON lone.image_id = i.image_id
                WHERE i.hash IS NOT NULL
                ORDER BY i.node
            ) AS one
        ),
        pair AS (
            SELECT p.hash_a, p.hash_b
            FROM imgdb._pairs_among(
                (SELECT array_agg(DISTINCT h.hash) FROM unnest(v_hashes) AS h (hash)
                    WHERE h.hash IS NOT NULL),
                max_distance
            ) AS p
        ),
        near AS (
            SELECT p.hash_a, p.hash_b, -1 AS beyond FROM pair AS p
            UNION ALL
            -- The other way round, for nodes beyond the first three on the first side.
            SELECT p.hash_b, p.hash_a, 3 FROM pair AS p WHERE of_folders IS NOT NULL
            UNION ALL
            SELECT n.hash, n.hash, -1 FROM node AS n GROUP BY n.hash HAVING count(*) > 1
        )
        SELECT a.node, b.node
        FROM near
        JOIN node AS a ON a.hash = near.hash_a AND a.place <= 3
        JOIN node AS b ON b.hash = near.hash_b AND b.node <> a.node AND b.place > near.beyond
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
            )
        UNION ALL
        SELECT a.node, b.node
        FROM unnest(linked_a, linked_b) AS linked (image_id_a, image_id_b)
        JOIN image AS a ON a.image_id = linked.image_id_a
        JOIN image AS b ON b.image_id = linked.image_id_b AND b.node <> a.node
        WHERE
            (a.side IS NULL OR a.side <> b.side)
            AND (a.folder IS NULL OR a.folder <> b.folder)
            AND NOT EXISTS (
                SELECT FROM unnest(different_a, different_b) AS d (image_id_a, image_id_b)
                WHERE
                    d.image_id_a = least(a.image_id, b.image_id)
                    AND d.image_id_b = greatest(a.image_id, b.image_id)
            )
    LOOP
        -- Each step to the parent also shortens the way (path halving).
        WHILE v_parents[v_a] <> v_a LOOP
            v_parents[v_a] := v_parents[v_parents[v_a]];
            v_a := v_parents[v_a];
        END LOOP;
        WHILE v_parents[v_b] <> v_b LOOP
            v_parents[v_b] := v_parents[v_parents[v_b]];
            v_b := v_parents[v_b];
        END LOOP;
        v_parents[greatest(v_a, v_b)] := least(v_a, v_b);
    END LOOP;
    -- A parent has a smaller number than its child, so it knows its root by the time it is asked.
    FOR v_a IN 1..coalesce(cardinality(v_parents), 0) LOOP
        v_parents[v_a] := v_parents[v_parents[v_a]];
    END LOOP;
    RETURN QUERY
    SELECT member.image_id, member.first_image_id
    FROM (
        SELECT
            m.image_id,
            min(m.image_id) OVER tree AS first_image_id,
            -- The images of one node are neighbours only where nothing sets them apart.
            CASE WHEN v_apart THEN min(m.node) OVER tree ELSE min(m.image_id) OVER tree END AS least,
            CASE WHEN v_apart THEN max(m.node) OVER tree ELSE max(m.image_id) OVER tree END AS most
        FROM unnest(v_images, v_nodes) AS m (image_id, node)
        WINDOW tree AS (PARTITION BY v_parents[m.node])
    ) AS member
    WHERE member.least < member.most;
END
$$;

COMMENT ON FUNCTION imgdb._connected_images(
    bigint[], bigint[], integer[], integer[], integer, bigint[], bigint[], bigint[], bigint[]
) IS
'Groups of images connected by near hashes or by linked pairs, less different pairs (the smaller '
'identity first). Sides and folders are NULL, or only pairs of unlike ones count.';

CREATE OR REPLACE FUNCTION imgdb.duplicate_groups(
    space_name text,
    max_distance integer,
    collection_name text DEFAULT NULL
)
RETURNS TABLE (group_id bigint, image_id bigint, path text, distance_to_first integer)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_collection_id integer;
    v_images bigint[];
    v_hashes bigint[];
    v_different_a bigint[];
    v_different_b bigint[];
BEGIN
    PERFORM imgdb._check_distance(max_distance);
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
    END IF;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb.not_duplicate AS d;
    EXECUTE format(
        'SELECT array_agg(i.image_id), array_agg(i.%1$I) FROM imgdb.image AS i '
        'WHERE i.%1$I IS NOT NULL AND NOT i.flat AND i.missing_since IS NULL '
        'AND ($1 IS NULL OR i.collection_id = $1)',
        v_column
    ) INTO v_images, v_hashes USING v_collection_id;
    RETURN QUERY
    SELECT
        member.first_image_id, member.image_id, i.path,
        imgdb.distance(h.hash, first.hash)
    FROM imgdb._connected_images(
        v_images, v_hashes, NULL, NULL, max_distance, NULL, NULL, v_different_a, v_different_b
    ) AS member
    JOIN imgdb.image AS i ON i.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS h (image_id, hash) ON h.image_id = member.image_id
    JOIN unnest(v_images, v_hashes) AS first (image_id, hash)
        ON first.image_id = member.first_image_id
    ORDER BY 1, 4, 3;
END
$$;

COMMENT ON FUNCTION imgdb.duplicate_groups(text, integer, text) IS
'Groups of images connected by distances of at most max_distance, less pairs in not_duplicate. A '
'group has the image_id of its first image; flat and missing images are in none.';

CREATE FUNCTION imgdb._in_archive(of_path text)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN of_path ~* '\.(zip|cbz|tar|cbt|t[gbx]z|tbz2|tar\.(gz|bz2|xz))!/';

COMMENT ON FUNCTION imgdb._in_archive(text) IS
'Whether a path names a member of an archive, by its spelling.';

-- The narrower tiers compare nothing but equality, so a number for each distinct value will do.
CREATE FUNCTION imgdb._duplicate_key(space_name text, tier_name text)
RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_column name := imgdb._image_column(space_name);
BEGIN
    CASE tier_name
        WHEN 'same-bytes' THEN
            RETURN 'CASE WHEN i.sha256 IS NOT NULL THEN dense_rank() OVER (ORDER BY i.sha256) END';
        WHEN 'same-picture' THEN
            RETURN 'CASE WHEN NOT i.flat AND num_nulls(i.ahash, i.dhash, i.phash, i.whash) = 0 '
                'THEN dense_rank() OVER (ORDER BY i.ahash, i.dhash, i.phash, i.whash) END';
        WHEN 'near' THEN
            RETURN format('CASE WHEN NOT i.flat THEN i.%I END', v_column);
        ELSE
            RAISE EXCEPTION 'there is no tier "%"', tier_name USING
                ERRCODE = 'IM012',
                HINT = 'Tiers are same-bytes, same-picture and near.';
    END CASE;
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_key(text, text) IS
'The expression over imgdb.image AS i whose values are compared to find duplicates of a tier.';

-- Side 2 is the collection that others are compared against, side 1 are these others.
CREATE FUNCTION imgdb._duplicate_candidates(
    space_name text,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint
)
RETURNS TABLE (image_id bigint, hash bigint, side integer, folder integer)
LANGUAGE plpgsql STABLE ROWS 100000
AS $$
#variable_conflict use_column
DECLARE
    v_against_id integer;
    v_collection_ids integer[];
    v_folder text := 'NULL::integer';
    v_once text := '';
BEGIN
    IF against_name IS NOT NULL THEN
        v_against_id := imgdb._collection_id(against_name);
    END IF;
    IF collection_name IS NOT NULL THEN
        v_collection_ids := array_remove(
            ARRAY[imgdb._collection_id(collection_name), v_against_id], NULL
        );
    END IF;
    IF collection_name = against_name THEN
        RAISE EXCEPTION 'collection "%" cannot be compared against itself', collection_name USING
            ERRCODE = 'IM012',
            HINT = 'Leave out the one to compare against: duplicates within it are found then.';
    END IF;
    IF other_folders THEN
        v_folder := 'dense_rank() OVER '
            '(ORDER BY regexp_replace(i.path, ''/[^/]*$'', ''''))::integer';
    END IF;
    -- One file may be in several collections: it counts once, and as one of the reference.
    IF cardinality(v_collection_ids) > 1 OR v_collection_ids IS NULL THEN
        v_once := 'AND NOT EXISTS (SELECT FROM imgdb.image AS o WHERE o.path = i.path '
            'AND o.image_id <> i.image_id AND o.missing_since IS NULL '
            'AND o.sha256 IS NOT NULL AND i.sha256 IS NOT NULL '
            'AND ($1 IS NULL OR o.collection_id = ANY ($1)) '
            'AND (coalesce(o.collection_id = $2, false), i.image_id) '
            '> (coalesce(i.collection_id = $2, false), o.image_id))';
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT i.image_id, %s, CASE WHEN $2 IS NOT NULL THEN '
        'CASE WHEN i.collection_id = $2 THEN 2 ELSE 1 END END, %s FROM imgdb.image AS i '
        'WHERE i.missing_since IS NULL AND ($1 IS NULL OR i.collection_id = ANY ($1)) '
        'AND ($3 IS NULL OR i.byte_size >= $3) '
        'AND ($4 IS NULL OR i.width::bigint * i.height >= $4) %s',
        imgdb._duplicate_key(space_name, tier_name), v_folder, v_once
    ) USING v_collection_ids, v_against_id, least_bytes, least_pixels;
END
$$;

COMMENT ON FUNCTION imgdb._duplicate_candidates(
    text, text, text, text, boolean, bigint, bigint
) IS
'The images that are compared to find duplicates, each file once: what is compared (NULL if only '
'the bytes are), and their side and folder where these matter.';

-- Files of the same bytes whose hashes do not say so: flat ones, or hashed by other rules. Each is
-- paired with one file of the first three folders (82_connected_images.sql), marked ones with all.
CREATE FUNCTION imgdb._same_bytes_pairs(
    of_images bigint[],
    of_hashes bigint[],
    of_sides integer[],
    of_folders integer[],
    marked_images bigint[]
)
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 900
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH candidate AS MATERIALIZED (
        SELECT c.image_id, c.side, c.folder, i.sha256, c.hash, m.image_id IS NOT NULL AS marked
        FROM unnest(of_images, of_hashes, of_sides, of_folders) AS c (image_id, hash, side, folder)
        JOIN imgdb.image AS i ON i.image_id = c.image_id
        LEFT JOIN (SELECT DISTINCT unnest(marked_images)) AS m (image_id)
            ON m.image_id = c.image_id
        WHERE i.sha256 IS NOT NULL
    ),
    file AS MATERIALIZED (
        SELECT c.image_id, c.side, c.folder, c.sha256, c.marked
        FROM candidate AS c
        JOIN (
            SELECT k.sha256
            FROM candidate AS k
            GROUP BY k.sha256
            HAVING
                count(*) > 1
                AND (min(k.hash) <> max(k.hash) OR count(k.hash) < count(*))
        ) AS unlike ON unlike.sha256 = c.sha256
    ),
    numbered AS (
        SELECT
            f.image_id, f.sha256, f.marked,
            dense_rank() OVER (PARTITION BY f.sha256, f.side, f.marked ORDER BY f.folder) AS place,
            row_number() OVER (
                PARTITION BY f.sha256, f.side, f.marked, f.folder ORDER BY f.image_id
            ) AS place_in_folder
        FROM file AS f
    )
    SELECT few.image_id, f.image_id
    FROM numbered AS few
    JOIN file AS f ON f.sha256 = few.sha256 AND f.image_id <> few.image_id
    WHERE few.marked OR few.place <= 3 AND few.place_in_folder = 1;
END
$$;

COMMENT ON FUNCTION imgdb._same_bytes_pairs(
    bigint[], bigint[], integer[], integer[], bigint[]
) IS
'Pairs that connect files of the same bytes among images where their hashes do not.';

-- A mark is about files: it holds for the rows of the same paths in other collections as well.
CREATE FUNCTION imgdb._different_pairs()
RETURNS TABLE (image_id_a bigint, image_id_b bigint)
LANGUAGE plpgsql STABLE ROWS 100
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH alias AS MATERIALIZED (
        SELECT marked.image_id, other.image_id AS alias_id
        FROM (
            SELECT d.image_id_a AS image_id FROM imgdb.not_duplicate AS d
            UNION
            SELECT d.image_id_b FROM imgdb.not_duplicate AS d
        ) AS marked
        JOIN imgdb.image AS i ON i.image_id = marked.image_id
        CROSS JOIN imgdb.collection AS c
        JOIN imgdb.image AS other ON other.collection_id = c.collection_id AND other.path = i.path
        WHERE
            other.image_id = i.image_id
            OR (i.sha256 IS NOT NULL AND other.sha256 IS NOT NULL)
    )
    SELECT DISTINCT least(a.alias_id, b.alias_id), greatest(a.alias_id, b.alias_id)
    FROM imgdb.not_duplicate AS d
    JOIN alias AS a ON a.image_id = d.image_id_a
    JOIN alias AS b ON b.image_id = d.image_id_b AND b.alias_id <> a.alias_id;
END
$$;

COMMENT ON FUNCTION imgdb._different_pairs() IS
'Pairs of images that somebody marked as different, the smaller identity first.';

-- Of a giant chain every pair would have to be measured; nobody looks through such a group.
CREATE FUNCTION imgdb._diameter(of_hashes bigint[])
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN cardinality(of_hashes) <= 5000 THEN (
        SELECT coalesce(max(imgdb.distance(a.hash, b.hash)), 0)
        FROM unnest(of_hashes) AS a (hash)
        INNER JOIN unnest(of_hashes) AS b (hash) ON a.hash < b.hash
    )
END;

COMMENT ON FUNCTION imgdb._diameter(bigint[]) IS
'Largest distance between any two hashes; NULL for more than 5,000 hashes, or none.';

CREATE FUNCTION imgdb._keep_order(
    keep_rule text, pixels bigint, of_bytes bigint, modified timestamptz, of_path text
)
RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    CASE keep_rule
        WHEN 'most-pixels' THEN RETURN -pixels;
        WHEN 'most-bytes' THEN RETURN -of_bytes;
        WHEN 'newest' THEN RETURN -extract(epoch FROM modified);
        WHEN 'oldest' THEN RETURN extract(epoch FROM modified);
        WHEN 'shortest-path' THEN RETURN length(of_path);
        ELSE
            RAISE EXCEPTION 'there is no rule "%" for what to keep', keep_rule USING
                ERRCODE = 'IM012',
                HINT = 'Rules are most-pixels, most-bytes, newest, oldest and shortest-path.';
    END CASE;
END
$$;

COMMENT ON FUNCTION imgdb._keep_order(text, bigint, bigint, timestamptz, text) IS
'The smaller, the rather an image is kept; NULL where the rule does not say.';

CREATE FUNCTION imgdb._duplicates(
    space_name text,
    max_distance integer,
    tier_name text,
    collection_name text,
    against_name text,
    other_folders boolean,
    least_bytes bigint,
    least_pixels bigint,
    keep_rule text,
    keep_folder text,
    group_limit integer,
    linked_a bigint[],
    linked_b bigint[]
)
RETURNS TABLE (
    group_id bigint,
    tier text,
    diameter integer,
    images bigint,
    reclaimable_bytes bigint,
    path text,
    keeper boolean,
    removable boolean,
    distance integer,
    ahash_distance integer,
    dhash_distance integer,
    phash_distance integer,
    whash_distance integer,
    same_bytes boolean,
    collection text,
    image_id bigint,
    width integer,
    height integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    sha256 bytea
)
LANGUAGE plpgsql STABLE ROWS 500 COST 1000000
AS $$
#variable_conflict use_column
DECLARE
    v_column name := imgdb._image_column(space_name);
    v_max_distance integer := coalesce(
        max_distance,
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
    v_images bigint[];
    v_hashes bigint[];
    v_sides integer[];
    v_folders integer[];
    v_different_a bigint[];
    v_different_b bigint[];
    v_linked_a bigint[];
    v_linked_b bigint[];
BEGIN
    PERFORM imgdb._check_distance(v_max_distance);
    IF group_limit < 1 THEN
        RAISE EXCEPTION 'group_limit is %, not 1 or more', group_limit USING
            ERRCODE = 'IM012',
            HINT = 'Leave it out for all groups.';
    END IF;
    SELECT
        array_agg(c.image_id), array_agg(c.hash),
        CASE WHEN against_name IS NOT NULL THEN array_agg(c.side) END,
        CASE WHEN other_folders THEN array_agg(c.folder) END
    INTO v_images, v_hashes, v_sides, v_folders
    FROM imgdb._duplicate_candidates(
        space_name, tier_name, collection_name, against_name, other_folders, least_bytes,
        least_pixels
    ) AS c;
    SELECT array_agg(d.image_id_a), array_agg(d.image_id_b)
    INTO v_different_a, v_different_b
    FROM imgdb._different_pairs() AS d;
    IF tier_name <> 'same-bytes' THEN
        SELECT array_agg(s.image_id_a), array_agg(s.image_id_b)
        INTO v_linked_a, v_linked_b
        FROM imgdb._same_bytes_pairs(
            v_images, v_hashes, v_sides, v_folders, v_different_a || v_different_b
        ) AS s;
    END IF;
    RETURN QUERY
    WITH member AS (
        SELECT
            m.first_image_id,
            i.*,
            c.name AS collection,
            c.name = against_name AS reference,
            i.sha256 IS NOT NULL AND NOT imgdb._in_archive(i.path) AS is_file,
            CASE v_column
                WHEN 'ahash' THEN i.ahash
                WHEN 'dhash' THEN i.dhash
                WHEN 'phash' THEN i.phash
                WHEN 'whash' THEN i.whash
            END AS hash
        FROM imgdb._connected_images(
            v_images, v_hashes, v_sides, v_folders,
            CASE WHEN tier_name = 'near' THEN v_max_distance ELSE 0 END,
            v_linked_a || linked_a, v_linked_b || linked_b, v_different_a, v_different_b
        ) AS m
        JOIN imgdb.image AS i ON i.image_id = m.image_id
        JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    ),
    -- Where there is a reference, its images are kept. What is no file of its own can neither be
    -- removed, nor be checked when others are removed.
    ranked AS (
        SELECT
            m.*,
            row_number() OVER (
                PARTITION BY m.first_image_id
                ORDER BY
                    m.reference DESC NULLS LAST,
                    m.is_file DESC,
                    starts_with(m.path, keep_folder || '/') DESC NULLS LAST,
                    imgdb._keep_order(
                        keep_rule, m.width::bigint * m.height, m.byte_size, m.modified_at, m.path
                    ),
                    m.width::bigint * m.height DESC NULLS LAST,
                    m.byte_size DESC NULLS LAST,
                    m.modified_at,
                    m.path,
                    m.image_id
            ) AS place
        FROM member AS m
    ),
    judged AS (
        SELECT
            r.*,
            r.place > 1 AND r.is_file AND k.is_file AND r.reference IS NOT TRUE AS removable,
            imgdb.distance(r.hash, k.hash) AS distance,
            imgdb.distance(r.ahash, k.ahash) AS ahash_distance,
            imgdb.distance(r.dhash, k.dhash) AS dhash_distance,
            imgdb.distance(r.phash, k.phash) AS phash_distance,
            imgdb.distance(r.whash, k.whash) AS whash_distance,
            coalesce(r.sha256 = k.sha256, false) AS same_bytes,
            coalesce(
                (r.ahash, r.dhash, r.phash, r.whash) = (k.ahash, k.dhash, k.phash, k.whash)
                AND NOT r.flat,
                false
            ) AS same_picture
        FROM ranked AS r
        JOIN ranked AS k ON k.first_image_id = r.first_image_id AND k.place = 1
    ),
    summary AS (
        SELECT
            j.first_image_id,
            count(*) AS images,
            coalesce(sum(j.byte_size) FILTER (WHERE j.removable), 0)::bigint AS reclaimable_bytes,
            CASE
                WHEN bool_and(j.same_bytes) THEN 'same-bytes'
                WHEN bool_and(j.same_picture) THEN 'same-picture'
                ELSE 'near'
            END AS tier,
            array_agg(DISTINCT j.hash) FILTER (WHERE j.hash IS NOT NULL) AS hashes
        FROM judged AS j
        GROUP BY j.first_image_id
        ORDER BY 3 DESC, 2 DESC, 1
        LIMIT group_limit
    )
    SELECT
        s.first_image_id,
        s.tier,
        imgdb._diameter(s.hashes),
        s.images,
        s.reclaimable_bytes,
        j.path,
        j.place = 1,
        j.removable,
        j.distance,
        j.ahash_distance,
        j.dhash_distance,
        j.phash_distance,
        j.whash_distance,
        j.same_bytes,
        j.collection,
        j.image_id,
        j.width,
        j.height,
        j.byte_size,
        j.format,
        j.modified_at,
        j.sha256
    FROM summary AS s
    JOIN judged AS j ON j.first_image_id = s.first_image_id
    ORDER BY s.reclaimable_bytes DESC, s.images DESC, s.first_image_id, j.place;
END
$$;

COMMENT ON FUNCTION imgdb._duplicates(
    text, integer, text, text, text, boolean, bigint, bigint, text, text, integer, bigint[],
    bigint[]
) IS
'Groups of duplicates of a tier (same-bytes, same-picture, near: each with the narrower ones), '
'most reclaimable bytes first; in a group the keeper first, distances are those to it. linked_a '
'and linked_b are further pairs of images that count as near.';
