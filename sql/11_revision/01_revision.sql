-- The row of alembic_version says the same, and a dump without rows loses it.
CREATE FUNCTION imgdb._revision()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '0002_second_engine';

COMMENT ON FUNCTION imgdb._revision() IS 'The revision that this schema is.';

-- Not changed by a release that only adds: then what is installed elsewhere goes on working.
CREATE FUNCTION imgdb._compatible_since()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '0002_second_engine';

COMMENT ON FUNCTION imgdb._compatible_since() IS
'The oldest revision whose clients still find here all that they call.';
