-- The planner assumes that in a table that was never analyzed each hash stands in every 200th row,
-- and would rather read the whole table than join it by index. So it is told, until the first real
-- ANALYZE, what a table of one row tells: that hashes differ.
INSERT INTO imgdb.collection (collection_id, name) VALUES (0, 'imgdb');

INSERT INTO imgdb.image (image_id, collection_id, path, ahash, dhash, phash, whash, recipe)
VALUES (0, 0, '/', 0, 0, 0, 0, 'imported');

ANALYZE imgdb.image (ahash, dhash, phash, whash);

DELETE FROM imgdb.image;
DELETE FROM imgdb.collection;
DELETE FROM imgdb.prefix_bucket;
