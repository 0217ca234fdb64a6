-- The only statement that writes buckets. array_agg ... ORDER BY and DISTINCT ON make PostgreSQL
-- sort: its hash of a bigint XORs the two halves, so prefixes and perceptual hashes collide there
-- by the thousand, and hash aggregation of a million of them takes minutes instead of seconds.
CREATE FUNCTION imgdb._append_buckets(
    for_space_id smallint,
    new_prefixes bigint[],
    new_hashes bigint[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    INSERT INTO imgdb.prefix_bucket (space_id, prefix, hashes)
    SELECT for_space_id, numbered.prefix, array_agg(numbered.hash ORDER BY numbered.hash)
    FROM (
        SELECT
            entry.prefix,
            entry.hash,
            (row_number() OVER (PARTITION BY entry.prefix ORDER BY entry.hash) - 1) / 200 AS part
        FROM (
            SELECT DISTINCT ON (given.prefix, given.hash) given.prefix, given.hash
            FROM unnest(new_prefixes, new_hashes) AS given (prefix, hash)
            ORDER BY given.prefix, given.hash
        ) AS entry
    ) AS numbered
    GROUP BY numbered.prefix, numbered.part;
END
$$;

COMMENT ON FUNCTION imgdb._append_buckets(smallint, bigint[], bigint[]) IS
'Appends pairs of prefix and hash as bucket rows, grouped by prefix, at most 200 hashes a row.';

CREATE FUNCTION imgdb._index_hashes(for_space_id smallint, masks bigint[], new_hashes bigint[])
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_prefixes bigint[];
    v_hashes bigint[];
BEGIN
    SELECT array_agg(given.hash & band.mask), array_agg(given.hash)
    INTO v_prefixes, v_hashes
    FROM unnest(new_hashes) AS given (hash), unnest(masks) AS band (mask);
    PERFORM imgdb._append_buckets(for_space_id, v_prefixes, v_hashes);
END
$$;

COMMENT ON FUNCTION imgdb._index_hashes(smallint, bigint[], bigint[]) IS
'Indexes hashes in a space: puts each into one bucket per band, the masks being its bands.';
