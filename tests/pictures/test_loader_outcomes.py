"""Every file of the fetched sets has the outcome that its table says.

The sets are fetched by hand and are large: IMGDB_TEST_PICTURES names the folder they are in.
"""

import os
from pathlib import Path

import pytest
from outcomes import (
    COLLECTIONS,
    PICTURE_SUFFIXES,
    SUITES,
    VARIES,
    Outcome,
    examine,
    files,
    prepare,
    read_table,
)

from imgdb.hashes import values
from imgdb.pictures import loader

FOLDER = os.environ.get("IMGDB_TEST_PICTURES")

# Their decoders have versions of their own, which may round otherwise.
LOSSY = {"AVIF", "HEIF", "JPEG", "JPEG2000", "WEBP"}


@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_the_tables_speak_of_reasons(name: str) -> None:
    table = read_table(name)
    for row in table.values():
        assert row.outcome == "accepted" or row.outcome in loader.REASONS
        assert bool(row.phash) == (row.outcome == "accepted") == (row.format in loader.FORMATS)


@pytest.mark.skipif(not FOLDER, reason="IMGDB_TEST_PICTURES names no folder of fetched pictures")
@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_every_file_has_its_outcome(name: str) -> None:
    folder = Path(str(FOLDER))
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} in {folder}")
    prepare()
    table = read_table(name)
    wrong = []
    for file, path in files(folder, name):
        outcome = examine(file, path).outcome
        wanted = table.get(file, unlisted(file, name))
        if not same(outcome, wanted):
            wrong.append((outcome, wanted))
    assert wrong == []


def unlisted(file: str, name: str) -> Outcome:
    """Say what a file without a row should come to: pictures of collections are ordinary ones."""
    ordinary = name in COLLECTIONS and Path(file).suffix.lower() in PICTURE_SUFFIXES
    return Outcome(file, "accepted" if ordinary else "")


def same(outcome: Outcome, wanted: Outcome) -> bool:
    if VARIES.get(wanted.file) == outcome.outcome:
        return True
    if wanted.outcome == "":  # a file of another version of the set: it must only be survived
        return outcome.outcome == "accepted" or outcome.outcome in loader.REASONS
    if not wanted.phash or not outcome.phash:
        return outcome.outcome == wanted.outcome
    bits = values.distance(values.from_hex(outcome.phash), values.from_hex(wanted.phash))
    return outcome[:-1] == wanted[:-1] and bits <= (2 if outcome.format in LOSSY else 0)
