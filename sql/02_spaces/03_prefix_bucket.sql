-- Rows are written by one flusher, bulk load or merge at a time (imgdb.space_state), and never by
-- more than one transaction at once. There is no foreign key: each write would lock the one row of
-- its space.
CREATE TABLE imgdb.prefix_bucket ( -- noqa: PRS
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    part bigint NOT NULL,
    hashes bigint[] NOT NULL,
    CONSTRAINT prefix_bucket_pkey PRIMARY KEY (space_id, prefix, part),
    -- 200 hashes stay inside a page, are never TOASTed and can be kept PLAIN, which a search reads
    -- without copying.
    CONSTRAINT prefix_bucket_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
)
-- A flush adds to a row in place where its page has room: no new index entry, nothing to vacuum.
WITH (fillfactor = 70);

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS

-- No plan needs statistics of the array's elements, and ANALYZE would spend seconds on them.
ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

COMMENT ON TABLE imgdb.prefix_bucket IS
'All hashes of a space that share a prefix, in rows of at most 200.';
COMMENT ON COLUMN imgdb.prefix_bucket.space_id IS 'The space whose hashes these are.';
COMMENT ON COLUMN imgdb.prefix_bucket.prefix IS
'The bits that the hashes share in one band, all other bits zero: hash & band_mask.';
COMMENT ON COLUMN imgdb.prefix_bucket.part IS
'Tells rows of one prefix apart: later ones have greater numbers.';
COMMENT ON COLUMN imgdb.prefix_bucket.hashes IS
'The whole hashes. Those that no row holds any more stay until imgdb.drop_stale.';

-- Each load takes a number of its own, so that no two of them make the same row.
CREATE SEQUENCE imgdb._part_sequence INCREMENT BY 1000000;

COMMENT ON SEQUENCE imgdb._part_sequence IS 'Numbers for prefix_bucket.part, a million for a load.';
