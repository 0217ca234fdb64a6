"""The typer application and the funnel in which every error ends."""

import sys

import typer

from imgdb.cli.db import db_app
from imgdb.cli.hash import hash_files
from imgdb.errors import ImgdbError

app = typer.Typer(name="imgdb", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(db_app, name="db")
app.command("hash")(hash_files)


@app.callback()
def root() -> None:
    """Exact image-similarity search inside PostgreSQL."""


def main() -> None:
    """Run the command line; an ImgdbError becomes one line on stderr and its exit code."""
    try:
        app()
    except ImgdbError as error:
        print(f"imgdb: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
