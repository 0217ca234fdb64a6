"""`imgdb db grant` and `imgdb db revoke`, and the commands of roles that log in."""

import json

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from roles import login


def test_a_role_is_given_rights_that_add_up_and_loses_them_all(cli, database):
    with login(database, "clerk") as dsn:
        name = conninfo_to_dict(dsn)["user"]
        refused = cli("collections", dsn=dsn)
        assert refused.code == 1 and "`imgdb db grant ROLE --read`" in refused.stderr
        given = cli("db", "grant", name, "--write", "--maintain", dsn=database)
        assert (given.code, given.stdout) == (0, "")
        assert given.stderr == f"imgdb: role {name} may write, maintain\n"
        assert cli("collections", dsn=dsn).code == 0
        assert cli("space", "compact", "phash", dsn=dsn).code == 0
        assert cli("db", "revoke", name, dsn=database).code == 0
        assert cli("collections", dsn=dsn).code == 1
        # Nor can it give rights to itself.
        assert cli("db", "grant", name, "--read", dsn=dsn).code == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("grant", "nosuch", "--read"), 'there is no role "nosuch"'),
        (("grant", "public", "--read"), 'there is no role "public"'),
        (("revoke", "public"), 'there is no role "public"'),
        (("grant", "nosuch"), "say what the role may do: --search-only, --read"),
    ],
)
def test_no_role_or_no_right_is_wrong_usage(cli, database, args, said):
    result = cli("db", *args, dsn=database)
    assert (result.code, result.stdout) == (2, "")
    assert said in result.stderr


def test_who_only_searches_has_no_command_and_is_told_so(cli, database):
    with login(database, "seeker") as dsn:
        name = conninfo_to_dict(dsn)["user"]
        assert cli("db", "grant", name, "--search-only", dsn=database).code == 0
        result = cli("query", "--exit-code", "examples/query.jpg", dsn=dsn)
        assert result.code == 2
        assert "permission denied for table alembic_version" in result.stderr


def test_a_keeper_looks_after_spaces_of_its_own_and_no_others(cli, database):
    create = f'CREATE ON DATABASE "{conninfo_to_dict(database)["dbname"]}"'
    with login(database, "keeper", create) as dsn:
        name = conninfo_to_dict(dsn)["user"]
        assert cli("db", "grant", name, "--keep", dsn=database).code == 0
        empty = cli("space", "compact", dsn=dsn)
        assert empty.code == 1 and "no space belongs to this role" in empty.stderr
        with psycopg.connect(dsn, autocommit=True) as keeper:
            keeper.execute("CREATE SCHEMA shop")
            keeper.execute("CREATE TABLE shop.product (hash bigint)")
            keeper.execute("SELECT imgdb.track('shop.product', 'hash', 'shop')")
            keeper.execute("INSERT INTO shop.product SELECT generate_series(1, 500)")
        for command in ("check", "compact", "stats"):
            result = cli("space", command, "--json", dsn=dsn)
            assert result.code == 0, result
            names = [row["space"] for row in json.loads(result.stdout)]
            assert "shop" in names and (command == "stats") == ("phash" in names)
        assert cli("space", "rebuild", "shop", dsn=dsn).code == 0
        assert cli("space", "check", "shop", "--mend", dsn=dsn).code == 0
        for command in ("check", "compact", "rebuild"):
            result = cli("space", command, "phash", dsn=dsn)
            assert result.code in (1, 3) and "belongs to" in result.stderr
