"""Every file of the fetched sets has the outcome that its table says.

The sets are fetched by hand and are large: IMGDB_TEST_PICTURES names the folder they are in.
"""

import pytest
from outcomes import (
    COLLECTIONS,
    SUITES,
    examine,
    files,
    folder_with,
    needs_pictures,
    prepare_all,
    read_table,
    same,
    unlisted,
)

from imgdb.pictures.formats import FORMATS
from imgdb.pictures.reasons import REASONS


@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_the_tables_speak_of_reasons(name: str) -> None:
    table = read_table(name)
    for row in table.values():
        assert row.outcome == "accepted" or row.outcome in REASONS
        assert bool(row.phash) == (row.outcome == "accepted") == (row.format in FORMATS)


@pytest.mark.slow
@needs_pictures
@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_every_file_has_its_outcome(name: str) -> None:
    folder = folder_with(name)
    prepare_all()
    table = read_table(name)
    wrong = []
    for run in examine([*files(folder, name)]):
        outcome = run.outcome
        wanted = table.get(outcome.file, unlisted(outcome.file, name))
        if not same(outcome, wanted):
            wrong.append((outcome, wanted))
    assert wrong == []
