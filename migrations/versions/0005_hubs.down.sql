DROP FUNCTION imgdb._hubs(text, integer, integer, text, integer);
