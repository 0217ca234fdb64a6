-- Whether this role may make, or change, schema imgdb here. The owner of a schema can exchange what
-- is in it, and what imgdb makes there runs with the rights of the role that makes it. So the
-- schema is made now, or it belongs to this role, and nobody else's objects are in it.
DO $guard$
DECLARE
    v_schema record;
    v_found text;
    v_problem text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    SELECT n.oid, n.nspowner, n.nspacl INTO v_schema
    FROM pg_namespace AS n
    WHERE n.nspname = 'imgdb';
    IF v_schema.oid IS NULL THEN
        CREATE SCHEMA imgdb;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'imgdb') THEN
        v_problem := 'imgdb is an extension in this database: ALTER EXTENSION imgdb UPDATE';
    ELSIF pg_get_userbyid(v_schema.nspowner) <> current_user THEN
        v_problem := format(
            'schema imgdb belongs to role "%s", and this is role "%s": '
            'connect as its owner, or set role to it',
            pg_get_userbyid(v_schema.nspowner), current_user
        );
    END IF;
    IF v_problem IS NULL THEN
        SELECT string_agg(coalesce(r.rolname, 'public'), ', ') INTO v_found
        FROM aclexplode(v_schema.nspacl) AS a
        LEFT JOIN pg_roles AS r ON r.oid = a.grantee
        WHERE a.privilege_type = 'CREATE' AND a.grantee <> v_schema.nspowner;
        IF v_found IS NOT NULL THEN
            v_problem := format(
                'others may create objects in schema imgdb: REVOKE CREATE ON SCHEMA imgdb FROM %s',
                v_found
            );
        END IF;
    END IF;
    IF v_problem IS NULL THEN
        SELECT string_agg(f.object, ', ') INTO v_found
        FROM (
            SELECT pg_describe_object(d.classid, d.objid, 0) AS object
            FROM pg_depend AS d
            INNER JOIN pg_shdepend AS s
                ON s.classid = d.classid AND s.objid = d.objid AND s.deptype = 'o'
            INNER JOIN pg_database AS b
                ON b.oid = s.dbid AND b.datname = current_database()
            WHERE
                d.refclassid = 'pg_namespace'::regclass
                AND d.refobjid = v_schema.oid
                AND s.refobjid <> v_schema.nspowner
            UNION ALL
            -- The right TRIGGER on a table is enough to put one there. Role 10 made the server.
            SELECT pg_describe_object('pg_trigger'::regclass, t.oid, 0)
            FROM pg_trigger AS t
            INNER JOIN pg_class AS c ON c.oid = t.tgrelid
            INNER JOIN pg_proc AS p ON p.oid = t.tgfoid
            WHERE
                c.relnamespace = v_schema.oid AND NOT t.tgisinternal
                AND p.proowner NOT IN (v_schema.nspowner, 10)
        ) AS f;
        IF v_found IS NOT NULL THEN
            v_problem := format('objects of other roles are in schema imgdb: %s', v_found);
        ELSIF EXISTS (
            SELECT FROM pg_depend AS d
            WHERE
                d.refclassid = 'pg_namespace'::regclass
                AND d.refobjid = v_schema.oid
        ) AND NOT EXISTS (
            SELECT FROM pg_class AS c
            WHERE
                c.relnamespace = v_schema.oid AND c.relname = 'alembic_version'
                AND c.relkind = 'r'
        ) THEN
            v_problem := 'schema imgdb holds objects, but imgdb was never installed in it';
        END IF;
    END IF;
    IF v_problem IS NOT NULL THEN
        RAISE EXCEPTION '%', v_problem USING ERRCODE = 'IM020', HINT = 'Nothing was changed.';
    END IF;
END
$guard$;
