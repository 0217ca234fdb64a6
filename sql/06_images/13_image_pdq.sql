CREATE TABLE imgdb.image_pdq (
    image_id bigint NOT NULL,
    pdq_1 bigint NOT NULL,
    pdq_2 bigint NOT NULL,
    pdq_3 bigint NOT NULL,
    pdq_4 bigint NOT NULL,
    quality smallint,
    pdq_recipe text NOT NULL,
    CONSTRAINT image_pdq_pkey PRIMARY KEY (image_id),
    CONSTRAINT image_pdq_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT image_pdq_quality_check CHECK (quality BETWEEN 0 AND 100)
);

CREATE INDEX image_pdq_pdq_1_idx ON imgdb.image_pdq (pdq_1);
CREATE INDEX image_pdq_pdq_2_idx ON imgdb.image_pdq (pdq_2);
CREATE INDEX image_pdq_pdq_3_idx ON imgdb.image_pdq (pdq_3);
CREATE INDEX image_pdq_pdq_4_idx ON imgdb.image_pdq (pdq_4);

COMMENT ON TABLE imgdb.image_pdq IS 'PDQ hashes of images, 256 bits in four words (ingest --pdq).';
COMMENT ON COLUMN imgdb.image_pdq.image_id IS 'The image.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_1 IS 'The first 16 of the 64 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_2 IS 'The next 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_3 IS 'The next 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_4 IS 'The last 16 hex digits.';
COMMENT ON COLUMN imgdb.image_pdq.quality IS
'How much there is to see, 0 to 100; below 50 the hash says little. NULL if it is not known.';
COMMENT ON COLUMN imgdb.image_pdq.pdq_recipe IS
'Which recipe read the picture, as in image.recipe; ''imported'' if somebody else made the hash.';
COMMENT ON INDEX imgdb.image_pdq_pdq_1_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_2_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_3_idx IS 'Joins with matches in space pdq.';
COMMENT ON INDEX imgdb.image_pdq_pdq_4_idx IS 'Joins with matches in space pdq.';

CREATE FUNCTION imgdb._forget_pdq()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.image_pdq AS p WHERE p.image_id = NEW.image_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_pdq() IS 'Forgets the PDQ hash of a file that has changed.';

CREATE TRIGGER image_forget_pdq
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_pdq();
