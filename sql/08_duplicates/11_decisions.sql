-- What a person decided about one image beside another, one row for each image that was looked at.
-- A row of its own and no state of a browser: it outlives a reload, a kill and another browser.
CREATE TABLE imgdb.decision (
    decision_id bigint GENERATED ALWAYS AS IDENTITY,
    image_id bigint NOT NULL,
    beside_id bigint NOT NULL,
    verdict text NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT decision_pkey PRIMARY KEY (decision_id),
    CONSTRAINT decision_image_id_key UNIQUE (image_id),
    CONSTRAINT decision_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT decision_beside_id_fkey FOREIGN KEY (beside_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT decision_pair_check CHECK (image_id <> beside_id),
    CONSTRAINT decision_verdict_check CHECK (verdict IN ('remove', 'keep', 'different', 'skip'))
);

CREATE INDEX decision_beside_id_idx ON imgdb.decision (beside_id);

COMMENT ON TABLE imgdb.decision IS
'What a person decided about images that look alike; nothing is done with files.';
COMMENT ON COLUMN imgdb.decision.decision_id IS 'The later one is taken back first.';
COMMENT ON COLUMN imgdb.decision.image_id IS 'The image that was decided about.';
COMMENT ON COLUMN imgdb.decision.beside_id IS
'The image that it was looked at beside, which stays: a file is removed for it.';
COMMENT ON COLUMN imgdb.decision.verdict IS
'remove (it may go), keep (both stay), different (for good: imgdb.not_duplicate has the pair), or '
'skip (ask later).';
COMMENT ON COLUMN imgdb.decision.decided_at IS 'When it was decided.';
COMMENT ON INDEX imgdb.decision_beside_id_idx IS 'What was decided beside an image.';

CREATE FUNCTION imgdb._forget_decisions()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.decision AS d
    WHERE NEW.image_id IN (d.image_id, d.beside_id);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_decisions() IS
'Forgets what was decided beside other bytes than an image has now.';

-- Unlike a mark, a decision removes a file: so it holds for the bytes that were seen alone.
CREATE TRIGGER image_forget_decisions
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_decisions();

CREATE FUNCTION imgdb._decide(of_image_id bigint, beside bigint, the_verdict text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_decision_id bigint;
BEGIN
    -- Two browsers: what stays for one file must not go for another one meanwhile.
    LOCK TABLE imgdb.decision IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (
        SELECT FROM imgdb.decision AS d
        WHERE d.image_id IN (of_image_id, beside) AND d.verdict = 'remove'
    ) THEN
        RAISE EXCEPTION 'one of the two images is to be removed already' USING
            ERRCODE = 'IM021',
            HINT = 'Take that decision back first.';
    END IF;
    IF the_verdict = 'different' THEN
        PERFORM imgdb._mark_different(ARRAY[of_image_id], ARRAY[beside]);
    END IF;
    DELETE FROM imgdb.decision AS d
    WHERE d.image_id = of_image_id;
    INSERT INTO imgdb.decision (image_id, beside_id, verdict)
    VALUES (of_image_id, beside, the_verdict)
    RETURNING decision_id INTO v_decision_id;
    RETURN v_decision_id;
END
$$;

COMMENT ON FUNCTION imgdb._decide(bigint, bigint, text) IS
'Notes what a person decided about an image beside another one, in the place of what was decided '
'before; error IM021 where one of the two is to be removed already.';

CREATE FUNCTION imgdb._undecide(of_image_id bigint)
RETURNS TABLE (image_id bigint, beside_id bigint, verdict text)
LANGUAGE plpgsql VOLATILE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    LOCK TABLE imgdb.decision IN SHARE ROW EXCLUSIVE MODE;
    RETURN QUERY
    WITH gone AS (
        DELETE FROM imgdb.decision AS d
        WHERE
            CASE
                WHEN of_image_id IS NOT NULL THEN d.image_id = of_image_id
                -- What was decided together, has one moment.
                ELSE d.decided_at = (
                    SELECT l.decided_at FROM imgdb.decision AS l ORDER BY l.decision_id DESC LIMIT 1
                )
            END
        RETURNING d.decision_id, d.image_id, d.beside_id, d.verdict, d.decided_at
    ),
    -- A mark that was there before is not the decision's: its moment is another one.
    unmarked AS (
        DELETE FROM imgdb.not_duplicate AS n
        USING gone AS g
        WHERE
            g.verdict = 'different'
            AND n.image_id_a = least(g.image_id, g.beside_id)
            AND n.image_id_b = greatest(g.image_id, g.beside_id)
            AND n.marked_at = g.decided_at
    )
    SELECT g.image_id, g.beside_id, g.verdict FROM gone AS g ORDER BY g.decision_id;
END
$$;

COMMENT ON FUNCTION imgdb._undecide(bigint) IS
'Takes back what was decided about an image, NULL standing for what was decided last and together, '
'with the marks that this made; returns it.';

-- What stays for a file may itself have had to go for another one later: the last one is kept. That
-- ends, since nothing goes for what goes already (imgdb._decide).
CREATE FUNCTION imgdb._basket()
RETURNS TABLE (
    keeper_id bigint,
    image_id bigint,
    decision_id bigint,
    collection text,
    path text,
    ahash bigint,
    dhash bigint,
    phash bigint,
    whash bigint,
    width integer,
    height integer,
    frames integer,
    byte_size bigint,
    format text,
    modified_at timestamptz,
    sha256 bytea
)
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE step AS (
        SELECT d.image_id, d.beside_id AS keeper_id, d.decision_id
        FROM imgdb.decision AS d
        WHERE d.verdict = 'remove'
        UNION ALL
        SELECT s.image_id, d.beside_id, s.decision_id
        FROM step AS s
        JOIN imgdb.decision AS d ON d.image_id = s.keeper_id AND d.verdict = 'remove'
    ),
    removed AS (
        SELECT s.image_id, s.keeper_id, s.decision_id
        FROM step AS s
        WHERE
            NOT EXISTS (
                SELECT FROM imgdb.decision AS d
                WHERE d.image_id = s.keeper_id AND d.verdict = 'remove'
            )
    ),
    listed AS (
        SELECT r.keeper_id, r.image_id, r.decision_id FROM removed AS r
        UNION ALL
        SELECT DISTINCT r.keeper_id, r.keeper_id, NULL::bigint FROM removed AS r
    )
    SELECT
        l.keeper_id,
        i.image_id,
        l.decision_id,
        c.name,
        i.path,
        i.ahash,
        i.dhash,
        i.phash,
        i.whash,
        i.width,
        i.height,
        i.frames,
        i.byte_size,
        i.format,
        i.modified_at,
        i.sha256
    FROM listed AS l
    JOIN imgdb.image AS i ON i.image_id = l.image_id
    JOIN imgdb.collection AS c ON c.collection_id = i.collection_id
    WHERE i.sha256 IS NOT NULL AND i.missing_since IS NULL
    ORDER BY l.keeper_id, l.decision_id NULLS FIRST;
END
$$;

COMMENT ON FUNCTION imgdb._basket() IS
'What was decided to be removed, as groups: first what is kept (decision_id is NULL), then what '
'goes for it. Files that are gone are left out.';
