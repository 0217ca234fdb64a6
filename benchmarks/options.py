"""The command line of the benchmark."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dataset import PHOTO_KINDS, UNIFORM
from benchmarks.progress import say
from benchmarks.results import DEFAULT

# In the order in which they use a database: load comes late, for it fills the machine's caches.
PARTS = ("within", "nearest", "within_any", "pairs", "clients", "load", "hnsw", "append")
SIZES = (10_000, 100_000, 1_000_000)
HNSW_SIZES = (200_000,)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; `data` defaults to all kinds that there are hashes for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description="Measure imgdb and its peers on a private server.",
    )
    add = parser.add_argument
    listed_numbers: dict[str, Any] = {"type": numbers, "metavar": "N,..."}

    add("--only", type=listed(PARTS), default=PARTS, metavar="PART,...", help=", ".join(PARTS))
    kinds = (UNIFORM, *PHOTO_KINDS)
    add("--data", type=listed(kinds), metavar="KIND,...", help=", ".join(kinds))
    add("--sizes", default=SIZES, **listed_numbers, help="rows; above 1000000 uniform only")
    add("--hnsw-sizes", default=HNSW_SIZES, **listed_numbers, help="rows for pgvector HNSW")
    add("--images", type=int, default=100_000, help="rows for append")
    add("--photo-hashes", type=Path, metavar="FILE.npz", help="see benchmarks/README.md")

    add("--queries", type=int, default=400, help="for each radius, at most")
    add("--rounds", type=int, default=5, help="in which peers take turns")
    add("--budget", type=float, default=2.0, help="seconds for each peer and radius")
    add("--client-seconds", type=float, default=10.0, help="for each number of clients")
    add("--pairs-limit", type=float, default=240.0, help="seconds for one call of pairs")
    add("--seed", type=int, default=1)

    add("--setting", action="append", default=[], metavar="NAME=VALUE", help="of PostgreSQL")
    add("--not-durable", action="store_true", help="do not wait for the disk at commit")
    add("--home", type=Path, help="folder in which the server's own is made, and removed")

    add("--result", type=Path, default=DEFAULT, metavar="FILE.json", help="added to")
    add("--replace", action="store_true", help="start the file anew instead")

    options = parser.parse_args(given)
    if options.photo_hashes is None:
        if set(options.data or ()) & set(PHOTO_KINDS):
            parser.error("photo hashes need --photo-hashes FILE.npz")
        say("no --photo-hashes: uniform hashes only")
    if options.data is None:
        options.data = kinds if options.photo_hashes else (UNIFORM,)
    return options


def listed(known: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
        return names

    return parse


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
