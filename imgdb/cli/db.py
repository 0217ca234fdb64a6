"""`imgdb db`: the embedded server, and the schema of whichever database is used."""

from typing import Annotated

import typer

from imgdb.embedded import Server, default_home

db_app = typer.Typer(no_args_is_help=True, help="Look after the database.")


@db_app.command()
def start() -> None:
    """Start the embedded server and keep it running until `imgdb db stop`."""
    server = Server(default_home())
    server.start()
    typer.echo(f"running in {server.home}", err=True)


@db_app.command()
def stop(
    now: Annotated[
        bool, typer.Option("--now", help="Close the sessions of other imgdb commands.")
    ] = False,
) -> None:
    """Stop the embedded server."""
    server = Server(default_home())
    ran = server.stop(now=now)
    typer.echo("stopped" if ran else f"no server was running in {server.home}", err=True)


@db_app.command()
def url() -> None:
    """Print the embedded server's connection string, while it is up."""
    typer.echo(Server(default_home()).running_url())
