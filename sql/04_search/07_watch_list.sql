-- Hashes of interest. Each is spread over all prefixes that a hash within its radius can have in
-- some band (imgdb._prepare_probes says why), so what arrives is looked up by its few prefixes,
-- however long the list is.
CREATE TABLE imgdb.watch_list (
    watch_id bigint GENERATED ALWAYS AS IDENTITY,
    space_id smallint NOT NULL,
    hash bigint NOT NULL,
    radius smallint NOT NULL,
    label text NOT NULL,
    watched_since timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT watch_list_pkey PRIMARY KEY (watch_id),
    CONSTRAINT watch_list_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE,
    -- Beyond, an entry has thousands of prefixes.
    CONSTRAINT watch_list_radius_check CHECK (radius BETWEEN 0 AND 12),
    -- It goes into a notification, which has 8000 bytes.
    CONSTRAINT watch_list_label_check CHECK (length(label) <= 200)
);

CREATE INDEX watch_list_space_id_idx ON imgdb.watch_list (space_id);

COMMENT ON TABLE imgdb.watch_list IS
'Hashes of interest: what arrives near one is noted in imgdb.match.';
COMMENT ON COLUMN imgdb.watch_list.watch_id IS 'Identity.';
COMMENT ON COLUMN imgdb.watch_list.space_id IS 'The space that is watched.';
COMMENT ON COLUMN imgdb.watch_list.hash IS 'The hash.';
COMMENT ON COLUMN imgdb.watch_list.radius IS 'The largest distance that is a match, 0 to 12.';
COMMENT ON COLUMN imgdb.watch_list.label IS
'What the owner calls it. Everybody in the database can hear it (LISTEN).';
COMMENT ON COLUMN imgdb.watch_list.watched_since IS 'When it was added.';
COMMENT ON INDEX imgdb.watch_list_space_id_idx IS 'The entries of a space.';

CREATE TABLE imgdb.watch_probe (
    space_id smallint NOT NULL,
    prefix bigint NOT NULL,
    watch_id bigint NOT NULL,
    hash bigint NOT NULL,
    radius smallint NOT NULL,
    CONSTRAINT watch_probe_pkey PRIMARY KEY (space_id, prefix, watch_id),
    CONSTRAINT watch_probe_space_id_fkey FOREIGN KEY (space_id)
    REFERENCES imgdb.space (space_id) ON DELETE CASCADE
);

COMMENT ON TABLE imgdb.watch_probe IS
'The prefixes that hashes near an entry of the watch list have; made with the entry.';
COMMENT ON COLUMN imgdb.watch_probe.space_id IS 'The space that is watched.';
COMMENT ON COLUMN imgdb.watch_probe.prefix IS 'A prefix: hash & band_mask of what may be near.';
COMMENT ON COLUMN imgdb.watch_probe.watch_id IS 'The entry.';
COMMENT ON COLUMN imgdb.watch_probe.hash IS 'Its hash.';
COMMENT ON COLUMN imgdb.watch_probe.radius IS 'Its radius.';

CREATE FUNCTION imgdb._watch_prefixes(of_space_id smallint, of_hash bigint, of_radius integer)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT DISTINCT (of_hash & p.band_mask) # flip
        FROM imgdb.probe AS p CROSS JOIN unnest(p.flip_masks) AS flip
        WHERE p.space_id = of_space_id AND p.from_distance <= of_radius
    );
END
$$;

COMMENT ON FUNCTION imgdb._watch_prefixes(smallint, bigint, integer) IS
'The prefixes that hashes within a radius have in the bands of a space.';

CREATE FUNCTION imgdb._keep_watch_probes()
RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- What goes with its space goes by the foreign key.
    IF tg_op <> 'INSERT' THEN
        DELETE FROM imgdb.watch_probe AS p
        WHERE
            p.space_id = old.space_id
            AND p.prefix = ANY (imgdb._watch_prefixes(old.space_id, old.hash, old.radius))
            AND p.watch_id = old.watch_id;
    END IF;
    IF tg_op = 'DELETE' THEN
        RETURN NULL;
    END IF;
    IF (SELECT count(*) FROM imgdb.probe AS p
        WHERE p.space_id = new.space_id AND p.from_distance <= new.radius) <= new.radius THEN
        RAISE EXCEPTION 'the bands of space % are too wide for radius %', new.space_id, new.radius USING
            ERRCODE = 'IM002',
            HINT = 'Watch with a smaller max_distance, or rebuild the space with other masks.';
    END IF;
    INSERT INTO imgdb.watch_probe (space_id, prefix, watch_id, hash, radius)
    SELECT new.space_id, u.prefix, new.watch_id, new.hash, new.radius
    FROM unnest(imgdb._watch_prefixes(new.space_id, new.hash, new.radius)) AS u (prefix);
    -- A transaction with an older snapshot does not see the entry, and is told to run again
    -- (imgdb._append_hashes). Once a transaction: else each version would be passed by the next.
    UPDATE imgdb.tracked_column AS t
    SET space_id = t.space_id
    WHERE t.space_id = new.space_id AND t.xmin::text <> pg_current_xact_id()::xid::text;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._keep_watch_probes() IS
'Trigger: makes and removes the prefixes of an entry of the watch list.';

CREATE TRIGGER watch_list_keep_probes
AFTER INSERT OR DELETE OR UPDATE ON imgdb.watch_list
FOR EACH ROW
EXECUTE FUNCTION imgdb._keep_watch_probes();

CREATE FUNCTION imgdb._may_watch(of_space_id smallint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM imgdb.space AS s
    WHERE
        s.space_id = of_space_id -- noqa: RF03
        AND (
            imgdb._may_keep(s.owner_name)
            OR EXISTS (
                SELECT FROM imgdb.tracked_column AS t
                INNER JOIN pg_catalog.pg_class AS c ON t.table_id = c.oid
                INNER JOIN pg_catalog.pg_namespace AS n ON c.relnamespace = n.oid
                WHERE
                    t.space_id = s.space_id AND n.nspname = 'imgdb'
                    AND has_table_privilege(c.oid, 'INSERT')
            )
        )
);

COMMENT ON FUNCTION imgdb._may_watch(smallint) IS
'Whether the current user owns the space, or may write a table of imgdb''s own that feeds it.';

-- As imgdb.own_space. The barrier: nobody's function sees a row before the rights are asked.
CREATE VIEW imgdb.own_watch_list
WITH (security_barrier = true)
AS
SELECT
    w.watch_id,
    w.space_id,
    w.hash,
    w.radius,
    w.label,
    w.watched_since
FROM imgdb.watch_list AS w
WHERE imgdb._may_watch(w.space_id)
WITH CASCADED CHECK OPTION;

COMMENT ON VIEW imgdb.own_watch_list IS
'The watch lists of spaces that the current user may watch.';
COMMENT ON COLUMN imgdb.own_watch_list.watch_id IS 'Identity: imgdb.unwatch takes it.';
COMMENT ON COLUMN imgdb.own_watch_list.space_id IS 'The space that is watched.';
COMMENT ON COLUMN imgdb.own_watch_list.hash IS 'The hash.';
COMMENT ON COLUMN imgdb.own_watch_list.radius IS 'The largest distance that is a match.';
COMMENT ON COLUMN imgdb.own_watch_list.label IS 'What the owner calls it.';
COMMENT ON COLUMN imgdb.own_watch_list.watched_since IS 'When it was added.';
