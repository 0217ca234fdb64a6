-- The parts of its name are the hashes that it adds up: the first is what query_hashes begins with.
CREATE TABLE imgdb.rule (
    name text NOT NULL,
    default_max_distance integer NOT NULL,
    CONSTRAINT rule_pkey PRIMARY KEY (name),
    -- Everything that searches images by a sum takes two hashes.
    CONSTRAINT rule_name_check CHECK (name = 'phash+dhash'),
    CONSTRAINT rule_default_max_distance_check CHECK (default_max_distance BETWEEN 0 AND 128)
);

COMMENT ON TABLE imgdb.rule IS
'What counts as alike by a sum: phash+dhash. A hash alone has a space of its name.';
COMMENT ON COLUMN imgdb.rule.name IS 'What the functions call it by: its hashes, joined by +.';
COMMENT ON COLUMN imgdb.rule.default_max_distance IS
'The largest sum of distances that counts as alike where nobody says otherwise, 0 to 128.';

CREATE TABLE imgdb.collection_rule (
    collection_id integer NOT NULL,
    rule_name text NOT NULL,
    default_max_distance integer NOT NULL,
    CONSTRAINT collection_rule_pkey PRIMARY KEY (collection_id, rule_name),
    CONSTRAINT collection_rule_collection_id_fkey FOREIGN KEY (collection_id)
    REFERENCES imgdb.collection (collection_id) ON DELETE CASCADE,
    CONSTRAINT collection_rule_rule_name_check CHECK (
        rule_name IN ('phash+dhash', 'ahash', 'dhash', 'phash', 'whash')
    ),
    CONSTRAINT collection_rule_default_max_distance_check CHECK (
        default_max_distance BETWEEN 0
        AND CASE rule_name WHEN 'phash+dhash' THEN 128 ELSE 64 END
    )
);

COMMENT ON TABLE imgdb.collection_rule IS
'Defaults of collections of their own: how crowded the hashes are depends on the pictures.';
COMMENT ON COLUMN imgdb.collection_rule.collection_id IS 'The collection.';
COMMENT ON COLUMN imgdb.collection_rule.rule_name IS 'The rule, or the space of a hash alone.';
COMMENT ON COLUMN imgdb.collection_rule.default_max_distance IS
'The largest distance that counts as alike in a search of this collection.';

CREATE FUNCTION imgdb._rule_hashes(space_name text)
RETURNS name[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM imgdb.rule AS r WHERE r.name = space_name) THEN
        RETURN pg_catalog.string_to_array(space_name, '+')::name[];
    END IF;
    RETURN ARRAY[imgdb._image_column(space_name)];
END
$$;

COMMENT ON FUNCTION imgdb._rule_hashes(text) IS
'The columns of imgdb.image that a rule adds up: two, or that of a space; error IM001 or IM009.';

CREATE FUNCTION imgdb._default_distance(space_name text, collection_name text)
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(
        (
            SELECT o.default_max_distance
            FROM imgdb.collection_rule AS o
            JOIN imgdb.collection AS c ON c.collection_id = o.collection_id
            WHERE c.name = collection_name AND o.rule_name = space_name
        ),
        (SELECT r.default_max_distance FROM imgdb.rule AS r WHERE r.name = space_name),
        (SELECT s.default_max_distance FROM imgdb.space AS s WHERE s.name = space_name)
    );
END
$$;

COMMENT ON FUNCTION imgdb._default_distance(text, text) IS
'The distance that counts as alike where nobody says otherwise: that of the collection, else that '
'of the rule or space.';

CREATE FUNCTION imgdb._check_rule_distance(rule_size integer, max_distance integer)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF rule_size = 1 THEN
        PERFORM imgdb._check_distance(max_distance);
    ELSIF max_distance IS NULL OR max_distance NOT BETWEEN 0 AND 64 * rule_size THEN
        RAISE EXCEPTION 'max_distance is %, not between 0 and %',
            coalesce(max_distance::text, 'NULL'), 64 * rule_size USING
            ERRCODE = 'IM002',
            HINT = 'It is a sum: the differing bits of all hashes of the rule.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_rule_distance(integer, integer) IS
'Error IM002 unless max_distance is one of a hash (0 to 64), or of a sum of so many.';

-- Of what lacks a hash, the other one decides alone and counts twice: so rows that came with one
-- hash are found by the sum, too, within half of it.
CREATE FUNCTION imgdb._rule_distance(
    hash_a bigint, second_a bigint, hash_b bigint, second_b bigint, is_sum boolean
)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN is_sum
        THEN coalesce(
            imgdb.distance(hash_a, hash_b) + imgdb.distance(second_a, second_b),
            2 * imgdb.distance(hash_a, hash_b),
            2 * imgdb.distance(second_a, second_b)
        )
    ELSE imgdb.distance(hash_a, hash_b)
END;

COMMENT ON FUNCTION imgdb._rule_distance(bigint, bigint, bigint, bigint, boolean) IS
'The distance of two images by a rule: of their hashes, or the sum of that and of their second '
'ones; where one of the four is NULL, twice the distance of the others.';
