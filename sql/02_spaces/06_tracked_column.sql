CREATE TABLE imgdb.tracked_column (
    track_key uuid NOT NULL DEFAULT gen_random_uuid(),
    table_id regclass NOT NULL,
    -- A dump carries the name of the table and this number as it was: where the two are not one
    -- table, the rows come from a dump, and the column is known by its name only.
    table_number oid NOT NULL,
    column_name name NOT NULL,
    column_number smallint NOT NULL,
    space_id smallint NOT NULL,
    CONSTRAINT tracked_column_pkey PRIMARY KEY (table_id, column_name, space_id),
    CONSTRAINT tracked_column_track_key_key UNIQUE (track_key),
    CONSTRAINT tracked_column_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id)
);

CREATE INDEX tracked_column_space_id_idx ON imgdb.tracked_column (space_id);

COMMENT ON TABLE imgdb.tracked_column IS
'Which table columns feed which space; track and untrack keep it. All triggers follow from it.';
COMMENT ON COLUMN imgdb.tracked_column.track_key IS
'What the triggers know the row by: no other database has it.';
COMMENT ON COLUMN imgdb.tracked_column.table_id IS 'The table.';
COMMENT ON COLUMN imgdb.tracked_column.table_number IS
'The number of the table when it was tracked.';
COMMENT ON COLUMN imgdb.tracked_column.column_name IS 'Its bigint column of hashes.';
COMMENT ON COLUMN imgdb.tracked_column.column_number IS
'The number of the column when it was tracked: another column of its name is not tracked.';
COMMENT ON COLUMN imgdb.tracked_column.space_id IS 'The space that the hashes are indexed in.';
COMMENT ON INDEX imgdb.tracked_column_space_id_idx IS 'The columns of a space.';

CREATE FUNCTION imgdb._forget_dropped()
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.tracked_column AS t
    WHERE NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = t.table_id);
END
$$;

COMMENT ON FUNCTION imgdb._forget_dropped() IS 'Removes tracked columns whose table is dropped.';
