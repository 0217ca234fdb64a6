"""One server for the tests of a module, over pictures of their own."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from library import shelf
from servers import Databases
from serving import Served

from imgdb.ingest.options import Options
from imgdb.ingest.run import ingest


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write pictures: two scenes, three edits of the first, a copy of it and a blank page."""
    return shelf(tmp_path_factory.mktemp("pictures") / "shelf")


@pytest.fixture(scope="module")
def filled(_databases: Databases, pictures: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Make a database that holds the pictures; yield its conninfo."""
    name = f"imgdb_serve_{request.module.__name__.rpartition('.')[2]}"
    dsn = _databases.create(name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        ingest(conn, [str(pictures)], options=Options())
    yield dsn
    _databases.drop(name)


@pytest.fixture(scope="module")
def served(filled: str) -> Iterator[Served]:
    """Run a server that may change the database."""
    with Served(filled, "--allow-changes", "--max-upload", "2M") as running:
        yield running
