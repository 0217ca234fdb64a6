CREATE VIEW imgdb.space_health AS
SELECT
    s.name,
    s.owner_name,
    cardinality(s.band_masks) AS bands,
    st.hash_count,
    coalesce(f.fresh_rows, 0) AS fresh_rows,
    coalesce(f.fresh_hashes, 0) AS fresh_hashes,
    st.scan_from,
    st.flushed_at,
    st.merged_at,
    coalesce(t.tracked_columns, 0) AS tracked_columns,
    s.shadow_of IS NOT NULL AS is_being_rebuilt
FROM imgdb.space AS s
INNER JOIN imgdb.space_state AS st ON s.space_id = st.space_id
LEFT JOIN (
    SELECT
        fresh.space_id,
        count(*) AS fresh_rows,
        sum(cardinality(fresh.hashes)) AS fresh_hashes
    FROM imgdb.fresh_hashes AS fresh
    GROUP BY fresh.space_id
) AS f ON s.space_id = f.space_id
LEFT JOIN (
    SELECT
        tracked.space_id,
        count(*) AS tracked_columns
    FROM imgdb.tracked_column AS tracked
    GROUP BY tracked.space_id
) AS t ON s.space_id = t.space_id;

COMMENT ON VIEW imgdb.space_health IS
'One row a space, for a monitor: owner, hashes in the buckets (nearly), fresh rows and hashes, the '
'distance from which on a search reads every hash, the last flush and compact, and how many columns '
'feed it. Reads no bucket.';
COMMENT ON COLUMN imgdb.space_health.name IS 'The space.';
COMMENT ON COLUMN imgdb.space_health.owner_name IS 'The role that looks after it.';
COMMENT ON COLUMN imgdb.space_health.bands IS 'How many bands its hashes are split into.';
COMMENT ON COLUMN imgdb.space_health.hash_count IS 'Hashes in its buckets, nearly.';
COMMENT ON COLUMN imgdb.space_health.fresh_rows IS
'Rows of its fresh level; thousands of them mean that nobody flushes.';
COMMENT ON COLUMN imgdb.space_health.fresh_hashes IS 'Hashes in its fresh level.';
COMMENT ON COLUMN imgdb.space_health.scan_from IS
'The smallest distance at which a search reads every hash.';
COMMENT ON COLUMN imgdb.space_health.flushed_at IS 'When fresh hashes were last put into buckets.';
COMMENT ON COLUMN imgdb.space_health.merged_at IS 'When the last compact was done.';
COMMENT ON COLUMN imgdb.space_health.tracked_columns IS 'How many columns feed it.';
COMMENT ON COLUMN imgdb.space_health.is_being_rebuilt IS
'Whether it is the shadow that a rebuild fills.';
