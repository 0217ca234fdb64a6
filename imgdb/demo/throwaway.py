"""A database that nobody needs tomorrow, on a server of its own."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imgdb import schema
from imgdb.database import Place, connect
from imgdb.embedded import Server


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder that is gone when the block ends."""
    # Some systems give root a TMPDIR that the account of root's server cannot enter.
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="imgdb-demo-", dir="/tmp" if root else None))
    if root:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Place]:
    """Run a server below `folder` for the block, and yield its database, with the schema.

    No other database is touched, whatever IMGDB_HOME, IMGDB_DSN and libpq's variables say.
    """
    with Server(folder / "server", durable=False) as server:
        place = Place(server.conninfo(), "the demo's server", embedded=True)
        schema.upgrade(place.conninfo)
        yield place


def fill(place: Place, images: Path) -> int:
    """Ingest the pictures of a folder; return how many there are."""
    from imgdb.ingest import ingest
    from imgdb.options import Options

    with connect(place) as conn:
        summary = ingest(conn, [str(images)], options=Options())
    return summary.added
