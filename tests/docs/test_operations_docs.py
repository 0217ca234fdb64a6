"""What docs/operations.md tells a DBA to run: it runs, and does what the page says."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from servers import dump_programs

pytestmark = pytest.mark.sql

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
BLOCKS = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
JOBS = re.findall(r"\d \* \* \*', '([^']+)'", re.sub(r",\s+", ", ", PAGE))


@pytest.fixture
def shop(database):
    """Give a connection to a database with a tracked table shop.product."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA shop")
        conn.execute("CREATE TABLE shop.product (hash bigint)")
        conn.execute("SELECT imgdb.track('shop.product', 'hash', 'shop')")
        conn.execute("INSERT INTO shop.product SELECT generate_series(1, 500)")
        yield conn


@pytest.mark.parametrize("block", [block for block in BLOCKS if "cron." not in block])
def test_the_sql_runs(shop, block):
    shop.execute("CREATE ROLE shop_app")
    try:
        for statement in filter(str.strip, block.split(";")):
            shop.execute(statement)
    finally:
        shop.execute("DROP ROLE shop_app")


def test_the_jobs_run_one_by_one_and_not_in_one_string(shop):
    """pg_cron sends the string of a job as psycopg sends one without arguments."""
    assert len(JOBS) == 2
    for job in JOBS:
        shop.execute(job)
    assert shop.execute("SELECT fresh_rows FROM imgdb.space_health WHERE name = 'shop'").fetchone()
    with pytest.raises(psycopg.errors.InvalidTransactionTermination):
        shop.execute("; ".join(JOBS))


def test_buckets_that_a_dump_leaves_out_are_made_again(server, shop, database, empty_database):
    shop.execute("SELECT imgdb._make_collection('all')")
    shop.execute(
        "INSERT INTO imgdb.image (collection_id, path, phash, recipe)"
        " SELECT collection_id, '/a', 7, 'imported' FROM imgdb.collection"
    )
    shop.execute("CALL imgdb.compact()")
    (line,) = re.findall(r"^pg_dump (.*) shop > shop.sql$", PAGE, re.M)
    (care,) = re.findall(r"^echo .* \| psql$", PAGE, re.M)
    programs = dump_programs(server)
    dumped = subprocess.run(
        [programs / "pg_dump", *line.replace("'", "").split(), f"--dbname={database}"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", empty_database],
        input=dumped.stdout,
        check=True,
        capture_output=True,
    )
    with psycopg.connect(empty_database, autocommit=True) as conn:
        found = (
            "SELECT (SELECT count(*) FROM imgdb.within('shop', 7, 0)),"
            " (SELECT count(*) FROM imgdb.within('phash', 7, 0))"
        )
        assert conn.execute(found).fetchone() == (0, 0)
        subprocess.run(
            ["bash", "-c", care.replace("| psql", f"| {programs / 'psql'} -X '{empty_database}'")],
            check=True,
            capture_output=True,
        )
        assert conn.execute(found).fetchone() == (1, 1)
        assert conn.execute("SELECT * FROM imgdb.missing_hashes('shop')").fetchall() == []
        conn.execute("INSERT INTO shop.product VALUES (-5)")
        assert conn.execute("SELECT count(*) FROM imgdb.within('shop', -5, 0)").fetchone() == (1,)
