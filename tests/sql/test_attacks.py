"""Attacks by roles that really log in: nobody gets another's rights, or makes imgdb blind."""

import contextlib

import psycopg
import pytest
from library import shelf
from psycopg import sql
from roles import login
from servers import embedded_only

HOSTILE = (
    "CREATE FUNCTION {schema}.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'ran as %', current_user USING ERRCODE = 'XX999'; END $$"
)
# What bodies call, in forms that fit better than PostgreSQL's own.
OVERLOADS = {
    "cardinality(bigint[])": "integer",
    "unnest(bigint[])": "SETOF bigint",
    "format(text, text)": "text",
    "width_bucket(bigint, bigint[])": "integer",
    "array_position(bigint[], bigint)": "integer",
    "greatest_of(bigint)": "bigint",
    "current_database()": "name",
    "current_setting(text)": "text",
}
AGGREGATES = ("array_agg", "min", "max", "sum", "bit_or")
CALLS = (
    "SELECT * FROM imgdb.within('shop', 5, 8)",
    "SELECT * FROM imgdb.within('shop', 5, 30)",
    "SELECT * FROM imgdb.within_any('shop', ARRAY[5, 6], 8)",
    "SELECT * FROM imgdb.nearest('shop', 5, 3)",
    "SELECT * FROM imgdb.scan('shop', 5, 8)",
    "SELECT * FROM imgdb.pairs('shop', 4)",
    "SELECT * FROM imgdb.explain('shop', 5, 8)",
    "SELECT * FROM imgdb.check_space('shop', 5, 8)",
    "SELECT * FROM imgdb.missing_hashes('shop')",
    "SELECT * FROM imgdb.space_statistics('shop')",
    "SELECT * FROM imgdb.fullest_buckets('shop', 3)",
    "SELECT * FROM imgdb.tracking_problems()",
    "SELECT * FROM imgdb.space_health",
    "SELECT * FROM imgdb.duplicate_groups('phash', 4)",
    "SELECT * FROM imgdb.find_images('phash', 5, 8)",
    "SELECT * FROM imgdb.find_pdq('{1,2,3,4}')",
    "SELECT imgdb.catch_up('public.product')",
    "SELECT imgdb.drop_stale('shop')",
    "CALL imgdb.compact('shop')",
    "CALL imgdb.compact()",
    "CALL imgdb.rebuild('shop')",
    "SELECT imgdb.untrack('public.product', 'hash')",
    "SELECT imgdb.track('public.product', 'hash', 'shop')",
    "INSERT INTO public.product SELECT i FROM generate_series(1, 20) AS i",
)


@pytest.fixture
def admin(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE TABLE product (hash bigint)")
        conn.execute("CREATE INDEX ON product (hash)")
        conn.execute("INSERT INTO product SELECT i * 7 FROM generate_series(1, 50) AS i")
        conn.execute("SELECT imgdb.track('product', 'hash', 'shop')")
        yield conn


def keep(admin, dsn):
    """Let the role of a connection string keep spaces of its own; return its name."""
    name = psycopg.conninfo.conninfo_to_dict(dsn)["user"]
    admin.execute("SELECT imgdb.grant_access(%s, 'keep')", [name])
    return name


@contextlib.contextmanager
def trap(admin, database):
    """Give another role a schema `trap` full of overloads, open to all."""
    with login(database, "mallory", f'CREATE ON DATABASE "{admin.info.dbname}"') as dsn:
        with psycopg.connect(dsn, autocommit=True) as mallory:
            mallory.execute("CREATE SCHEMA trap")
            for signature, result in OVERLOADS.items():
                name, _, rest = signature.partition("(")
                mallory.execute(
                    HOSTILE.format(schema="trap", name=name, arguments=rest[:-1], result=result)
                )
            mallory.execute(
                HOSTILE.format(
                    schema="trap", name="step", arguments="bigint, bigint", result="bigint"
                )
            )
            for name in AGGREGATES:
                mallory.execute(
                    f"CREATE AGGREGATE trap.{name}(bigint)"
                    " (SFUNC = trap.step, STYPE = bigint, INITCOND = '0')"
                )
            for operator in ("=", "<>", "<", "#", "&", "|", "||"):
                left = "bigint[]" if operator == "||" else "bigint"
                function = f"trap.op{ord(operator[0])}{len(operator)}"
                schema, _, name = function.partition(".")
                boolean = operator in ("=", "<>", "<")
                mallory.execute(
                    HOSTILE.format(
                        schema=schema,
                        name=name,
                        arguments=f"{left}, {left}",
                        result="boolean" if boolean else left,
                    )
                )
                mallory.execute(
                    f"CREATE OPERATOR trap.{operator} (FUNCTION = {function}, LEFTARG = {left},"
                    f" RIGHTARG = {left})"
                )
            mallory.execute("GRANT USAGE ON SCHEMA trap TO PUBLIC")
        yield


PATHS = ("trap, pg_catalog", "pg_catalog, trap")


def test_overloads_on_the_path_never_run(admin, database):
    """CVE-2018-1058, as a superuser, with the schema before and after pg_catalog."""
    with trap(admin, database):
        for path in PATHS:
            admin.execute(f"SET search_path = {path}")
            # The trap is sharp.
            with pytest.raises(psycopg.Error) as caught:
                admin.execute("SELECT cardinality(ARRAY[1::bigint])")
            assert caught.value.sqlstate == "XX999"
            for call in CALLS:
                admin.execute(call)
        admin.execute("RESET search_path")


COMMANDS = (
    ("ingest", "shelf", "--regions", "--pdq"),
    ("stats",),
    ("space", "check"),
    ("space", "check", "--mend"),
    ("space", "compact"),
    ("space", "stats"),
    ("space", "rebuild", "shop"),
    ("space", "explain", "shelf/lake.png"),
    ("query", "shelf/lake.png", "--any-orientation"),
    ("query", "shelf/lake.png", "--nearest", "3"),
    ("parts", "shelf/lake.png"),
    ("duplicates",),
    ("hubs",),
    ("failures",),
    ("collections",),
    ("ingest", "shelf", "--prune"),
    ("export", "--output", "hashes.csv"),
    ("import", "hashes.csv", "--collection", "again"),
)


@pytest.mark.slow
@embedded_only
def test_commands_run_no_overload_of_the_databases_path(admin, database, cli, tmp_path):
    shelf(tmp_path / "shelf")
    name = sql.Identifier(admin.info.dbname)
    with trap(admin, database):
        admin.execute(sql.SQL(f"ALTER DATABASE {{}} SET search_path = {PATHS[0]}").format(name))
        for command in COMMANDS:
            done = cli(*command, dsn=database, cwd=tmp_path)
            assert done.code == 0, (command, done.stderr)


def hostile_table(dsn, admin):
    """Make a table of a keeper's whose index runs code of his, tracked into a space of his."""
    with psycopg.connect(dsn, autocommit=True) as mallory:
        mallory.execute("CREATE TABLE public.bait (hash bigint, who text)")
        mallory.execute("INSERT INTO public.bait (hash) SELECT generate_series(1, 500)")
        mallory.execute("SELECT imgdb.track('public.bait', 'hash', 'bait')")
        mallory.execute(
            "CREATE FUNCTION public.spy(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$"
            " BEGIN"
            " IF current_setting('is_superuser') = 'on' THEN"
            " RAISE EXCEPTION 'ran as superuser' USING ERRCODE = 'XX999'; END IF; RETURN $1; END $$"
        )
        mallory.execute("CREATE INDEX ON public.bait (hash) WHERE public.spy(hash) > 0")


@pytest.mark.parametrize(
    "care",
    [
        "SELECT imgdb.catch_up('public.bait')",
        "SELECT imgdb.drop_stale('bait')",
        "SELECT imgdb.missing_hashes('bait')",
        "CALL imgdb.rebuild('bait')",
        "SELECT imgdb.track('public.bait', 'hash', 'other')",
    ],
)
def test_a_superuser_is_refused_before_a_tenants_table_is_read(admin, database, care):
    admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with login(database, "mallory") as dsn:
        name = keep(admin, dsn)
        hostile_table(dsn, admin)
        with pytest.raises(psycopg.Error) as caught:
            admin.execute(care)
        assert caught.value.sqlstate == "IM013"
        assert name in caught.value.diag.message_primary
        # Care of all spaces reads nobody's table, and searches run nobody's code.
        admin.execute("CALL imgdb.compact()")
        admin.execute("SELECT * FROM imgdb.nearest('bait', 5, 3)")
        admin.execute("SELECT * FROM imgdb.within('bait', 5, 3)")
        admin.execute("SELECT * FROM imgdb.check_space('bait', 5, 8)")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


def test_a_view_in_the_place_of_a_table_is_never_read(admin, database):
    """Renamed while care waits for the lock: what is locked then is not what was tracked."""
    admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with login(database, "mallory") as dsn:
        keep(admin, dsn)
        hostile_table(dsn, admin)
        with psycopg.connect(dsn, autocommit=True) as mallory:
            mallory.execute("ALTER TABLE public.bait RENAME TO gone")
            mallory.execute("CREATE VIEW public.bait AS SELECT public.spy(1) AS hash")
            # The space is the table's, whatever it is called now.
            assert mallory.execute("SELECT imgdb.catch_up('public.gone')").fetchone() == (0,)
            with pytest.raises(psycopg.Error) as caught:
                mallory.execute("SELECT imgdb.catch_up('public.bait')")
            assert caught.value.sqlstate == "IM010"
        admin.execute("CALL imgdb.compact()")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


STEPS = (
    "SELECT imgdb._note_tracked('public.product', 'hash', 1::smallint, {space}::smallint)",
    "SELECT imgdb._forget_tracked('public.product', 'hash', {space}::smallint)",
    "SELECT imgdb._add_band({space}::smallint, -1, ARRAY[5])",
    "SELECT imgdb._remove_hashes({space}::smallint, ARRAY[7])",
    "SELECT imgdb._put_back({space}::smallint, ARRAY[5])",
    "SELECT imgdb._count_added({space}::smallint, 5)",
    "SELECT imgdb._lock_claimed({space}::smallint)",
    "SELECT imgdb._make_shadow({space}::smallint, NULL)",
    "SELECT imgdb._use_shadow({space}::smallint, 1::smallint)",
    "SELECT imgdb._merge({space}::smallint, NULL, 5)",
    "SELECT imgdb._flush_all({space}::smallint)",
    "SELECT imgdb._count_anew({space}::smallint)",
    "SELECT imgdb._claim_space('shop')",
    "SELECT imgdb.drop_space('shop')",
    "SELECT imgdb.drop_stale('shop')",
    "SELECT imgdb.set_default_max_distance('shop', 3)",
    "CALL imgdb.compact('shop')",
    "CALL imgdb.rebuild('shop')",
)


@pytest.mark.parametrize("step", STEPS)
def test_a_keeper_can_do_nothing_to_a_space_of_another(admin, database, step):
    (space,) = admin.execute("SELECT space_id FROM imgdb.space WHERE name = 'shop'").fetchone()
    before = admin.execute("SELECT * FROM imgdb.tracked_column ORDER BY 1").fetchall()
    with login(database, "mallory") as dsn:
        keep(admin, dsn)
        with psycopg.connect(dsn, autocommit=True) as mallory:
            mallory.execute("SELECT imgdb.create_space('own', '')")
            with pytest.raises(psycopg.Error) as caught:
                mallory.execute(step.format(space=space))
            assert caught.value.sqlstate == "IM013"
            # Nor by a claim that he writes himself.
            updated = mallory.execute(
                "UPDATE imgdb.own_space SET claimed_by = 1 WHERE name = 'shop'"
            )
            assert updated.rowcount == 0
            for statement in (
                "INSERT INTO imgdb.tracked_column (table_id, column_name) VALUES ('pg_class', 'a')",
                "UPDATE imgdb.space SET claimed_by = 1",
                "INSERT INTO imgdb.own_space (name, owner_name) VALUES ('x', 'postgres')",
                "INSERT INTO imgdb.fresh_hashes VALUES (1, '{1}')",
                "SELECT imgdb._append(1::smallint, '{1}', NULL)",
                "SELECT count(*) FROM imgdb.image",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    mallory.execute(statement)
            mallory.execute("SELECT imgdb.drop_space('own')")
    assert admin.execute("SELECT * FROM imgdb.tracked_column ORDER BY 1").fetchall() == before


def test_a_forged_trigger_indexes_nothing(admin, database):
    """A keeper may execute the trigger function, so he can make triggers with keys of others."""
    (key,) = admin.execute(
        "SELECT t.track_key::text FROM imgdb.tracked_column AS t"
        " WHERE t.table_id = 'public.product'::regclass"
    ).fetchone()
    admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    with login(database, "mallory") as dsn:
        keep(admin, dsn)
        with psycopg.connect(dsn, autocommit=True) as mallory:
            mallory.execute("CREATE TABLE public.forged (hash bigint)")
            mallory.execute(
                "CREATE TRIGGER x AFTER INSERT ON public.forged REFERENCING NEW TABLE AS new_rows"
                f" FOR EACH STATEMENT EXECUTE FUNCTION imgdb._append_hashes('{key}')"
            )
            with pytest.raises(psycopg.Error) as caught:
                mallory.execute("INSERT INTO public.forged VALUES (12345)")
            assert caught.value.sqlstate == "IM009"
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    assert admin.execute("SELECT * FROM imgdb.within('shop', 12345, 0)").fetchall() == []


def test_every_function_that_changes_data_is_in_one_list(admin):
    """A new one is granted on purpose, or to nobody."""
    granted = {
        access: {
            right.split("ROUTINE ")[1].split("(")[0]
            for (right,) in admin.execute("SELECT imgdb._rights(%s)", [access])
            if "ROUTINE" in right
        }
        for access in ("search", "read", "write", "keep", "maintain")
    }
    volatile = {
        name
        for (name,) in admin.execute(
            "SELECT 'imgdb.' || proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace"
            " AND provolatile = 'v' AND prorettype <> 'trigger'::regtype"
        )
    }
    assert not granted["search"] & volatile
    assert not granted["read"] & (volatile - {"imgdb.check_space"})
    assert not granted["write"] & granted["maintain"] & volatile
