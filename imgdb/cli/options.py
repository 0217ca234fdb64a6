"""Options that several commands share."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from imgdb.output import Format


def _or_global(ctx: typer.Context, value: str | None) -> str | None:
    return ctx.find_root().params.get("dsn") if value is None else value


DSN_HELP = (
    "The database, as a libpq connection string. Default: IMGDB_DSN, then PGHOST, PGSERVICE, ...; "
    "else the embedded server."
)

# As good before the command as after it: `imgdb --dsn X stats`, `imgdb stats --dsn X`.
Dsn = Annotated[
    str | None,
    typer.Option("--dsn", metavar="DSN", callback=_or_global, help=DSN_HELP, show_default=False),
]

FormatOption = Annotated[
    Format | None, typer.Option("--format", help="Default: table on a terminal, json in a pipe.")
]

# Images that look alike to a search are shown one by one up to this many; more are a flood.
FLOOD = 20


class HashName(StrEnum):
    """The hashes that `--hash` offers; each has a space of its name."""

    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def byte_size(text: str | int) -> int:
    """Read a size in bytes: 2G, 512M, 1.5 GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", str(text), re.IGNORECASE)
    if not found:
        raise typer.BadParameter(f"not a size such as 512M or 2G: {text}")
    return int(float(found[1]) * _UNITS[found[2].upper()])
