-- A few new images are looked up by the indexes, one by one. For all images the indexes are read,
-- which takes a second or so at a million, and less than the run that brought so many. Plans are
-- custom in the first calls of a session, and there is one call.
CREATE FUNCTION imgdb._copies(new_digests bytea[], new_phashes bigint[])
RETURNS TABLE (copies bigint, same_hash bigint, groups bigint)
LANGUAGE plpgsql STABLE ROWS 1 COST 1000000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        (
            SELECT coalesce(sum(g.held - 1), 0)::bigint
            FROM (
                SELECT count(*) AS held
                FROM imgdb.image AS i
                WHERE i.sha256 IS NOT NULL AND (new_digests IS NULL OR i.sha256 = ANY (new_digests))
                GROUP BY i.sha256
                HAVING count(*) > 1
            ) AS g
        ),
        coalesce(sum(h.held), 0)::bigint,
        count(*)
    FROM (
        SELECT count(*) AS held
        FROM imgdb.image AS i
        WHERE i.phash IS NOT NULL AND (new_phashes IS NULL OR i.phash = ANY (new_phashes))
        GROUP BY i.phash
        HAVING count(*) > 1
    ) AS h;
END
$$;

COMMENT ON FUNCTION imgdb._copies(bytea[], bigint[]) IS
'Of the images with these digests and hashes, or of all: how many have the bytes of another one, '
'how many share their phash with others, and how many groups these are.';
