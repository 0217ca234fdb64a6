SELECT imgdb.create_space('ahash', 'imagehash.average_hash, 8x8, of the images in imgdb.image');
SELECT imgdb.create_space('dhash', 'imagehash.dhash, 8x8, of the images in imgdb.image');
SELECT imgdb.create_space('phash', 'imagehash.phash, 8x8, of the images in imgdb.image');
SELECT imgdb.create_space('whash', 'imagehash.whash, 8x8, of the images in imgdb.image');

SELECT imgdb.track('imgdb.image', 'ahash', 'ahash');
SELECT imgdb.track('imgdb.image', 'dhash', 'dhash');
SELECT imgdb.track('imgdb.image', 'phash', 'phash');
SELECT imgdb.track('imgdb.image', 'whash', 'whash');

SELECT imgdb.create_space('region', 'hashes like phash of the regions in imgdb.image_region');
SELECT imgdb.track('imgdb.image_region', 'region_hash', 'region');
