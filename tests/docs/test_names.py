"""One word, one meaning: a public class or function has its name for itself."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "imgdb"

# It spells the names of SQL functions, which Python has too (distance, to_hex, ...).
SPELLS_SQL = PACKAGE / "sqlalchemy.py"


def public_names(source: str) -> list[str]:
    """Return the public classes and functions that a module defines at its top level."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(source).body
    return [one.name for one in body if isinstance(one, kinds) and one.name[0] != "_"]


def defined_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return name to modules for each public name that more than one place defines."""
    places = defaultdict(list)
    for module, source in sources.items():
        for name in public_names(source):
            places[name].append(module)
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def test_each_public_name_is_defined_once():
    files = [file for file in sorted(PACKAGE.rglob("*.py")) if file != SPELLS_SQL]
    sources = {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in files}
    assert len(sources) > 100
    assert defined_twice(sources) == {}


def test_a_name_that_is_defined_twice_is_noticed():
    sources = {
        "search/a.py": "class Plan: ...\ndef _own(): ...\ndef once(): ...",
        "hashes/b.py": "def _own(): ...\nclass Plan: ...\nclass Other:\n    def once(self): ...",
    }
    assert defined_twice(sources) == {"Plan": ["search/a.py", "hashes/b.py"]}


def test_the_exception_is_needed():
    ours = [name for file in PACKAGE.glob("*/*.py") for name in public_names(file.read_text())]
    assert {"to_hex", "from_hex"} <= {*ours} & {*public_names(SPELLS_SQL.read_text("utf-8"))}
