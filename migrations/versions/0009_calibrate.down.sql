DROP FUNCTION imgdb.set_default_max_distance(text, integer);
DROP FUNCTION imgdb._false_matches(
    text, text, bigint[], bigint[], integer, integer, integer, bigint
);
DROP FUNCTION imgdb._copies_of(bigint[], text, integer);
DROP FUNCTION imgdb._searchable_images(text);
DROP FUNCTION imgdb._sampled_images(text, integer, bigint);
