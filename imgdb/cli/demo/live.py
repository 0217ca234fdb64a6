"""The pages of `imgdb serve` over the demo's database, where its extra is installed."""

from __future__ import annotations

import contextlib
import secrets
import webbrowser
from pathlib import Path
from urllib.parse import quote

import typer

from imgdb.cli.serve import MAX_UPLOAD
from imgdb.paths import path_text


def serve_pages(dsn: str, *, picture: Path, trash: Path) -> None:
    """Open in the browser what looks like a picture of the database; return at Ctrl-C.

    Where there is no browser, say so and return.
    """
    from imgdb.serve.decoder import Decoder
    from imgdb.serve.run import listen, serve
    from imgdb.serve.security import Keys
    from imgdb.serve.state import open_state

    keys = Keys(secrets.token_urlsafe(32))
    with (
        contextlib.suppress(KeyboardInterrupt),
        listen("127.0.0.1", 0) as listener,
        open_state(dsn, Decoder(), allow_changes=True, max_upload=MAX_UPLOAD, trash=trash) as state,
    ):
        page = f"http://127.0.0.1:{listener.getsockname()[1]}/?path={quote(path_text(picture))}"
        if not webbrowser.open(f"{page}&token={keys.make_once()}"):
            typer.echo("imgdb: there is no browser here to open pages with", err=True)
            return
        typer.echo(f"imgdb: {page}&token={keys.token} until Ctrl-C", err=True)
        serve(state, listener, keys=keys, names=set())
