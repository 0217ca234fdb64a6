"""Options that several commands share."""

import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from imgdb.cli.completion import names
from imgdb.cli.output import Format


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

# Without it, the distance that the space has as its own.
MaxDistance = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        min=0,
        max=64,
        help="How many of the 64 bits may differ. Default: that of the hash's space, 8 unless "
        "somebody changed it.",
        show_default=False,
    ),
]

# Images that look alike to a search are shown one by one up to this many; more are a flood.
FLOOD = 20


def collection_option(said: str, flag: str = "--collection", *, default: bool = False) -> Any:
    """Return an option that takes a collection; `default` shows its default."""
    return typer.Option(
        flag,
        metavar="NAME",
        help=said,
        autocompletion=names.collections,
        show_default=default,
    )


def hash_option(said: str) -> Any:
    """Return the option --hash, which takes a HashName."""
    # Four names in the place of HASH would push all help to the right.
    help = f"{said}: {', '.join(names.HASHES[:-1])} or {names.HASHES[-1]}."
    return typer.Option("--hash", metavar="HASH", help=help)


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
