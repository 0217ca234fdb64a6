"""Options that several commands share."""

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


class HashName(StrEnum):
    """The hashes that `--hash` offers; each has a space of its name."""

    phash = "phash"
    dhash = "dhash"
    whash = "whash"
    ahash = "ahash"
