-- Nothing with strong rights reads another role's table: an index expression, a rule or a view of
-- its owner would run with them. SET ROLE would not help, since that code can reset it.
CREATE FUNCTION imgdb._check_member(relation regclass, of_relation regclass)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table record;
    v_is_distributed boolean := false;
BEGIN
    SELECT
        c.relkind,
        c.relpersistence,
        pg_get_userbyid(c.relowner) AS owner_name,
        pg_has_role(current_user, c.relowner, 'USAGE') AS is_own,
        me.rolsuper
        AND NOT coalesce(owner.rolsuper, false)
        AND c.relowner <> (
            SELECT n.nspowner FROM pg_namespace AS n WHERE n.nspname = 'imgdb'
        ) AS is_foreign
    INTO v_table
    FROM pg_class AS c
    JOIN pg_roles AS me ON me.rolname = current_user
    LEFT JOIN pg_roles AS owner ON owner.oid = c.relowner
    WHERE c.oid = relation;
    -- Nobody else can read a temporary table, so a care by another session could not tell what it
    -- holds.
    IF v_table IS NULL OR v_table.relkind NOT IN ('r', 'p') OR v_table.relpersistence = 't' THEN
        RAISE EXCEPTION '% is not a table that can be tracked',
            coalesce(CASE WHEN relation = of_relation THEN '' ELSE of_relation::text || ': ' END
            || relation::text, 'NULL') USING
            ERRCODE = 'IM010',
            HINT = 'Ordinary and partitioned tables can be; views, foreign and temporary tables cannot.';
    END IF;
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1)'
        INTO v_is_distributed USING relation;
    END IF;
    IF v_is_distributed THEN
        RAISE EXCEPTION '% is distributed by Citus: no trigger sees what comes to other nodes', relation
            USING
            ERRCODE = 'IM010',
            HINT = 'undistribute_table brings it back. What grows is put on other nodes by '
            'imgdb.distribute.';
    ELSIF v_table.is_foreign THEN
        RAISE EXCEPTION '% belongs to %, whose code a superuser must not run', relation,
            v_table.owner_name USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role (SET ROLE is not enough), or give the table to the owner of '
            'schema imgdb.';
    ELSIF NOT v_table.is_own THEN
        RAISE EXCEPTION '% belongs to %', relation, v_table.owner_name USING
            ERRCODE = 'IM013',
            HINT = 'Log in as that role or as a member of it.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_member(regclass, regclass) IS
'Error IM010 unless a table can be tracked, IM013 unless the current user may and should read it.';

CREATE FUNCTION imgdb._hold_table(relation regclass)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
BEGIN
    LOOP
        -- Before the lock, since waiting for another's table is of no use; and after it.
        PERFORM imgdb._check_member(relation, relation);
        SELECT format('%I.%I', n.nspname, c.relname)
        INTO v_name
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.oid = relation;
        EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', v_name);
        -- Renamed or replaced while the lock was waited for: what is locked is another table.
        EXIT WHEN to_regclass(v_name) = relation;
    END LOOP;
    PERFORM imgdb._check_member(tree.member, relation)
    FROM (
        WITH RECURSIVE down AS (
            SELECT relation::oid AS table_id
            UNION
            SELECT i.inhrelid FROM down JOIN pg_inherits AS i ON i.inhparent = down.table_id
        )
        SELECT down.table_id::regclass FROM down
    ) AS tree (member);
    RETURN v_name;
END
$$;

COMMENT ON FUNCTION imgdb._hold_table(regclass) IS
'Locks a table of the current user''s against being replaced, with all below it, checks that it is '
'what was tracked, and returns its name for dynamic SQL.';

CREATE FUNCTION imgdb._check_column(relation regclass, hash_column name)
RETURNS smallint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_column record;
BEGIN
    SELECT a.attnum, a.atttypid, a.attgenerated, y.typtype
    INTO v_column
    FROM pg_attribute AS a JOIN pg_type AS y ON y.oid = a.atttypid
    WHERE
        a.attrelid = relation AND a.attname = hash_column
        AND a.attnum > 0 AND NOT a.attisdropped;
    IF v_column.atttypid = 'int8'::regtype AND v_column.attgenerated <> 'v' THEN
        RETURN v_column.attnum;
    END IF;
    RAISE EXCEPTION '%', CASE
        WHEN hash_column IS NULL THEN 'hash_column is NULL'
        WHEN v_column.attgenerated = 'v' THEN
            format('column "%s" of %s is virtual, so that no trigger sees it', hash_column, relation)
        WHEN v_column.typtype = 'd' THEN
            format('column "%s" of %s is of a domain, not of bigint itself', hash_column, relation)
        ELSE format('%s has no bigint column "%s"', relation, hash_column)
    END USING
        ERRCODE = 'IM004',
        HINT = 'Hashes are stored as bigint; imgdb.from_hex turns hex digits into one.';
END
$$;

COMMENT ON FUNCTION imgdb._check_column(regclass, name) IS
'The number of a column of hashes; error IM004 if it is none.';

CREATE FUNCTION imgdb._source_query(of_space_id smallint)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_tracked record;
    v_query text := 'SELECT NULL::bigint WHERE false';
BEGIN
    FOR v_tracked IN
        SELECT t.table_id, t.table_number, t.column_name, t.column_number
        FROM imgdb.tracked_column AS t
        -- A dropped table is no source, whether or not it is forgotten yet.
        JOIN pg_class AS c ON c.oid = t.table_id
        WHERE t.space_id = of_space_id
        ORDER BY t.table_id, t.column_name
    LOOP
        v_query := v_query || format(
            ' UNION ALL SELECT t.%I FROM %s AS t',
            v_tracked.column_name, imgdb._hold_table(v_tracked.table_id)
        );
        IF imgdb._check_column(v_tracked.table_id, v_tracked.column_name) <> v_tracked.column_number
        AND v_tracked.table_id = v_tracked.table_number THEN
            RAISE EXCEPTION 'column "%" of % is another one than was tracked',
                v_tracked.column_name, v_tracked.table_id USING
                ERRCODE = 'IM004',
                HINT = 'imgdb.untrack it, then imgdb.track the one that holds the hashes now.';
        END IF;
    END LOOP;
    RETURN v_query;
END
$$;

COMMENT ON FUNCTION imgdb._source_query(smallint) IS
'SQL that reads all tracked columns of a space, whose tables are held from here on.';

-- Each part is a range of a band: prefixes, and hashes within a prefix, ascend from part to part.
-- So a part is compared with the same range of the buckets, and no array holds a whole space.
CREATE FUNCTION imgdb._ordered_parts_query(source_query text, of_mask bigint)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN format(
    'SELECT array_agg(n.hash ORDER BY n.hash & %1$s, n.hash) FROM ('
    'SELECT d.hash, (row_number() OVER (ORDER BY d.hash & %1$s, d.hash) - 1) / 100000 AS part '
    'FROM (SELECT DISTINCT ON (s.hash & %1$s, s.hash) s.hash FROM (%2$s) AS s (hash) '
    'WHERE s.hash IS NOT NULL ORDER BY s.hash & %1$s, s.hash) AS d) AS n '
    'GROUP BY n.part ORDER BY n.part',
    format('(%s)::bigint', of_mask), source_query
);

COMMENT ON FUNCTION imgdb._ordered_parts_query(text, bigint) IS
'SQL that gives the distinct hashes of a query in arrays of 100,000, by prefix, then by hash.';

CREATE FUNCTION imgdb._indexed_between(
    of_space_id smallint,
    of_mask bigint,
    after_hash bigint,
    to_hash bigint
)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT array_agg(found.hash ORDER BY found.prefix, found.hash)
        FROM (
            SELECT DISTINCT ON (entry.prefix, entry.hash) entry.prefix, entry.hash
            FROM (
                SELECT b.prefix, unnest(b.hashes) AS hash
                FROM imgdb.prefix_bucket AS b
                WHERE
                    b.space_id = of_space_id
                    AND b.prefix >= coalesce(after_hash & of_mask, -9223372036854775808)
                    AND b.prefix <= coalesce(to_hash & of_mask, 9223372036854775807)
                    AND b.prefix & of_mask = b.prefix
            ) AS entry
            WHERE
                -- The bucket of prefix 0 serves all bands: what it holds for the others is left
                -- out.
                entry.hash & of_mask = entry.prefix
                AND (
                    after_hash IS NULL OR entry.prefix > after_hash & of_mask
                    OR entry.hash > after_hash
                )
                AND (to_hash IS NULL OR entry.prefix < to_hash & of_mask OR entry.hash <= to_hash)
            ORDER BY entry.prefix, entry.hash
            LIMIT 200000
        ) AS found
    );
END
$$;

COMMENT ON FUNCTION imgdb._indexed_between(smallint, bigint, bigint, bigint) IS
'The first 200,000 hashes in the buckets of a band that come after one hash and not after another, '
'by prefix, then by hash; NULL stands for either end, and for none found.';
