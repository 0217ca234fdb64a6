CREATE FUNCTION imgdb.set_default_max_distance(
    space_name text, max_distance integer, collection_name text DEFAULT NULL
)
RETURNS integer
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_is_rule boolean := EXISTS (SELECT 1 FROM imgdb.rule AS r WHERE r.name = space_name);
    v_space_id smallint;
    v_collection_id integer;
    v_before integer;
BEGIN
    IF collection_name IS NOT NULL THEN
        v_collection_id := imgdb._collection_id(collection_name);
        PERFORM imgdb._rule_hashes(space_name);
        SELECT o.default_max_distance
        INTO v_before
        FROM imgdb.collection_rule AS o
        WHERE o.collection_id = v_collection_id AND o.rule_name = space_name
        FOR UPDATE;
        IF max_distance IS NULL THEN
            DELETE FROM imgdb.collection_rule AS o
            WHERE o.collection_id = v_collection_id AND o.rule_name = space_name;
            RETURN v_before;
        END IF;
    END IF;
    PERFORM imgdb._check_rule_distance(CASE WHEN v_is_rule THEN 2 ELSE 1 END, max_distance);
    IF collection_name IS NOT NULL THEN
        INSERT INTO imgdb.collection_rule AS o (collection_id, rule_name, default_max_distance)
        VALUES (v_collection_id, space_name, max_distance)
        ON CONFLICT ON CONSTRAINT collection_rule_pkey
        DO UPDATE SET default_max_distance = excluded.default_max_distance;
    ELSIF v_is_rule THEN
        SELECT r.default_max_distance
        INTO v_before
        FROM imgdb.rule AS r
        WHERE r.name = space_name
        FOR UPDATE;
        UPDATE imgdb.rule AS r
        SET default_max_distance = max_distance
        WHERE r.name = space_name AND r.default_max_distance <> max_distance;
    ELSE
        -- Locked, so that what is returned is what this call replaced.
        v_space_id := imgdb._claim_space(space_name);
        SELECT s.default_max_distance
        INTO v_before
        FROM imgdb.space AS s
        WHERE s.space_id = v_space_id;
        UPDATE imgdb.own_space AS s
        SET default_max_distance = max_distance, claimed_by = NULL
        WHERE s.space_id = v_space_id;
    END IF;
    RETURN v_before;
END
$$;

COMMENT ON FUNCTION imgdb.set_default_max_distance(text, integer, text) IS
'Sets the largest distance that counts as alike where nobody says otherwise, in a space or by a '
'rule, for all images or for those of a collection (NULL takes that back); returns the one before, '
'NULL if the collection had none; error IM001 for an unknown space or rule, IM002 for a distance '
'that none can have, IM009 for a collection and a space that holds no images, IM011 for an unknown '
'collection.';
