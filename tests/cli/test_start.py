"""What starting a command loads: nothing that it does not need."""

import os
import subprocess
import sys

import psycopg
import pytest

from imgdb.database.embedded import Server

# Of these each takes longer to load than most commands take to answer.
HEAVY = {
    "numpy", "PIL", "scipy", "imagehash", "pydantic", "pydantic_core", "asyncio", "psycopg",
    "alembic", "sqlalchemy", "rich", "jinja2", "watchfiles", "textual_image", "fastapi",
    "starlette", "uvicorn", "psycopg_pool",
}  # fmt: skip
# psycopg loads asyncio on its own account.
DATABASE = {"psycopg", "asyncio"}
LOADED = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from imgdb.cli import main
main()
"""


def loaded(arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--version"], set()),
        (["db", "status"], set()),
        (["db", "status", "--json"], set()),
        (["query", "--hex", "0" * 16, "--limit", "3", "--hash", "dhash", "--json"], DATABASE),
        (["stats"], DATABASE),
        (["collections"], DATABASE),
        (["failures", "--csv"], DATABASE),
        (["duplicates", "--limit", "1"], DATABASE | {"numpy"}),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else "with",
)
def test_nothing_heavy_is_loaded_for_nothing(database, tmp_path, arguments, needed):
    found = loaded(arguments, IMGDB_DSN=database, IMGDB_HOME=str(tmp_path / "home"))
    assert found & HEAVY <= needed


def test_nothing_is_searched_for_cycles_at_the_end():
    left = "import atexit, gc; atexit.register(lambda: print(len(gc.get_objects())))\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{left}from imgdb.cli import main; main()", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout.splitlines()[-1]) < 1000


def test_a_server_that_runs_is_looked_at_without_asking_it(home):
    with Server(home, durable=False) as server:
        assert not loaded(["db", "status"], IMGDB_HOME=str(home)) & HEAVY
        with psycopg.connect(server.conninfo()) as conn:
            (version,) = conn.execute("SHOW server_version").fetchone()
        assert server.status().version == version


def test_only_the_command_that_runs_is_loaded(database):
    modules = loaded(["--dsn", database, "--debug", "stats"])
    assert "imgdb.cli.inspect" in modules
    assert not {"imgdb.cli.query", "imgdb.cli.duplicates", "imgdb.cli.ingest"} & modules
    assert {"imgdb.cli.query", "imgdb.cli.duplicates"} <= loaded(["--help"])
    assert not {"imgdb.cli.query", "imgdb.cli.inspect"} & loaded(["--version"])
