DROP FUNCTION imgdb._note_file(text, bytea, timestamptz);
