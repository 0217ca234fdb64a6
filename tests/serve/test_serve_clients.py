"""The programs of docs/clients/serve.md print what the page says, where their language is there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import Served

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients" / "serve.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"<!-- serve: (\w+) -->\n```\w+\n(.*?)```\n", PAGE, re.DOTALL))
(SAID,) = re.findall(r"```text\n(CAT-1.*?)```", PAGE, re.DOTALL)
# Interpreter with options, the name of the file, and what else it needs.
LANGUAGES = {
    "sh": (("sh",), "handler.sh", ("curl", "jq")),
    "python": (("python3",), "handler.py", ()),
    "javascript": (("node",), "handler.js", ()),
    "php": (("php",), "handler.php", ()),
    "ruby": (("ruby",), "handler.rb", ()),
    "go": (("go", "run"), "handler.go", ()),
}


def test_every_program_has_its_language():
    assert {*PROGRAMS} == {*LANGUAGES}


@pytest.fixture(scope="module")
def shop(_databases):
    """Run a server over a database of its own."""
    dsn = _databases.create("imgdb_serve_clients")
    with Served(dsn, "--allow-changes") as served:
        yield served
    _databases.drop("imgdb_serve_clients")


@pytest.mark.parametrize(
    "language",
    # It compiles what comes with it first.
    [pytest.param(one, marks=pytest.mark.slow) if one == "go" else one for one in LANGUAGES],
)
def test_an_upload_handler_stores_and_finds(shop, language, tmp_path):
    command, name, needs = LANGUAGES[language]
    for program in (command[0], *needs):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    (tmp_path / name).write_text(PROGRAMS[language], "utf-8")
    images = ROOT / "examples" / "images"
    (tmp_path / "no.jpg").write_text("no picture")
    files = [images / "cat-in-the-window.jpg", images / "cat-in-the-window--resized.png"]
    env = {"IMGDB_URL": shop.origin, "IMGDB_TOKEN": shop.token, "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, name, *files, "no.jpg"],
        cwd=tmp_path,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout, done.returncode) == (SAID, 0), done.stderr
    for sku in ("CAT-1", "CAT-2"):
        assert shop.ask("DELETE", f"/api/images?id={sku}").status == 200
