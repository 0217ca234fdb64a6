"""docs/architecture.md and docs/decisions name what is there, and the map of rooms is complete."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "architecture.md").read_text("utf-8")
DECISIONS = sorted(DOCS.glob("decisions/[!R]*.md"))
PAGES = [DOCS / "architecture.md", DOCS / "decisions" / "README.md", *DECISIONS]
SQL = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "sql").rglob("*.sql")))
PLACES = ("imgdb/", "sql/", "tests/", "docs/", "benchmarks/", "tools/", "migrations/")


def spans(text):
    """Return what stands between backticks in prose and tables."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def defines(module, name):
    """Tell whether a module defines a class or function, or a class its method (Class.method)."""
    body = ast.parse((ROOT / module).read_text("utf-8")).body
    for part in name.split("."):
        found = [one for one in body if getattr(one, "name", None) == part]
        if not found:
            return False
        body = getattr(found[0], "body", [])
    return True


def missing(text):
    """Return the spans of a page that name no file, Python definition or SQL object."""
    lacking = []
    for span in spans(text):
        path, _, name = span.partition("::")
        if path.startswith(PLACES):
            there = (ROOT / path).exists() and (not name or defines(path, name))
        elif sql := re.fullmatch(r"imgdb\.(\w+)", span):
            there = re.search(rf"\b(FUNCTION|PROCEDURE|TABLE|VIEW) imgdb\.{sql[1]}\b", SQL)
            there = there or (ROOT / "imgdb" / f"{sql[1]}.py").exists()
        else:
            continue
        if not there:
            lacking.append(span)
    return lacking


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page):
    assert missing(page.read_text("utf-8")) == []


def test_what_is_not_there_is_noticed():
    text = (
        "`imgdb/nowhere.py` `imgdb/errors.py::NoError` `imgdb/errors.py::PictureError.nothing` "
        "`imgdb._no_such_function` `sql/99_nothing/`"
    )
    assert len(missing(text)) == 5
    assert missing("`imgdb/errors.py::PictureError.__init__` `imgdb.within` `imgdb.probe`") == []


def test_each_module_has_its_line():
    told = {}
    for room, table in re.findall(r"^### `(imgdb/[\w/]*)`\n\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        first = [row.split("|")[1] for row in table.splitlines()[2:]]
        told[room] = sorted(name for cell in first for name in re.findall(r"`(\w+\.py)`", cell))
    there = {}
    for file in (ROOT / "imgdb").rglob("*.py"):
        if file.name != "__init__.py":
            room = file.parent.relative_to(ROOT).as_posix() + "/"
            there.setdefault(room, []).append(file.name)
    assert told == {room: sorted(names) for room, names in there.items()}


def test_words_are_in_order_and_told_once():
    table = PAGE.split("\n## Words\n")[1]
    words = re.findall(r"^\| ([\w, ()]+?) \|", table, re.MULTILINE)[1:]
    assert len(words) > 30 and words == sorted(words) and len({*words}) == len(words)


def test_decisions_are_short_and_listed():
    index = (DOCS / "decisions" / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"\]\((\S+\.md)\)", index)) == [page.name for page in DECISIONS]
    for page in DECISIONS:
        text = page.read_text("utf-8")
        assert 10 <= text.count("\n") <= 30, page.name
        assert f"[{text.splitlines()[0].removeprefix('# ')}]({page.name})" in index
        for part in ("**Decision.**", "**Why.**", "**What would change it.**"):
            assert part in text, page.name
