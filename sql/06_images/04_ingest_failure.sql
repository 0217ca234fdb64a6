CREATE TABLE imgdb.ingest_failure (
    collection_id integer NOT NULL,
    path text COLLATE "C" NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL DEFAULT '',
    byte_size bigint,
    modified_at timestamptz,
    failed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT ingest_failure_pkey PRIMARY KEY (collection_id, path),
    CONSTRAINT ingest_failure_collection_id_fkey FOREIGN KEY (collection_id)
    REFERENCES imgdb.collection (collection_id)
);

COMMENT ON TABLE imgdb.ingest_failure IS 'Why a file is not searchable.';
COMMENT ON COLUMN imgdb.ingest_failure.collection_id IS 'The collection it was meant for.';
COMMENT ON COLUMN imgdb.ingest_failure.path IS 'The file, spelled as in image.path.';
COMMENT ON COLUMN imgdb.ingest_failure.reason IS
'The class of the reason: truncated, too-large, ...';
COMMENT ON COLUMN imgdb.ingest_failure.detail IS 'The reason in words.';
COMMENT ON COLUMN imgdb.ingest_failure.byte_size IS
'Size of the file in bytes: it is tried again when that changes.';
COMMENT ON COLUMN imgdb.ingest_failure.modified_at IS
'Modification time of the file: it is tried again when that changes.';
COMMENT ON COLUMN imgdb.ingest_failure.failed_at IS 'When it failed last.';
