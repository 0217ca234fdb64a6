"""README and reference say what is so: their examples are run, their lists are compared."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from imgdb.database.embedded import find_bindir
from imgdb.sqlstate import RAISED_BY_IMGDB

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("run_examples", ROOT / "docs" / "run_examples.py")
assert SPEC and SPEC.loader
run_examples = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(run_examples)

PUBLIC = (
    "SELECT proname FROM pg_proc WHERE pronamespace = 'imgdb'::regnamespace AND proname !~ '^_'",
    "SELECT relname FROM pg_class WHERE relnamespace = 'imgdb'::regnamespace"
    " AND relkind IN ('r', 'v') AND relname !~ '^alembic_version'",
)


@pytest.fixture
def runner(cli, home):
    environment = {"IMGDB_HOME": str(home), "HOME": str(home)}
    assert cli("db", "start", env=environment).code == 0
    try:
        ingested = cli("ingest", "examples/images", env=environment, cwd=ROOT)
        assert ingested.code == 0, ingested
        url = cli("db", "url", env=environment).stdout.strip()
        yield run_examples.Runner(environment, url, find_bindir())
    finally:
        cli("db", "stop", env=environment)


@pytest.mark.parametrize("name", run_examples.PAGES)
def test_the_examples_print_what_the_page_says(runner, name):
    page = (ROOT / name).read_text("utf-8")
    assert runner.page(page) == page, "run python docs/run_examples.py"


def test_every_function_and_table_has_its_place(conn):
    page = (ROOT / "docs" / "sql.md").read_text("utf-8")
    for kind, query in zip(("function", "table"), PUBLIC, strict=True):
        told = set(re.findall(rf"<!-- {kind}: (\w+) -->", page))
        assert told == {name for (name,) in conn.execute(query)}


def test_every_error_is_listed(conn):
    page = (ROOT / "docs" / "sql-errors.md").read_text("utf-8")
    told = re.findall(r"^\| `(IM\d{3})` \|", page, re.MULTILINE)
    files = [*(ROOT / "sql").glob("*/*.sql"), ROOT / "migrations" / "guard.sql"]
    sources = [path.read_text("utf-8") for path in files]
    raised = {code for text in sources for code in re.findall(r"'(IM\d{3})'", text)}
    assert told == sorted(raised) == sorted(RAISED_BY_IMGDB)
    constraints = set(re.findall(r"`(\w+_check)`", page))
    known = {name for (name,) in conn.execute("SELECT conname FROM pg_constraint")}
    assert constraints <= known


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            other = (page.parent / name).resolve() if name else page
            assert other.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor in _anchors(other), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("command", ["try", "test"])
def test_the_readme_s_commands_are_one_line_each(command):
    """Scripts cut them out by their marker."""
    page = (ROOT / "README.md").read_text("utf-8")
    found = re.findall(rf"^<!-- command: {command} -->\n```sh\n(.+)\n```$", page, re.MULTILINE)
    assert len(found) == 1
    subprocess.run(["bash", "-n", "-c", found[0]], check=True)


def test_a_wrong_output_is_noticed(runner):
    page = "```sql\nSELECT 1 AS one;\n```\n\n```text\n one\n-----\n   2\n(1 row)\n```\n"
    assert runner.page(page) == page.replace("   2", "   1")
    with pytest.raises(RuntimeError, match="no_such_function"):
        runner.page("```sql\nSELECT imgdb.no_such_function();\n```\n")
