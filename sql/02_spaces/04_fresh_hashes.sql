-- The fresh level: what statements brought and no flush has put into buckets yet. Every search
-- reads all of it, so it stays small; it has no index, so a writer pays for one row at its end.
CREATE TABLE imgdb.fresh_hashes ( -- noqa: PRS
    space_id smallint NOT NULL,
    hashes bigint[] NOT NULL,
    CONSTRAINT fresh_hashes_hashes_check CHECK (cardinality(hashes) BETWEEN 1 AND 200)
);

ALTER TABLE imgdb.fresh_hashes ALTER COLUMN hashes SET STORAGE PLAIN; -- noqa: PRS
ALTER TABLE imgdb.fresh_hashes ALTER COLUMN hashes SET STATISTICS 0; -- noqa: PRS

COMMENT ON TABLE imgdb.fresh_hashes IS
'Hashes that writers appended and that are not in the buckets yet; every search reads them, too.';
COMMENT ON COLUMN imgdb.fresh_hashes.space_id IS 'The space whose hashes these are.';
COMMENT ON COLUMN imgdb.fresh_hashes.hashes IS 'What one statement brought, at most 200 a row.';
