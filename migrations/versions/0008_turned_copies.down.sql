DROP FUNCTION imgdb._turned_pairs(
    text, integer, text, text, boolean, bigint, bigint, bigint[], bigint[]
);

DROP FUNCTION imgdb._turnable(text, text, text, bigint, bigint);
