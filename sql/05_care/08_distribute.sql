-- All that is Citus's is asked in text: elsewhere it is missing.
CREATE FUNCTION imgdb._shard_count()
RETURNS integer
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_count integer := 0;
BEGIN
    IF imgdb._is_distributed() THEN
        EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_shard '
        'WHERE logicalrelid = ''imgdb.prefix_bucket''::regclass' INTO v_count;
    END IF;
    RETURN v_count;
END
$$;

COMMENT ON FUNCTION imgdb._shard_count() IS
'Over how many shards the buckets are distributed (Citus); 0: they are all here.';

-- Prefixes have some 1,100 hash tokens only, so more than 32 shards would be uneven.
CREATE FUNCTION imgdb.distribute(shard_count integer)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shards integer := imgdb._shard_count();
    v_workers integer;
BEGIN
    IF shard_count IS NULL OR shard_count NOT BETWEEN 1 AND 32 THEN
        RAISE EXCEPTION 'shard_count is %, not between 1 and 32',
            coalesce(shard_count::text, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'Two to four for each worker are enough; more than 32 would be uneven.';
    ELSIF v_shards = shard_count THEN
        RETURN;
    ELSIF v_shards > 0 THEN
        RAISE EXCEPTION 'the buckets are distributed over % shards already', v_shards USING
            ERRCODE = 'IM012',
            HINT = 'imgdb.undistribute brings them back; then distribute them anew.';
    ELSIF to_regclass('pg_catalog.pg_dist_node') IS NULL THEN
        RAISE EXCEPTION 'this database has no Citus' USING
            ERRCODE = 'IM012',
            HINT = 'CREATE EXTENSION citus here and on each worker, then citus_add_node(host, port).';
    END IF;
    EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_node '
    'WHERE isactive AND shouldhaveshards AND noderole = ''primary''' INTO v_workers;
    IF v_workers = 0 THEN
        RAISE EXCEPTION 'there is no worker that may hold shards' USING
            ERRCODE = 'IM012',
            HINT = 'SELECT citus_add_node(host, port) on the coordinator adds one.';
    END IF;
    -- Nodes that came after imgdb lack what their part of a search or of a care calls.
    EXECUTE 'SELECT pg_catalog.create_distributed_function(''imgdb.distance(bigint,bigint)'')';
    EXECUTE 'SELECT pg_catalog.create_distributed_function(''imgdb._difference(bigint[],bigint[])'')';
    EXECUTE 'SELECT pg_catalog.create_distributed_table(''imgdb.prefix_bucket'', ''prefix'', '
    'shard_count => $1, colocate_with => ''none'')' USING shard_count;
    EXECUTE 'SELECT pg_catalog.truncate_local_data_after_distributing_table(''imgdb.prefix_bucket'')';
END
$$;

COMMENT ON FUNCTION imgdb.distribute(integer) IS
'Puts the buckets of all spaces on the workers of a Citus cluster, in 1 to 32 shards by prefix. '
'Writers wait. Asked again for as many it changes nothing. For the owner of schema imgdb.';

CREATE FUNCTION imgdb.undistribute()
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_command text;
    v_commands text[];
BEGIN
    IF NOT imgdb._is_distributed() THEN
        RETURN;
    END IF;
    -- Citus makes the table anew, without its comments.
    SELECT array_agg(
        format(
            'COMMENT ON %s IS %L',
            CASE
                WHEN d.objsubid = 0 THEN 'TABLE imgdb.prefix_bucket'
                ELSE format('COLUMN imgdb.prefix_bucket.%I', a.attname)
            END,
            d.description
        )
    )
    INTO v_commands
    FROM pg_description AS d
    LEFT JOIN pg_attribute AS a ON a.attrelid = d.objoid AND a.attnum = d.objsubid
    WHERE d.objoid = 'imgdb.prefix_bucket'::regclass AND d.classoid = 'pg_class'::regclass;
    EXECUTE 'SELECT pg_catalog.undistribute_table(''imgdb.prefix_bucket'')';
    FOREACH v_command IN ARRAY v_commands LOOP
        EXECUTE v_command;
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.undistribute() IS
'Brings the buckets of all spaces back from the workers of a Citus cluster. Writers wait. For the '
'owner of schema imgdb.';
