"""The wheel holds SQL, revisions, templates, examples, and works away from the repository."""

import subprocess
import sys
from pathlib import Path

import pytest

from imgdb import schema

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

# Run by a Python that knows the installed wheel and the dependencies, but not the checkout.
USE = """
from pathlib import Path
import imgdb
from imgdb import schema
from imgdb.pages.render import render_page
from imgdb.shipped import shipped_folder
package = Path(imgdb.__file__).parent
assert schema.migrations_folder() == package / "_migrations", schema.migrations_folder()
assert {file.parents[1] for file in schema.sql_files()} == {package / "_sql"}
assert shipped_folder("examples") == package / "_examples"
assert "prefers-color-scheme" in render_page("base.html", parts=["pictures"])
print(schema.head(), len(schema.sql_files()), len(schema.script()))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build a wheel and install it into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", "-w", folder, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    if "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        pytest.skip("the build backend (hatchling) cannot be had without a package index")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run(
        [*pip, "install", "-q", "--no-deps", "--no-index", "--target", site, wheel], check=True
    )
    return site


def test_the_wheel_works_away_from_the_repository(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", USE],
        env={"PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"{schema.head()} {len(schema.sql_files())} {len(schema.script())}\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_the_wheel_holds_the_package_and_nothing_else(installed):
    tops = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"bin", "imgdb"}
    assert (installed / "imgdb" / "py.typed").exists()
    scripts = {path.suffix for path in (installed / "imgdb" / "cli" / "completion").glob("imgdb.*")}
    assert scripts == {".bash", ".zsh", ".fish"}
    shipped = installed / "imgdb" / "_examples"
    pictures = {path.relative_to(shipped) for path in shipped.rglob("*.*")}
    examples = ROOT / "examples"
    assert pictures == {
        path.relative_to(examples)
        for path in (examples / "query.jpg", *(examples / "images").iterdir())
    }
    vectors = {path.name for path in (installed / "imgdb" / "_vectors").iterdir()}
    assert vectors == {path.name for path in (ROOT / "vectors").iterdir()}
    metadata = next(installed.glob("imgdb_postgresql-*.dist-info"))
    assert (metadata / "licenses" / "LICENSE").exists()
