-- Before the first revision schema imgdb holds nothing but alembic's version table, so this drops
-- whatever else stands in it. Nothing is dropped with CASCADE: a view or a function of a user's
-- that depends on imgdb stops the downgrade and is named in the error.
DO $$
DECLARE
    v_trigger record;
    v_names text;
BEGIN
    -- Triggers first: those on users' tables are no objects of this schema, but call its functions.
    FOR v_trigger IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_trigger AS t
        INNER JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE p.pronamespace = 'imgdb'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', v_trigger.tgname, v_trigger.relation);
    END LOOP;

    SELECT string_agg(c.oid::regclass::text, ', ') INTO v_names
    FROM pg_class AS c
    WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relkind = 'v';
    IF v_names IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || v_names;
    END IF;

    -- One statement for all tables: they may refer to each other in any order.
    SELECT string_agg(c.oid::regclass::text, ', ') INTO v_names
    FROM pg_class AS c
    WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p')
        AND c.relname <> 'alembic_version';
    IF v_names IS NOT NULL THEN
        EXECUTE 'DROP TABLE ' || v_names;
    END IF;

    SELECT string_agg(p.oid::regprocedure::text, ', ') INTO v_names
    FROM pg_proc AS p
    WHERE p.pronamespace = 'imgdb'::regnamespace;
    IF v_names IS NOT NULL THEN
        EXECUTE 'DROP ROUTINE ' || v_names;
    END IF;
END
$$;
