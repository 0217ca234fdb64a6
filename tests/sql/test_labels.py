"""The rules that every object of schema imgdb keeps, read from the catalog."""

import re
from pathlib import Path

import pytest

FUNCTIONS = (
    "SELECT p.oid::regprocedure::text FROM pg_proc p"
    " JOIN pg_language l ON l.oid = p.prolang"
    " WHERE p.pronamespace = 'imgdb'::regnamespace AND "
)
# The body is text, or since PostgreSQL 14 a parsed tree.
BODY = "concat(p.prosrc, pg_get_function_sqlbody(p.oid))"
COLUMNS = (
    "SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('r', 'p', 'v')"
    " AND c.relname <> 'alembic_version' AND a.attnum > 0 AND NOT a.attisdropped"
)

# Rule to the query that lists who breaks it.
RULES = {
    # Only a function that writes, locks or draws random numbers, or calls one that does, may be
    # volatile: the planner calls it once for each row.
    "a volatile function writes": FUNCTIONS
    + "p.prokind = 'f' AND p.provolatile = 'v' AND p.prorettype <> 'trigger'::regtype"
    f" AND {BODY} !~* '\\m((insert|update|delete|truncate|create|alter|drop|lock|analyze|execute) "
    r"|for key share|random\(|set_config\(|pg_advisory_xact_lock(_shared)?\()'"
    " AND NOT EXISTS (SELECT FROM pg_proc w WHERE w.pronamespace = p.pronamespace"
    f" AND w.provolatile = 'v' AND w.oid <> p.oid AND {BODY} ~ ('imgdb\\.' || w.proname || '\\M'))",
    "a function that writes is volatile": FUNCTIONS + "p.prokind = 'f' AND p.provolatile <> 'v'"
    f" AND {BODY} ~* '\\m(insert into|update imgdb|delete from|truncate|lock table)\\M'",
    "a pure function says so": FUNCTIONS
    + f"p.provolatile = 'i' AND (p.proparallel <> 's' OR {BODY} ~* '\\mfrom imgdb\\M')",
    "what reads buckets is plpgsql, not parallel": FUNCTIONS
    + f"{BODY} ~ 'imgdb\\.prefix_bucket' AND p.prorettype <> 'trigger'::regtype"
    " AND (l.lanname <> 'plpgsql' OR p.proparallel <> 'u')",
    # 1000 is what PostgreSQL takes where ROWS was not said.
    "a function that returns a set says ROWS": FUNCTIONS + "p.proretset AND p.prorows = 1000",
    "arguments have names": FUNCTIONS
    + "p.pronargs > 0 AND (p.proargnames IS NULL OR '' = ANY (p.proargnames))",
    "no argument bears the name of a column": FUNCTIONS + "EXISTS (SELECT FROM"
    " unnest(p.proargnames, coalesce(p.proargmodes::text[],"
    " array_fill('i'::text, ARRAY[coalesce(cardinality(p.proargnames), 0)]))) AS a (name, mode)"
    f" WHERE a.mode IN ('i', 'b', 'v') AND a.name IN ({COLUMNS}))",
    "no overloads": "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace"
    " GROUP BY proname HAVING count(*) > 1",
    # "File" is a picture file, a plan or an import file: functions are named by verbs.
    "hashes are indexed, never filed": FUNCTIONS + "(p.proname ~ '^_?(re)?file' OR concat_ws(' ',"
    f" p.proname, p.proargnames::text, {BODY}, obj_description(p.oid, 'pg_proc'))"
    " ~* '(^|[^a-z])(re)?fil(ed|ing)([^a-z]|$)')",
    "trigger functions are internal": FUNCTIONS
    + "p.prorettype = 'trigger'::regtype AND p.proname !~ '^_'",
    # What a caller's path holds must never decide what runs. A parsed body was resolved when it was
    # made; a procedure that commits cannot have SET.
    "a body that is text pins search_path": FUNCTIONS + "p.prokind = 'f' AND p.prosqlbody IS NULL"
    " AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)",
    "a procedure calls imgdb's own functions only": FUNCTIONS
    + "p.prokind = 'p' AND p.prosrc ~* '\\m(select|from|where|execute)\\M"
    "|[^_.[:alnum:]](?!and|array|loop|if|in)[a-z_]+\\('",
    "functions have a comment": FUNCTIONS + "obj_description(p.oid, 'pg_proc') IS NULL",
    "tables, views and indexes have a comment": "SELECT c.oid::regclass::text FROM pg_class c"
    " LEFT JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relname !~ '^alembic_version'"
    " AND c.relkind IN ('r', 'p', 'v', 'i', 'I') AND obj_description(c.oid, 'pg_class') IS NULL"
    # The index of a constraint is explained by the constraint.
    " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)",
    "columns have a comment": "SELECT c.oid::regclass || '.' || a.attname"
    + COLUMNS.removeprefix("SELECT a.attname")
    + " AND col_description(c.oid, a.attnum) IS NULL",
    "indexes are named table_columns_idx": "SELECT c.relname FROM pg_class c"
    " WHERE c.relnamespace = 'imgdb'::regnamespace AND c.relkind IN ('i', 'I')"
    " AND c.relname !~ '^alembic_version'"
    " AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)"
    " AND c.relname !~ '_idx$'",
    "checks are named table_rule_check": "SELECT conname FROM pg_constraint"
    " WHERE connamespace = 'imgdb'::regnamespace AND contype = 'c'"
    " AND (conname !~ '_check$' OR conname !~ ('^' || (SELECT relname FROM pg_class"
    " WHERE oid = conrelid)))",
    "nothing stands in public": "SELECT c.oid::regclass::text FROM pg_class c"
    " WHERE c.relnamespace = 'public'::regnamespace",
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(conn, rule):
    assert [name for (name,) in conn.execute(RULES[rule])] == []


OFFENCES = {
    "a volatile function writes": "CREATE FUNCTION imgdb.f() RETURNS bigint LANGUAGE sql"
    " AS 'SELECT count(*) FROM pg_class'",
    "a function that writes is volatile": "CREATE FUNCTION imgdb.f() RETURNS void"
    " LANGUAGE plpgsql STABLE AS 'BEGIN DELETE FROM imgdb.t; END'",
    "a pure function says so": "CREATE FUNCTION imgdb.f() RETURNS int LANGUAGE sql IMMUTABLE"
    " RETURN 1",
    "what reads buckets is plpgsql, not parallel": "CREATE FUNCTION imgdb.f()"
    " RETURNS bigint LANGUAGE plpgsql PARALLEL SAFE"
    " AS 'BEGIN RETURN (SELECT count(*) FROM imgdb.prefix_bucket); END'",
    "a function that returns a set says ROWS": "CREATE FUNCTION imgdb.f() RETURNS SETOF int"
    " LANGUAGE sql AS 'SELECT 1'",
    "arguments have names": "CREATE FUNCTION imgdb.f(int) RETURNS int LANGUAGE sql RETURN $1",
    "no argument bears the name of a column": "CREATE TABLE imgdb.t (a_column int);"
    "CREATE FUNCTION imgdb.f(a_column int) RETURNS int LANGUAGE sql RETURN 1",
    "no overloads": "CREATE FUNCTION imgdb.f() RETURNS int LANGUAGE sql RETURN 1;"
    " CREATE FUNCTION imgdb.f(x int) RETURNS int LANGUAGE sql RETURN 1",
    "hashes are indexed, never filed": "CREATE FUNCTION imgdb.f(are_filed boolean) RETURNS int"
    " LANGUAGE sql RETURN 1",
    "trigger functions are internal": "CREATE FUNCTION imgdb.f() RETURNS trigger"
    " LANGUAGE plpgsql AS 'BEGIN END'",
    "a body that is text pins search_path": "CREATE FUNCTION imgdb.f()"
    " RETURNS int LANGUAGE sql SET search_path = public AS 'SELECT 1'",
    "a procedure calls imgdb's own functions only": "CREATE PROCEDURE imgdb.f()"
    " LANGUAGE plpgsql AS 'BEGIN PERFORM format(''x''); END'",
    "functions have a comment": "CREATE FUNCTION imgdb.f() RETURNS int LANGUAGE sql RETURN 1",
    "tables, views and indexes have a comment": "CREATE TABLE imgdb.t (a int)",
    "columns have a comment": "CREATE TABLE imgdb.t (a int)",
    "indexes are named table_columns_idx": "CREATE TABLE imgdb.t (a int);"
    " CREATE INDEX t_a ON imgdb.t (a)",
    "checks are named table_rule_check": "CREATE TABLE imgdb.t (a int CONSTRAINT c CHECK (a > 0))",
    "nothing stands in public": "CREATE TABLE public.t (a int)",
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_finds_its_offender(conn, rule):
    conn.execute(OFFENCES[rule])
    assert conn.execute(RULES[rule]).fetchall() != []


def test_every_function_is_written_with_its_volatility():
    """The catalog cannot tell VOLATILE that was said from VOLATILE that was left out."""
    heads = [
        head
        for file in (Path(__file__).parents[2] / "sql").glob("*/*.sql")
        for head in re.findall(r"CREATE FUNCTION .*?(?:AS \$\$|\nRETURN )", file.read_text(), re.S)
    ]
    assert len(heads) > 50
    assert [head for head in heads if not re.search("VOLATILE|STABLE|IMMUTABLE", head)] == []
