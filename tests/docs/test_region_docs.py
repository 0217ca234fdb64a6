"""docs/regions.md says what the stored results and the code say."""

import json
from pathlib import Path

from benchmarks import region_tables
from imgdb.hashes.regions import ASKED, RECIPE, STORED
from imgdb.search.parts import WRONG_PER_QUERY

PAGE = (Path(__file__).parents[2] / "docs" / "regions.md").read_text()


def test_tables_are_rendered_from_the_stored_results():
    result = json.loads((region_tables.ROOT / "results" / "regions.json").read_text())
    assert region_tables.render(PAGE, result) == PAGE, "python -m benchmarks.region_tables"


def test_constants_are_those_of_the_code():
    assert f"**`{RECIPE}`**" in PAGE
    assert f"at most {STORED.side} pixels" in PAGE and f"up to {STORED.limit} are kept" in PAGE
    assert f"at {ASKED.side} pixels, up to {ASKED.limit} regions of each octave" in PAGE
    assert f"`--wrong-per-query` ({WRONG_PER_QUERY})" in PAGE
