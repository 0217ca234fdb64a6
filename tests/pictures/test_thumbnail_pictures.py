"""Every file of the fetched sets as a thumbnail: what can be hashed can be shown, and no other."""

from pathlib import Path

import pytest
from outcomes import COLLECTIONS, FOLDER, SUITES, Outcome, files, read_table, same, unlisted

from imgdb.paths import path_text
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.workers.thumbnails import thumbnails

pytestmark = [
    pytest.mark.skipif(
        not FOLDER, reason="IMGDB_TEST_PICTURES names no folder of fetched pictures"
    ),
    pytest.mark.slow,
]


@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_every_file_has_the_outcome_of_hashing(name):
    folder = Path(str(FOLDER))
    if not (folder / name).is_dir():
        pytest.skip(f"no {name} in {folder}")
    found = {path_text(path): file for file, path in files(folder, name)}
    table = read_table(name)
    wrong = []
    for text, made in thumbnails(found, side=64, timeout=600).items():
        file = found[text]
        wanted = table.get(file, unlisted(file, name))
        if isinstance(made, Thumbnail):
            # Neither frames nor hashes are known of a thumbnail.
            size = (str(made.width), str(made.height))
            outcome = Outcome(file, "accepted", made.format, *size, wanted.frames, wanted.phash)
            assert 0 < max(made.small_width, made.small_height) <= 64
        else:
            outcome = Outcome(file, made.reason)
        if not same(outcome, wanted):
            wrong.append((outcome, wanted))
    assert wrong == []
