CREATE TABLE imgdb.image_region (
    image_id bigint NOT NULL,
    region smallint NOT NULL,
    box_left integer NOT NULL,
    box_top integer NOT NULL,
    box_width integer NOT NULL,
    box_height integer NOT NULL,
    region_hash bigint NOT NULL,
    CONSTRAINT image_region_pkey PRIMARY KEY (image_id, region),
    CONSTRAINT image_region_image_id_fkey FOREIGN KEY (image_id)
    REFERENCES imgdb.image (image_id) ON DELETE CASCADE,
    -- Scales are ratios of the sides of boxes.
    CONSTRAINT image_region_box_check CHECK (
        box_left >= 0 AND box_top >= 0 AND box_width > 0 AND box_height > 0
    )
);

CREATE INDEX image_region_region_hash_idx ON imgdb.image_region (region_hash);

COMMENT ON TABLE imgdb.image_region IS
'Parts of images that a crop or a collage keeps, each with a hash (ingest --regions).';
COMMENT ON COLUMN imgdb.image_region.image_id IS
'The image; its region_recipe says which rules made the regions.';
COMMENT ON COLUMN imgdb.image_region.region IS
'Which region of the image: the first ones stand out most.';
COMMENT ON COLUMN imgdb.image_region.box_left IS
'Where it begins from the left, in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_top IS
'Where it begins from above, in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_width IS 'Its width in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.box_height IS 'Its height in pixels of the upright picture.';
COMMENT ON COLUMN imgdb.image_region.region_hash IS
'Hash of the region alone, compared in space region.';
COMMENT ON INDEX imgdb.image_region_region_hash_idx IS 'Joins with matches in space region.';

CREATE FUNCTION imgdb._forget_regions()
RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM imgdb.image_region AS r WHERE r.image_id = NEW.image_id;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION imgdb._forget_regions() IS 'Forgets the regions of a file that has changed.';

CREATE TRIGGER image_forget_regions
AFTER UPDATE ON imgdb.image
FOR EACH ROW
WHEN (old.region_recipe IS NOT NULL AND old.sha256 IS DISTINCT FROM new.sha256)
EXECUTE FUNCTION imgdb._forget_regions();
