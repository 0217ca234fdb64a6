"""What was released stays as it was: databases that have run a revision never run it again."""

import importlib.util
from pathlib import Path

import pytest

from imgdb import schema

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("freeze", ROOT / "tools" / "freeze.py")
assert SPEC and SPEC.loader
freeze = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(freeze)

SUMS = ROOT / "tests" / "data" / "frozen.sha256"


def test_released_revisions_are_unchanged():
    assert freeze.changed(freeze.read_sums(SUMS), ROOT / "migrations" / "versions") == []


def test_every_revision_has_both_scripts():
    for revision in schema.revisions():
        for direction in ("up", "down"):
            file = schema.migrations_folder() / "versions" / f"{revision}.{direction}.sql"
            assert file.read_text("utf-8").strip(), file


def test_revisions_do_not_read_sql():
    for file in (schema.migrations_folder() / "versions").glob("*.py"):
        assert "sql_files" not in file.read_text("utf-8")
        assert "/sql" not in file.read_text("utf-8")


@pytest.mark.parametrize("change", ["edit", "remove", "none", "add"])
def test_a_change_of_a_released_file_is_noticed(tmp_path, change):
    first = tmp_path / "0001_initial.up.sql"
    first.write_text("SELECT 1;")
    sums = freeze.sums_of(tmp_path)
    if change == "edit":
        first.write_text("SELECT 2;")
    elif change == "remove":
        first.unlink()
    elif change == "add":
        (tmp_path / "0002_more.up.sql").write_text("SELECT 2;")
    found = freeze.changed(sums, tmp_path)
    assert found == (["versions/0001_initial.up.sql"] if change in ("edit", "remove") else [])
