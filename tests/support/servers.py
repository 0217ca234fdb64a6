"""Which of the servers a test runs on, all unless it says otherwise, and what comes with one."""

import os
from pathlib import Path

import psycopg
import pytest

from imgdb.database.embedded import Server

# Further servers for a run: IMGDB_TEST_SERVERS="pg14=/path/to/bin pg17=/path/to/bin".
BINDIRS: dict[str, Path | None] = {
    "embedded": None,
    "debian15": Path("/usr/lib/postgresql/15/bin"),
    **{
        name: Path(path)
        for name, _, path in (
            server.partition("=") for server in os.environ.get("IMGDB_TEST_SERVERS", "").split()
        )
    },
}

# For what only the client does with an answer: what the servers answer is compared elsewhere.
embedded_only = pytest.mark.parametrize("server", ["embedded"], indirect=True)


def dump_programs(server: Server) -> Path:
    """Return the folder of the server's own pg_dump: an older one refuses a newer server."""
    with psycopg.connect(server.conninfo("postgres")) as conn:
        query = "SELECT setting FROM pg_config WHERE name = 'BINDIR'"
        [(folder,)] = conn.execute(query).fetchall()
    if not Path(folder, "pg_dump").exists():
        pytest.skip(f"there is no pg_dump in {folder}")
    return Path(folder)
