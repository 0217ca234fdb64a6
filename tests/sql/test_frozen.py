"""A frozen revision stays as it was: databases that have run it never run it again."""

import importlib.util
from pathlib import Path

import pytest

from imgdb import schema

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("freeze", ROOT / "tools" / "freeze.py")
assert SPEC and SPEC.loader
freeze = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(freeze)

VERSIONS = ROOT / "migrations" / "versions"
SUMS = ROOT / "tests" / "data" / "frozen.sha256"


def test_frozen_revisions_are_unchanged():
    assert freeze.changed(freeze.read_sums(SUMS), VERSIONS) == []


def test_only_the_last_revision_may_be_open():
    """Between two releases there is one, which is edited in place."""
    assert freeze.open_revisions(freeze.read_sums(SUMS), VERSIONS) <= {schema.head()}


def test_every_revision_has_both_scripts():
    for revision in schema.revisions():
        for direction in ("up", "down"):
            file = VERSIONS / f"{revision}.{direction}.sql"
            assert file.read_text("utf-8").strip(), file


def test_revisions_do_not_read_sql():
    for file in VERSIONS.glob("*.py"):
        assert "sql_files" not in file.read_text("utf-8")
        assert "/sql" not in file.read_text("utf-8")


@pytest.mark.parametrize("change", ["edit", "remove", "none", "add"])
def test_a_change_of_a_frozen_file_is_noticed(tmp_path, change):
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
    assert freeze.open_revisions(sums, tmp_path) == ({"0002_more"} if change == "add" else set())
    assert found == (["versions/0001_initial.up.sql"] if change in ("edit", "remove") else [])
