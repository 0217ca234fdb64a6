-- The one list of who may do what. A function that is in no list is run by others of imgdb's only.
CREATE FUNCTION imgdb._rights(access text)
RETURNS SETOF text
LANGUAGE plpgsql STABLE ROWS 100
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- What runs with the rights of imgdb's owner and answers with paths, but with no hash.
    v_search text[] := ARRAY['find_images', 'find_pdq'];
    v_watch text[] := ARRAY['watch', 'unwatch', 'acknowledge', '_hold_writers'];
    -- What the owner of a space calls, and what these call with his rights.
    v_keep text[] := ARRAY[
        'create_space', '_make_space', 'drop_space', 'set_default_max_distance', 'track', 'untrack',
        'catch_up', 'rebuild', 'drop_stale', 'check_space', 'missing_hashes', '_claim_space',
        '_release_space', '_forget_dropped', '_hold_table', '_column_query', '_source_query',
        '_sync_triggers', '_append_hashes', '_note_tracked', '_forget_tracked', '_lock_claimed',
        '_add_band', '_count_added', '_index_source', '_make_shadow', '_use_shadow',
        '_begin_rebuild', '_fill_shadow', '_end_rebuild', '_remove_hashes', '_put_back',
        '_drop_if_stale'
    ];
    v_compact text[] := ARRAY[
        'compact', '_begin_care', '_end_care', '_merge', '_flush_all', '_count_anew', '_merge_next',
        '_flush_next'
    ];
    -- What only others of imgdb's own functions call, with the rights of its owner.
    v_nobody text[] := ARRAY[
        'grant_access', 'revoke_access', 'distribute', 'undistribute', '_rights', '_check_role',
        '_prepare_probes', '_add_rows', '_count_in', '_fold_hashes', '_load', '_append', '_flush',
        '_lock_space', '_note_matches', '_may_maintain', '_fill', '_finish_restore'
    ];
    v_engine text[] := ARRAY[
        'space', 'probe', 'prefix_bucket', 'fresh_hashes', 'space_state', 'tracked_column'
    ];
BEGIN
    IF access IS NULL OR access NOT IN ('search', 'read', 'write', 'keep', 'maintain') THEN
        RAISE EXCEPTION 'there is no access "%"', access USING
            ERRCODE = 'IM012',
            HINT = 'It is search, read, write, keep or maintain.';
    END IF;
    RETURN NEXT 'USAGE ON SCHEMA imgdb';
    RETURN QUERY
    SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
    FROM pg_proc AS p
    WHERE
        p.pronamespace = 'imgdb'::regnamespace
        AND p.proname <> ALL (v_nobody)
        AND CASE
            WHEN p.proname = ANY (v_search) THEN access IN ('search', 'read', 'write')
            WHEN p.proname = ANY (v_watch) THEN access IN ('write', 'keep')
            -- What only computes, such as imgdb.from_hex.
            WHEN access = 'search' THEN p.proname !~ '^_' AND p.provolatile = 'i'
            -- What writes nothing.
            WHEN p.prokind = 'f' AND p.provolatile <> 'v' THEN true
            WHEN access = 'read' THEN p.proname = 'check_space'
            WHEN access = 'keep' THEN p.proname = ANY (v_keep || v_compact)
            WHEN access = 'maintain' THEN p.proname = ANY (v_compact)
            WHEN access = 'write'
                THEN p.proname <> ALL (v_keep || v_compact) AND p.prorettype <> 'trigger'::regtype
        END;
    IF access = 'maintain' THEN
        RETURN NEXT 'EXECUTE ON FUNCTION imgdb._may_maintain()';
    END IF;
    IF access = 'search' THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT format('SELECT ON imgdb.%I', c.relname)
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p', 'v')
        -- Who looks after spaces sees no image.
        AND (
            access IN ('read', 'write') OR c.relkind = 'v'
            OR c.relname = ANY (v_engine || ARRAY['alembic_version', 'rule'])
        );
    IF access = 'write' THEN
        RETURN QUERY
        SELECT format('INSERT, UPDATE, DELETE ON imgdb.%I', c.relname)
        FROM pg_class AS c
        WHERE
            c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p')
            AND c.relname <> ALL (
                v_engine || ARRAY['alembic_version', 'watch_list', 'watch_probe', 'match']
            );
    ELSIF access = 'keep' THEN
        RETURN NEXT 'INSERT (name, description, band_masks), DELETE, '
        'UPDATE (description, default_max_distance, claimed_by) ON imgdb.own_space';
    END IF;
    IF access IN ('write', 'keep') THEN
        RETURN NEXT 'INSERT (space_id, hash, radius, label), DELETE ON imgdb.own_watch_list';
        RETURN NEXT 'DELETE ON imgdb.own_match';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._rights(text) IS
'What GRANT gives for an access: search, read, write, keep or maintain.';

CREATE FUNCTION imgdb._check_role(role_name name)
RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF to_regrole(quote_ident(role_name)) IS NULL THEN
        RAISE EXCEPTION 'there is no role "%"', coalesce(role_name, 'NULL') USING
            ERRCODE = 'IM012',
            HINT = 'CREATE ROLE makes one.';
    END IF;
END
$$;

COMMENT ON FUNCTION imgdb._check_role(name) IS 'Error IM012 unless there is a role of that name.';

CREATE FUNCTION imgdb.grant_access(role_name name, access text)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rights text[] := ARRAY(SELECT imgdb._rights(access));
    v_right text;
BEGIN
    -- PUBLIC is no role, and gets nothing.
    PERFORM imgdb._check_role(role_name);
    FOREACH v_right IN ARRAY v_rights LOOP
        EXECUTE format('GRANT %s TO %I', v_right, role_name);
    END LOOP;
END
$$;

COMMENT ON FUNCTION imgdb.grant_access(name, text) IS
'Lets a role search (call find_images and find_pdq, see no table), read (all), write (read, and '
'ingest), keep (make and look after spaces of its own) or maintain (compact all spaces). For the '
'owner of the schema.';

CREATE FUNCTION imgdb.revoke_access(role_name name)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM imgdb._check_role(role_name);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA imgdb FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA imgdb FROM %I', role_name);
    EXECUTE format('REVOKE ALL ON SCHEMA imgdb FROM %I', role_name);
END
$$;

COMMENT ON FUNCTION imgdb.revoke_access(name) IS
'Takes back all that imgdb.grant_access gave a role. For the owner of schema imgdb.';
