"""`imgdb serve`: pages and an API for programs, on this machine."""

from __future__ import annotations

import importlib
import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer

from imgdb.cli.options import Dsn, byte_size, takes_options
from imgdb.cli.pool_options import WorkerOptions
from imgdb.errors import UsageError
from imgdb.words import printable

PORT = 8765
MAX_UPLOAD = 128 << 20

# What nobody guesses: 32 random bytes are 43 characters.
SHORTEST_TOKEN = 32


@takes_options
def serve_command(
    workers: WorkerOptions,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes any free one.")
    ] = PORT,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="The address to listen on; others need --token-file, too."
        ),
    ] = "127.0.0.1",
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="Another name under which browsers and programs reach it.",
            show_default=False,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The token, in a file that only you can read. Default: a random one.",
            show_default=False,
        ),
    ] = None,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="Let pages and programs change the database."),
    ] = False,
    trash: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where the basket moves files to; `imgdb restore` puts them back. Default: the "
            "folder of the embedded server with -trash behind its name.",
            show_default=False,
        ),
    ] = None,
    search_only: Annotated[
        bool,
        typer.Option(
            "--search-only",
            help="Give nothing but searches and hashes, by a login that may do no more: "
            "`imgdb db grant ROLE --search-only`.",
        ),
    ] = False,
    max_upload: Annotated[
        int,
        typer.Option(
            parser=byte_size,
            metavar="SIZE",
            help=f"The largest picture that is taken in. Default: {MAX_UPLOAD >> 20}M.",
            show_default=False,
        ),
    ] = MAX_UPLOAD,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    dsn: Dsn = None,
) -> None:
    """Find pictures in the browser, and by HTTP.

    The address that is printed holds the token that opens it. Nothing is changed without
    --allow-changes.
    """
    if lacking := lacking_module():
        raise UsageError(
            f"imgdb serve needs the extra `serve` ({lacking} is missing): in a checkout "
            "pip install '.[serve]'"
        )
    from imgdb.serve.decoder import Decoder
    from imgdb.serve.run import listen, serve
    from imgdb.serve.security import Keys, is_loopback
    from imgdb.serve.state import open_state

    if not is_loopback(host) and token_file is None:
        raise UsageError(
            f"--host {printable(host)} lets other machines in: give a token of yours by "
            "--token-file"
        )
    if search_only and allow_changes:
        raise UsageError("--search-only changes nothing: leave out --allow-changes")
    keys = Keys(_token(token_file) if token_file else secrets.token_urlsafe(32))
    decoder = Decoder(
        jobs=workers.jobs,
        timeout=workers.timeout,
        max_pixels=workers.max_pixels,
        memory=workers.worker_memory,
    )
    with (
        listen(host, port) as listener,
        open_state(
            dsn,
            decoder,
            allow_changes=allow_changes,
            max_upload=max_upload,
            trash=trash,
            search_only=search_only,
        ) as state,
    ):
        address = _address(listener, host)
        typer.echo(address if token_file else f"{address}?token={keys.token}")
        if open_page and not _opened(f"{address}?token={keys.make_once()}"):
            typer.echo("imgdb: there is no browser here to open it with", err=True)
        serve(state, listener, keys=keys, names={host, *(names or ())})


def lacking_module() -> str | None:
    """Return a module that the server needs and that is not installed, None if it can run."""
    try:
        importlib.import_module("imgdb.serve.run")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "imgdb":
            raise
        return error.name
    return None


def _token(file: Path) -> str:
    token = file.read_text("utf-8").strip()
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            f"{printable(str(file))} holds no token: {SHORTEST_TOKEN} characters or more, for "
            "example by `openssl rand -hex 32`"
        )
    return token


def _address(listener: socket.socket, host: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}/"


def _opened(address: str) -> bool:
    import webbrowser

    return webbrowser.open(address)
