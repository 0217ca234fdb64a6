"""Every file of the fetched sets goes through the real command: as its table says, or one failure.

The sets are fetched by hand and are large: IMGDB_TEST_PICTURES names the folder they are in.
"""

import json
import os

import psycopg
import pytest
from outcomes import (
    COLLECTIONS,
    SUITES,
    Outcome,
    files,
    folder_with,
    needs_pictures,
    read_table,
    same,
    unlisted,
)

from imgdb.hashes.values import to_hex
from imgdb.paths import path_text

pytestmark = [needs_pictures, pytest.mark.slow]


@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_every_file_has_its_outcome(cli, database, name):
    folder = folder_with(name)
    paths = {path_text(path): (file, path) for file, path in files(folder, name)}
    result = cli(
        "ingest", "--files-from", "-", "--null", "--worker-memory", "3G", "--timeout", "300",
        "--json",
        stdin=b"\0".join(os.fsencode(path) for _, path in paths.values()),
        dsn=database,
        timeout=1200,
    )  # fmt: skip
    summary = json.loads(result.stdout)
    kinds = {failed["path"]: failed["kind"] for failed in summary["failures"]}
    images = accepted(database)
    assert kinds.keys() | images.keys() == paths.keys()
    assert summary["added"] == len(images)
    table = read_table(name)
    wrong = []
    for text, (file, _) in paths.items():
        outcome = Outcome(file, *images.get(text, (kinds.get(text, ""),)))
        wanted = table.get(file, unlisted(file, name))
        if not same(outcome, wanted):
            wrong.append((outcome, wanted))
    assert wrong == []


def accepted(dsn):
    """Return the rows by path, as the tables spell them."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT path, format, width, height, frames, phash FROM imgdb.image")
        return {path: ("accepted", *map(str, words), to_hex(phash)) for path, *words, phash in rows}
