"""What is public of Python: loaded when it is asked for, told in docs/python.md, and no more."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import imgdb

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
HEAVY = {"numpy", "PIL", "psycopg", "alembic", "sqlalchemy", "typer", "jinja2"}


def loaded(code: str) -> set[str]:
    """Run code in a Python of its own, and return the modules that it has loaded."""
    show = "import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_imgdb_loads_nothing_else():
    modules = loaded("import imgdb")
    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("imgdb")} == {"imgdb"}


def test_a_name_loads_what_it_needs_and_no_more():
    assert "numpy" in loaded("import imgdb; imgdb.fingerprint")
    assert not loaded("import imgdb; imgdb.path_text, imgdb.ImgdbError") & HEAVY


@pytest.mark.parametrize("name", imgdb.__all__)
def test_each_name_is_there_and_keeps_its_value(name):
    assert getattr(imgdb, name) is getattr(imgdb, name) is not None
    assert name in dir(imgdb)


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        imgdb.nonsense  # noqa: B018


def test_what_type_checkers_see_is_what_is_loaded():
    block = re.search(
        r"^if TYPE_CHECKING:\n((?:    .*\n|\n)+)",
        Path(imgdb.__file__).read_text("utf-8"),
        re.MULTILINE,
    )
    assert block is not None
    imports = re.findall(r"from (\S+) import (.+)", block[1])
    seen = {name: module for module, names in imports for name in names.split(", ")}
    assert seen == imgdb._MODULES
    assert {"__version__", *seen} == set(imgdb.__all__) and 8 <= len(seen) <= 13


def test_the_page_tells_of_these_names_and_no_others():
    told = re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE)
    assert sorted(told) == sorted(imgdb.__all__)


def test_pages_for_users_import_public_names_only():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for module, names in re.findall(r"^from (imgdb\S*) import (.+)$", code, re.MULTILINE):
                assert module in ("imgdb", "imgdb.sqlalchemy"), page.name
                assert module != "imgdb" or set(names.split(", ")) <= set(imgdb.__all__)
