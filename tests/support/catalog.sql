-- Everything that schema imgdb is, as (object, definition). Run with search_path = '', so that each
-- name comes out in full. alembic's version table is left out: only a migrated database has it.
WITH relation AS (
    SELECT c.* FROM pg_class AS c
    WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relname !~ '^alembic_version'
),
object AS (
    SELECT d.classid, d.objid, d.objsubid FROM pg_depend AS d
    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = 'imgdb'::regnamespace
    UNION
    SELECT 'pg_trigger'::regclass, t.oid, 0 FROM pg_trigger AS t
    INNER JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE p.pronamespace = 'imgdb'::regnamespace
)
-- Whatever kind of object it is, it is at least there.
SELECT 'object ' || i.type || ' ' || i.identity AS object, 'is there' AS definition
FROM object AS o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, o.objsubid) AS i
WHERE i.identity !~ '\malembic_version'
UNION ALL
SELECT 'schema', concat_ws(' | ', n.nspacl, obj_description(n.oid, 'pg_namespace'))
FROM pg_namespace AS n WHERE n.nspname = 'imgdb'
UNION ALL
SELECT 'default rights ' || a.defaclobjtype::text, a.defaclacl::text
FROM pg_default_acl AS a WHERE a.defaclnamespace = 'imgdb'::regnamespace
UNION ALL
SELECT
    'routine ' || p.oid::regprocedure,
    CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END
    || concat_ws(
        ' | ', '', 'rights',
        array(
            SELECT r::text FROM unnest(coalesce(p.proacl, acldefault('f', p.proowner))) AS r ORDER BY 1
        )
    )
FROM pg_proc AS p WHERE p.pronamespace = 'imgdb'::regnamespace
UNION ALL
SELECT
    'type ' || t.oid::regtype,
    concat_ws(
        ' | ', t.typtype, format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault, t.typacl,
        (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
         FROM pg_enum AS e WHERE e.enumtypid = t.oid)
    )
FROM pg_type AS t
WHERE t.typnamespace = 'imgdb'::regnamespace AND t.typtype IN ('d', 'e', 'r', 'm')
UNION ALL
SELECT
    'relation ' || c.oid::regclass,
    concat_ws(
        ' | ', c.relkind, c.relpersistence, (SELECT am.amname FROM pg_am AS am WHERE am.oid = c.relam),
        'options', c.reloptions, (SELECT t.reloptions FROM pg_class AS t WHERE t.oid = c.reltoastrelid),
        'replica identity', c.relreplident, 'row security', c.relrowsecurity, c.relforcerowsecurity,
        'partition', pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid), 'rights', c.relacl
    )
FROM relation AS c
UNION ALL
SELECT
    'column ' || c.oid::regclass || ' ' || quote_ident(a.attname),
    concat_ws(
        ' | ', row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum),
        format_type(a.atttypid, a.atttypmod), 'not null', a.attnotnull, a.attcollation::regcollation,
        'default', pg_get_expr(d.adbin, d.adrelid), 'identity', a.attidentity,
        'generated', a.attgenerated, 'storage', a.attstorage, a.attcompression,
        -- Debian's 15.20 notes a number of its own in the options of every column.
        'options', array(SELECT o FROM unnest(a.attoptions) AS o WHERE o !~ '^pg_attver='),
        a.attstattarget, 'rights', a.attacl
    )
FROM relation AS c
INNER JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT
    'constraint ' || coalesce(k.conrelid::regclass::text, k.contypid::regtype::text)
    || ' ' || quote_ident(k.conname),
    concat_ws(' | ', pg_get_constraintdef(k.oid), 'validated', k.convalidated)
FROM pg_constraint AS k
WHERE
    k.connamespace = 'imgdb'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_class AS c WHERE c.oid = k.conrelid AND c.relname = 'alembic_version')
UNION ALL
SELECT
    'index ' || i.indexrelid::regclass,
    concat_ws(' | ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident)
FROM pg_index AS i INNER JOIN relation AS c ON c.oid = i.indexrelid
UNION ALL
SELECT
    'sequence ' || s.seqrelid::regclass,
    concat_ws(
        ' | ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle
    )
FROM pg_sequence AS s INNER JOIN relation AS c ON c.oid = s.seqrelid
UNION ALL
SELECT 'view ' || c.oid::regclass, pg_get_viewdef(c.oid)
FROM relation AS c WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT
    'trigger ' || t.tgrelid::regclass || ' ' || quote_ident(t.tgname),
    -- Keys of tracked columns differ from one load to the next.
    concat_ws(
        ' | ', regexp_replace(pg_get_triggerdef(t.oid), '[0-9a-f]{8}(-[0-9a-f]{4,12}){4}', 'key', 'g'),
        'enabled', t.tgenabled
    )
FROM pg_trigger AS t INNER JOIN pg_proc AS p ON p.oid = t.tgfoid
WHERE p.pronamespace = 'imgdb'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT
    'policy ' || p.polrelid::regclass || ' ' || quote_ident(p.polname),
    concat_ws(
        ' | ', p.polcmd, p.polpermissive, p.polroles::regrole [],
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
    )
FROM pg_policy AS p INNER JOIN relation AS c ON c.oid = p.polrelid
UNION ALL
SELECT 'statistics ' || quote_ident(s.stxname), pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext AS s WHERE s.stxnamespace = 'imgdb'::regnamespace
UNION ALL
SELECT 'comment on ' || i.type || ' ' || i.identity, d.description
FROM pg_description AS d
CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
WHERE
    coalesce(i.schema, '') = 'imgdb'
    OR i.identity ~ '\mimgdb\.'
ORDER BY object
