-- PostgreSQL lets everybody execute a new function.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA imgdb FROM public;
