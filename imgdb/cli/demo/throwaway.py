"""A database that is gone after the demo, on a server of its own, and a folder for its pictures."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from imgdb import schema
from imgdb.database.connect import Place, connect
from imgdb.database.embedded import Server
from imgdb.database.embedded.account import choose_account

PREFIX = "imgdb-demo-"


@contextlib.contextmanager
def folder_for_pictures(wanted: Path | None) -> Iterator[Path]:
    """Yield the folder wanted, or a temporary one that stays unless the block fails."""
    if wanted is not None:
        yield wanted.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


@contextlib.contextmanager
def database() -> Iterator[Place]:
    """Run a server for the block and yield its database, with the schema; nothing of it stays.

    No other database is touched: IMGDB_HOME, IMGDB_DSN and libpq's variables do not count here.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_enterable()))
    home = folder / "server"
    try:
        if os.geteuid() == 0:
            folder.chmod(0o711)
        with Server(home, durable=False) as server:
            place = Place(server.conninfo(), "the demo's server", embedded=True)
            schema.upgrade(place.conninfo)
            yield place
    finally:
        if (sockets := home / "run").is_symlink():
            shutil.rmtree(sockets.readlink(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def _enterable() -> Path:
    """Return the folder for temporary files, or one that the account of root's server can enter."""
    usual = Path(tempfile.gettempdir())
    return usual if choose_account(None, usual / "none").can_enter(usual) else Path("/tmp")


def fill(place: Place, images: Path) -> None:
    """Ingest the pictures of a folder."""
    from imgdb.ingest.options import Options
    from imgdb.ingest.run import ingest

    with connect(place) as conn:
        ingest(conn, [str(images)], options=Options())
