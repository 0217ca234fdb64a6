"""Which of the servers a test runs on, all unless it says otherwise, and what comes with one."""

from pathlib import Path

import psycopg
import pytest

from imgdb.database.embedded import Server

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
