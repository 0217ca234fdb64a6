"""Each page of docs/clients runs as it stands, where the client is installed."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from relay import relay

PAGES = Path(__file__).parents[2] / "docs" / "clients"
BLOCK = re.compile(
    r"<!-- run: ([\w-]+) -->\n```(\w+)\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL
)
BLOCKS = {
    name: (language, code, output)
    for page in sorted(PAGES.glob("*.md"))
    for name, language, code, output in BLOCK.findall(page.read_text("utf-8"))
}
JDBC = Path("/usr/share/java/postgresql.jar")
NEEDS = {"asyncpg": ["asyncpg"], "sqlalchemy-async": ["asyncpg"], "django": ["django"]}


def python(name, code, folder):
    for module in NEEDS.get(name, []):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs pip install {module}")
    return [sys.executable, "-c", code]


def javascript(name, code, folder):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    if subprocess.run([node, "-e", "require('pg')"], capture_output=True, check=False).returncode:
        pytest.skip("needs npm install pg, and NODE_PATH")
    return [node, "-e", code]


def java(name, code, folder):
    if not shutil.which("javac") or not JDBC.exists():
        pytest.skip("needs javac and the JDBC driver")
    (folder / "Search.java").write_text(code, "utf-8")
    subprocess.run(["javac", "Search.java"], cwd=folder, check=True)
    return ["java", "-cp", f"{folder}:{JDBC}", "Search"]


LANGUAGES = {"python": python, "javascript": javascript, "java": java}


@pytest.fixture
def shop(database):
    """Give a database with the pages' table."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(BLOCKS["table"][1])
    return database


@pytest.mark.parametrize("name", [name for name, block in BLOCKS.items() if block[0] != "sql"])
def test_the_page_prints_what_it_says(shop, name, tmp_path):
    language, code, output = BLOCKS[name]
    command = LANGUAGES[language](name, code, tmp_path)
    place = conninfo_to_dict(shop)
    with relay(f"{place['host']}/.s.PGSQL.{place['port']}") as port:
        at = f"127.0.0.1:{port}/{place['dbname']}"
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={
                **os.environ,
                "DATABASE_URL": f"postgresql://{place['user']}@{at}",
                "JDBC_URL": f"jdbc:postgresql://{at}?user={place['user']}",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
    assert done.stdout == output, done.stderr
    assert done.returncode == 0


def test_the_function_for_http_finds(shop):
    with psycopg.connect(shop, autocommit=True) as conn:
        conn.execute(BLOCKS["postgrest"][1])
        conn.execute(
            "INSERT INTO shop.product VALUES ('CAT-1', imgdb.from_hex('e4169b69c6c63ac5'))"
        )
        found = conn.execute("SELECT * FROM api.similar_products(photo_hex => 'e4169b69c6c63ac6')")
        assert found.fetchall() == [("CAT-1", "e4169b69c6c63ac5", 2)]
        with pytest.raises(psycopg.Error, match="is not a hash") as caught:
            conn.execute("SELECT * FROM api.similar_products('cat')")
        assert caught.value.sqlstate == "IM003"


def test_every_page_is_listed_and_run():
    index = (PAGES / "README.md").read_text("utf-8")
    for page in PAGES.glob("*.md"):
        assert re.search("<!-- (run|serve): ", page.read_text("utf-8")), page
        assert page.name == "README.md" or f"({page.name})" in index
