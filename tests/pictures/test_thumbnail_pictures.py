"""Every file of the fetched sets as a thumbnail: what can be hashed can be shown, and no other."""

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

from imgdb.paths import path_text
from imgdb.pictures.thumbnail import Thumbnail
from imgdb.workers.thumbnails import thumbnails

pytestmark = [needs_pictures, pytest.mark.slow]


@pytest.mark.parametrize("name", sorted(SUITES | COLLECTIONS))
def test_every_file_has_the_outcome_of_hashing(name):
    folder = folder_with(name)
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
