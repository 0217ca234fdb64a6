"""The embedded server on its real binaries."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from imgdb.embedded import Server


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts can pass through: pytest's own are private."""
    made = Path(tempfile.mkdtemp(prefix="imgdb-test-", dir="/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def test_a_new_home_has_the_database(place: Path) -> None:
    with (
        Server(place / "home", durable=False) as server,
        psycopg.connect(server.conninfo()) as connection,
    ):
        assert connection.execute("SELECT current_database()").fetchone() == ("imgdb",)
    assert not server.status().running
