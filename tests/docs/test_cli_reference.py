"""docs/cli.md is what `--help` says, and `--help` reads well at 80 columns."""

import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
assert SPEC and SPEC.loader
make_cli = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_cli)

COMMANDS = make_cli.commands()


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_the_page_is_current():
    page = make_cli.REFERENCE.read_text("utf-8")
    if f"typer {version('typer')}:" in page:
        assert page == make_cli.page(), "run python docs/make_cli.py"
    else:  # another typer lays the same words out in its own way
        headings = [f"## {' '.join(words)}" for words in COMMANDS]
        assert [line for line in page.splitlines() if line.startswith("## ")] == headings


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_reads_well(words):
    text = make_cli.help_text(words)
    assert text.isascii()
    assert all(len(line) <= 80 for line in text.splitlines())
    summaries = [line for line in text.splitlines() if line.endswith("...")]
    assert not summaries or summaries == text.splitlines()[:1], "a first sentence must fit its line"


def test_no_option_shows_a_type_of_python():
    page = make_cli.page()
    assert re.search(r"<(str|int|float|list|file|path|datetime)\b", page) is None
