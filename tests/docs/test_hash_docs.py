"""docs/hashes.md says what the stored results and the code say."""

import json
from pathlib import Path

import pytest

from benchmarks import hash_tables, hopper
from imgdb.hashes import exact, scaled
from imgdb.hashes.fingerprint import RAW_RECIPE, RECIPES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hashes.md").read_text()


def test_tables_are_rendered_from_the_stored_results():
    assert hash_tables.render(PAGE) == PAGE, "run: python -m benchmarks.hash_tables"


def test_the_table_of_formats_is_rendered_from_the_stored_results():
    page = hopper.PAGE.read_text()
    assert hopper.render(page) == page, "run: python -m benchmarks.hopper PICTURES"


@pytest.mark.parametrize("recipe", [*RECIPES.values(), RAW_RECIPE])
def test_recipes_are_described(recipe):
    assert f"**`{recipe}`**" in PAGE


@pytest.mark.parametrize("name", exact.ALGORITHMS)
def test_constants_are_those_of_the_code(name):
    margin, bits = scaled._SLACK[name]
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    assert any(f" {margin:g} " in row and row.endswith(f"| {bits} |") for row in rows)
    assert f"at most {exact._FLAT_SPAN} of the 256 grey levels" in PAGE


def test_the_number_of_vectors():
    vectors = json.loads((ROOT / "vectors" / "vectors.json").read_text())
    assert f"holds {len(vectors)} tiny pictures" in PAGE
    for vector in vectors:
        assert (ROOT / "vectors" / vector["file"]).is_file()
