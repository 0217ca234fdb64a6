CREATE VIEW imgdb.space_health AS
WITH fresh AS (
    SELECT
        f.space_id,
        count(*) AS fresh_rows,
        sum(cardinality(f.hashes)) AS fresh_hashes
    FROM imgdb.fresh_hashes AS f
    GROUP BY f.space_id
),

tracked AS (
    SELECT
        t.space_id,
        count(*) AS tracked_columns
    FROM imgdb.tracked_column AS t
    GROUP BY t.space_id
)

SELECT
    s.name,
    s.owner_name,
    st.hash_count,
    st.scan_from,
    st.flushed_at,
    st.merged_at,
    cardinality(s.band_masks) AS bands,
    coalesce(fresh.fresh_rows, 0) AS fresh_rows,
    coalesce(fresh.fresh_hashes, 0) AS fresh_hashes,
    coalesce(tracked.tracked_columns, 0) AS tracked_columns,
    s.shadow_of IS NOT NULL AS is_being_rebuilt
FROM imgdb.space AS s
INNER JOIN imgdb.space_state AS st ON s.space_id = st.space_id
LEFT JOIN fresh ON s.space_id = fresh.space_id
LEFT JOIN tracked ON s.space_id = tracked.space_id;

COMMENT ON VIEW imgdb.space_health IS
'One row a space, for a monitor: owner, hashes in the buckets (nearly), fresh rows and hashes, '
'the distance from which on a search reads every hash, the last flush and compact, and how many '
'columns feed it. Reads no bucket.';
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
