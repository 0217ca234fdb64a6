CREATE TABLE imgdb.tracked_column (
    table_id regclass NOT NULL,
    column_name name NOT NULL,
    space_id smallint NOT NULL,
    CONSTRAINT tracked_column_pkey PRIMARY KEY (table_id, column_name),
    CONSTRAINT tracked_column_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id)
);

CREATE INDEX tracked_column_space_id_idx ON imgdb.tracked_column (space_id);

COMMENT ON TABLE imgdb.tracked_column IS
'Which table columns feed which space; track and untrack keep it.';
COMMENT ON COLUMN imgdb.tracked_column.table_id IS
'The table; compact forgets it if it is dropped.';
COMMENT ON COLUMN imgdb.tracked_column.column_name IS 'Its bigint column of hashes.';
COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are indexed in.';
COMMENT ON INDEX imgdb.tracked_column_space_id_idx IS 'The columns of a space, for compact.';
