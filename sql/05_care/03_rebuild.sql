-- Writers wait: their tables are locked before the buckets are emptied, so that all hashes that
-- were indexed by old masks are there to be deleted. A track into the space waits, and so does
-- compact.
CREATE FUNCTION imgdb.rebuild(space_name text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_space_id smallint := imgdb._space_id(space_name);
    v_source record;
BEGIN
    PERFORM FROM imgdb.space AS s WHERE s.space_id = v_space_id FOR NO KEY UPDATE;
    PERFORM imgdb._hold_off_compact(v_space_id);
    FOR v_source IN SELECT * FROM imgdb._sources(v_space_id) LOOP
        PERFORM imgdb._put_append_triggers(v_source.relation, v_source.hash_column, v_space_id);
    END LOOP;
    PERFORM imgdb._prepare_probes(v_space_id);
    DELETE FROM imgdb.prefix_bucket AS bucket WHERE bucket.space_id = v_space_id;
    FOR v_source IN SELECT * FROM imgdb._sources(v_space_id) LOOP
        PERFORM imgdb._backfill(v_source.relation, v_source.hash_column, v_space_id);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.rebuild(text) IS
'Makes probes, triggers and buckets of a space anew from its tracked columns, in one transaction.';

CREATE FUNCTION imgdb._rebuild_for_masks()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb.rebuild(new.name);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._rebuild_for_masks() IS
'Trigger: a space whose band masks change gets probes and buckets to match.';

-- Buckets and probes of other masks than the space has would answer with less than all matches.
CREATE TRIGGER space_rebuild_for_masks
AFTER UPDATE OF band_masks ON imgdb.space
FOR EACH ROW
WHEN (new.band_masks IS DISTINCT FROM old.band_masks)
EXECUTE FUNCTION imgdb._rebuild_for_masks();
