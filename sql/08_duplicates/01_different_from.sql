CREATE FUNCTION imgdb._different_from(image_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT array_agg(other.image_id)
        FROM (
            SELECT pair.image_id
            FROM (
                SELECT d.image_id_b AS image_id FROM imgdb.not_duplicate AS d
                WHERE d.image_id_a = ANY (image_ids)
                UNION ALL
                SELECT d.image_id_a FROM imgdb.not_duplicate AS d
                WHERE d.image_id_b = ANY (image_ids)
            ) AS pair
            WHERE pair.image_id <> ALL (image_ids)
            GROUP BY pair.image_id
            HAVING count(*) = cardinality(image_ids)
        ) AS other
    );
END
$$;

COMMENT ON FUNCTION imgdb._different_from(bigint[]) IS
'The images that somebody marked as different from every one of these distinct images; or NULL.';
