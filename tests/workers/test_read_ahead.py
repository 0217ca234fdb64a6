"""What workers will read soon is fetched from the disk before they ask for it."""

import os
import sys
import time

import pytest
from folders import paint

from imgdb.ingest.task import picture_task
from imgdb.ingest.walk import look_at
from imgdb.workers.read_ahead import read_ahead

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is cached")

# Far more than it takes; nobody waits for it unless something is broken.
PATIENCE = 60


def is_cached(path, at):
    """Tell whether a byte can be read without waiting for the disk."""
    with path.open("rb", buffering=0) as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], at, os.RWF_NOWAIT) == 1
        except BlockingIOError:
            return False


def test_a_file_is_in_memory_before_its_turn(tmp_path):
    path = paint(tmp_path, 1)[0]
    size = 3 << 20
    with path.open("ab") as file:
        file.write(os.urandom(size - file.tell()))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        if is_cached(path, size - 1):
            pytest.skip("this file system keeps all files in memory")
    except OSError as error:
        pytest.skip(f"this file system does not tell: {error}")
    read_ahead(picture_task(look_at(str(path)), str(path), known=False))
    given_up = time.monotonic() + PATIENCE
    while not all(is_cached(path, at) for at in range(0, size, 1 << 18)):
        assert time.monotonic() < given_up
