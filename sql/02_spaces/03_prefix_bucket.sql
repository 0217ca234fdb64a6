-- Rows are only appended by writers and replaced by compact. There is no key beside the index and
-- no foreign key (each append would lock the one row of its space): writers never wait for each
-- other.
CREATE TABLE imgdb.prefix_bucket ( -- noqa: PRS
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    hashes bigint[] NOT NULL,
    -- 200 hashes stay inside a page, are never TOASTed and can be kept PLAIN, which a search reads
    -- without copying.
    CONSTRAINT prefix_bucket_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
);

ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS

-- No plan needs statistics of the array's elements, and ANALYZE would spend seconds on them.
ALTER TABLE imgdb.prefix_bucket ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

-- Without a key, moving rows between nodes of a distributed PostgreSQL needs the whole row.
ALTER TABLE imgdb.prefix_bucket REPLICA IDENTITY FULL;

CREATE INDEX prefix_bucket_space_id_prefix_idx ON imgdb.prefix_bucket (space_id, prefix);

COMMENT ON TABLE imgdb.prefix_bucket IS
'All hashes of a space that share a prefix, in rows of at most 200; compact merges the rows.';
COMMENT ON COLUMN imgdb.prefix_bucket.space_id IS 'The space whose hashes these are.';
COMMENT ON COLUMN imgdb.prefix_bucket.prefix IS
'The bits that the hashes share in one band, all other bits zero: hash & band_mask.';
COMMENT ON COLUMN imgdb.prefix_bucket.hashes IS
'The whole hashes. Doubles and hashes that no row holds any more stay until the next compact.';
COMMENT ON INDEX imgdb.prefix_bucket_space_id_prefix_idx IS 'What every search reads.';
