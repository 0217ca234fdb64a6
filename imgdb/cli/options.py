"""Options that several commands share."""

from typing import Annotated

import typer


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
