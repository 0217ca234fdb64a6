"""Another service finds with one SQL statement what `imgdb query` finds."""

import csv
import io
import json
import subprocess

import pytest
from library import add, shelf

from imgdb.database.embedded import find_bindir
from imgdb.hashes.values import ALGORITHMS, to_hex
from imgdb.search.images import query_by_file


@pytest.fixture
def running(cli, home):
    """Keep the embedded server up, as `imgdb db start` does; give its environment and URL."""
    env = {"IMGDB_HOME": str(home)}
    assert cli("db", "start", env=env).code == 0
    try:
        yield env, cli("db", "url", env=env).stdout.strip()
    finally:
        assert cli("db", "stop", env=env).code == 0


def psql(url, statement):
    done = subprocess.run(
        [find_bindir() / "psql", url, "-X", "--csv", "-c", statement],
        capture_output=True,
        text=True,
        check=True,
    )
    return [*csv.DictReader(io.StringIO(done.stdout))]


def test_psql_finds_what_query_finds(cli, running, tmp_path):
    env, url = running
    folder = shelf(tmp_path / "shelf")
    add(url, *sorted(folder.iterdir()))
    hashes = query_by_file(folder / "lake-small.jpg").hashes
    for name in ALGORITHMS:
        digits = to_hex(getattr(hashes, name))
        by_sql = psql(
            url, f"SELECT * FROM imgdb.similar_images('{name}', imgdb.from_hex('{digits}'), 8)"
        )
        by_query = cli("query", "--hex", digits, "--hash", name, "--format", "json", env=env)
        found = json.loads(by_query.stdout)
        keys = ("image_id", "collection", "path", "distance")
        assert by_sql == [{key: str(match[key]) for key in keys} for match in found]
        assert len(by_sql) >= 4
