CREATE TABLE imgdb.not_duplicate (
    image_id_a bigint NOT NULL,
    image_id_b bigint NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT not_duplicate_pkey PRIMARY KEY (image_id_a, image_id_b),
    CONSTRAINT not_duplicate_image_id_a_fkey FOREIGN KEY (image_id_a)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    CONSTRAINT not_duplicate_image_id_b_fkey FOREIGN KEY (image_id_b)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    -- One spelling per pair, and no picture differs from itself.
    CONSTRAINT not_duplicate_order_check CHECK (image_id_a < image_id_b)
);

CREATE INDEX not_duplicate_image_id_b_idx ON imgdb.not_duplicate (image_id_b);

COMMENT ON TABLE imgdb.not_duplicate IS 'Pairs of images that a person said are different.';
COMMENT ON COLUMN imgdb.not_duplicate.image_id_a IS 'The image with the smaller identity.';
COMMENT ON COLUMN imgdb.not_duplicate.image_id_b IS 'The image with the larger identity.';
COMMENT ON COLUMN imgdb.not_duplicate.marked_at IS 'When it was said.';
COMMENT ON INDEX imgdb.not_duplicate_image_id_b_idx IS 'The pairs of an image, from either side.';
