CREATE FUNCTION imgdb.same_colours(a bytea, b bytea)
RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN imgdb.colour_difference(a, b) <= 3.5::double precision;

COMMENT ON FUNCTION imgdb.same_colours(bytea, bytea) IS
'Whether the colours of two images (image.colours) are the same, as far as edits leave them: their '
'colour_difference is at most 3.5. NULL if those of one are not known.';
