-- array_agg ... ORDER BY and DISTINCT ON make PostgreSQL sort: its hash of a bigint XORs the two
-- halves, so prefixes and perceptual hashes collide there by the thousand, and hash aggregation of
-- a million of them takes minutes instead of seconds.
CREATE FUNCTION imgdb._add_rows(
    for_space_id smallint,
    new_prefixes bigint[],
    new_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_part bigint := nextval('imgdb._part_sequence');
BEGIN
    INSERT INTO imgdb.prefix_bucket (space_id, prefix, part, hashes)
    SELECT for_space_id, cut.prefix, v_part + cut.first / 200, cut.hashes[cut.first:cut.first + 199]
    FROM (
        SELECT
            bucket.prefix,
            bucket.hashes,
            generate_series(1, cardinality(bucket.hashes), 200) AS first
        FROM (
            SELECT entry.prefix, array_agg(entry.hash ORDER BY entry.hash) AS hashes
            FROM (
                SELECT DISTINCT ON (given.prefix, given.hash) given.prefix, given.hash
                FROM unnest(new_prefixes, new_hashes) AS given (prefix, hash)
                ORDER BY given.prefix, given.hash
            ) AS entry
            GROUP BY entry.prefix
        ) AS bucket
    ) AS cut;
END
$$;

COMMENT ON FUNCTION imgdb._add_rows(smallint, bigint[], bigint[]) IS
'Adds pairs of prefix and hash as new bucket rows, grouped by prefix, at most 200 hashes a row.';

CREATE FUNCTION imgdb._count_in(of_space_id smallint, more_hashes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before bigint := (SELECT s.hash_count FROM imgdb.space_state AS s WHERE s.space_id = of_space_id);
    v_after bigint := greatest(v_before + more_hashes, 0);
BEGIN
    UPDATE imgdb.space_state AS s
    SET
        hash_count = v_after,
        -- Looked at anew for each eighth more: it changes slowly.
        scan_from = CASE
            WHEN floor(6 * ln(v_before + 1.0)) = floor(6 * ln(v_after + 1.0)) THEN s.scan_from
            ELSE imgdb._scan_from(of_space_id, v_after)
        END,
        flushed_by = pg_current_xact_id(),
        flushed_at = now()
    WHERE s.space_id = of_space_id;
END
$$;

COMMENT ON FUNCTION imgdb._count_in(smallint, bigint) IS
'Notes that the buckets of a space hold so many hashes more, and which searches then scan.';
