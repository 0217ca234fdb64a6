-- A function, because a dump without rows is filled by it, too.
CREATE FUNCTION imgdb._fill()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb.create_space('ahash', 'imagehash.average_hash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('dhash', 'imagehash.dhash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('phash', 'imagehash.phash, 8x8, of the images in imgdb.image');
    PERFORM imgdb.create_space('whash', 'imagehash.whash, 8x8, of the images in imgdb.image');

    PERFORM imgdb.track('imgdb.image', 'ahash', 'ahash');
    PERFORM imgdb.track('imgdb.image', 'dhash', 'dhash');
    PERFORM imgdb.track('imgdb.image', 'phash', 'phash');
    PERFORM imgdb.track('imgdb.image', 'whash', 'whash');

    PERFORM imgdb.create_space('region', 'hashes like phash of the regions in imgdb.image_region');
    PERFORM imgdb.track('imgdb.image_region', 'region_hash', 'region');

    PERFORM imgdb.create_space('pdq', 'the four words of the PDQ hashes in imgdb.image_pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_1', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_2', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_3', 'pdq');
    PERFORM imgdb.track('imgdb.image_pdq', 'pdq_4', 'pdq');

    -- Within these about as many unlike photographs are found by dhash as by phash within 8, and
    -- by the sum of both within 17. ahash and whash crowd: even equal hashes mean little.
    PERFORM imgdb.set_default_max_distance('dhash', max_distance => 4);
    PERFORM imgdb.set_default_max_distance('ahash', max_distance => 2);
    PERFORM imgdb.set_default_max_distance('whash', max_distance => 2);
    INSERT INTO imgdb.rule (name, default_max_distance) VALUES ('phash+dhash', 17);

    -- The planner assumes that in a table that was never analyzed each hash stands in every 200th
    -- row, and would rather read the whole table than join it by index. So it is told, until the
    -- first real ANALYZE, what a table of one row tells: that hashes differ.
    INSERT INTO imgdb.collection (collection_id, name) VALUES (0, 'imgdb');
    INSERT INTO imgdb.image (image_id, collection_id, path, ahash, dhash, phash, whash, recipe)
    VALUES (0, 0, '/', 0, 0, 0, 0, 'imported');
    INSERT INTO imgdb.image_pdq (image_id, pdq_1, pdq_2, pdq_3, pdq_4, pdq_recipe)
    VALUES (0, 0, 0, 0, 0, 'imported');
    ANALYZE imgdb.image (ahash, dhash, phash, whash);
    ANALYZE imgdb.image_pdq (pdq_1, pdq_2, pdq_3, pdq_4);
    DELETE FROM imgdb.image;
    DELETE FROM imgdb.collection;
    DELETE FROM imgdb.fresh_hashes;
END
$$;

COMMENT ON FUNCTION imgdb._fill() IS
'Makes the built-in spaces and rules, and feeds them from imgdb''s own tables, where there are no '
'rows yet.';

SELECT imgdb._fill();
