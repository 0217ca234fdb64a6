CREATE TABLE imgdb.match (
    match_id bigint GENERATED ALWAYS AS IDENTITY,
    watch_id bigint NOT NULL,
    relation_name text,
    hash bigint NOT NULL,
    distance smallint NOT NULL,
    matched_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT match_pkey PRIMARY KEY (match_id),
    CONSTRAINT match_watch_id_fkey FOREIGN KEY (watch_id)
    REFERENCES imgdb.watch_list (watch_id) ON DELETE CASCADE
);

CREATE INDEX match_watch_id_idx ON imgdb.match (watch_id);

COMMENT ON TABLE imgdb.match IS
'What arrived near an entry of the watch list, until it is acknowledged.';
COMMENT ON COLUMN imgdb.match.match_id IS 'Identity.';
COMMENT ON COLUMN imgdb.match.watch_id IS 'The entry.';
COMMENT ON COLUMN imgdb.match.relation_name IS
'The table that was written; NULL for what was there before, or came by track or catch_up.';
COMMENT ON COLUMN imgdb.match.hash IS 'The hash that arrived: join the table on it.';
COMMENT ON COLUMN imgdb.match.distance IS 'Its distance to the entry.';
COMMENT ON COLUMN imgdb.match.matched_at IS 'When the transaction began that brought it.';
COMMENT ON INDEX imgdb.match_watch_id_idx IS 'The matches of an entry.';

CREATE VIEW imgdb.own_match
WITH (security_barrier = TRUE)
AS
SELECT
    m.match_id,
    m.matched_at,
    m.distance,
    m.relation_name,
    m.hash,
    m.watch_id,
    (
        SELECT s.name
        FROM imgdb.watch_list AS w INNER JOIN imgdb.space AS s ON w.space_id = s.space_id
        WHERE w.watch_id = m.watch_id
    ) AS space,
    (
        SELECT w.label FROM imgdb.watch_list AS w
        WHERE w.watch_id = m.watch_id
    ) AS label
FROM imgdb.match AS m
WHERE
    EXISTS (
        SELECT FROM imgdb.watch_list AS w
        WHERE w.watch_id = m.watch_id AND imgdb._may_watch(w.space_id)
    );

COMMENT ON VIEW imgdb.own_match IS
'The matches in spaces that the current user may watch. imgdb.acknowledge removes them.';
COMMENT ON COLUMN imgdb.own_match.match_id IS 'Identity: imgdb.acknowledge takes it.';
COMMENT ON COLUMN imgdb.own_match.matched_at IS 'When the transaction began that brought it.';
COMMENT ON COLUMN imgdb.own_match.space IS 'The space.';
COMMENT ON COLUMN imgdb.own_match.label IS 'What the entry of the watch list is called.';
COMMENT ON COLUMN imgdb.own_match.distance IS 'The distance to the entry.';
COMMENT ON COLUMN imgdb.own_match.relation_name IS 'As in imgdb.match.';
COMMENT ON COLUMN imgdb.own_match.hash IS 'The hash that arrived.';
COMMENT ON COLUMN imgdb.own_match.watch_id IS 'The entry.';

-- One notification, and only where there is a match: each that commits waits for all others. An
-- entry that somebody takes off the list just now is waited for and left out, so that no writer
-- fails for it. Joins are not done by hashing, where prefixes collide (imgdb._add_rows says why).
CREATE FUNCTION imgdb._note_matches(
    of_space_id smallint, new_hashes bigint[], from_relation text, for_entry bigint DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off
SET enable_hashagg = off
AS $$
DECLARE
    v_space record;
    v_nearest record;
BEGIN
    SELECT s.name, s.band_masks INTO v_space FROM imgdb.space AS s WHERE s.space_id = of_space_id;
    WITH noted AS (
        INSERT INTO imgdb.match (watch_id, relation_name, hash, distance)
        SELECT w.watch_id, from_relation, near.hash, near.distance
        FROM (
            SELECT DISTINCT ON (p.watch_id, n.hash)
                p.watch_id, n.hash, imgdb.distance(p.hash, n.hash) AS distance
            FROM unnest(new_hashes) AS n (hash)
            CROSS JOIN unnest(v_space.band_masks) AS band (mask)
            JOIN imgdb.watch_probe AS p
                ON p.space_id = of_space_id AND p.prefix = n.hash & band.mask
            WHERE
                imgdb.distance(p.hash, n.hash) <= p.radius
                AND (for_entry IS NULL OR p.watch_id = for_entry)
            ORDER BY p.watch_id, n.hash
        ) AS near
        JOIN imgdb.watch_list AS w ON w.watch_id = near.watch_id
        FOR KEY SHARE OF w
        RETURNING match_id, watch_id, distance
    )
    SELECT noted.match_id, w.label, noted.distance, count(*) OVER () AS count
    INTO v_nearest
    FROM noted JOIN imgdb.watch_list AS w ON w.watch_id = noted.watch_id
    ORDER BY noted.distance, noted.match_id
    LIMIT 1;
    IF FOUND THEN
        PERFORM pg_notify(
            'imgdb_match',
            json_build_object(
                'label', v_nearest.label,
                'relation', from_relation,
                'distance', v_nearest.distance,
                'space', left(v_space.name, 200),
                'match_id', v_nearest.match_id,
                'matches', v_nearest.count
            )::text
        );
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._note_matches(smallint, bigint[], text, bigint) IS
'Notes which hashes are near entries of the watch list of their space, or near one of them, and '
'notifies of the nearest.';
