"""A server that listens: uvicorn, with our guard and none of its own words."""

from __future__ import annotations

import os
import socket

import uvicorn

from imgdb.errors import UsageError
from imgdb.serve.app import application
from imgdb.serve.security import LOOPBACK, Guard, Keys
from imgdb.serve.state import ServerState
from imgdb.words import printable

# Seconds for what is under way when the server is asked to stop.
GRACE = 5


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections; UsageError where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=512)
        # Connections inherit it; asyncio sets it only where the socket's protocol has a name. An
        # answer is two packets, and the second one would wait 40 ms for who confirms the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise UsageError(
            f"cannot listen on {printable(host)}, port {port}: {_reason(error)}; "
            "--port names another one, 0 takes any free one"
        ) from error


def _reason(error: OSError) -> str:
    # Python adds the address to the words of the system.
    if error.errno is None or isinstance(error, socket.gaierror):
        return str(error.strerror)
    return os.strerror(error.errno)


def serve(state: ServerState, listener: socket.socket, *, keys: Keys, names: set[str]) -> None:
    """Answer requests until a signal says to stop."""
    port = listener.getsockname()[1]
    app = application(state, search_only=state.search_only)
    guarded = Guard(app, keys=keys, names=LOOPBACK | names, port=port)
    config = uvicorn.Config(
        guarded,
        # Warnings are of requests that are none: anybody could fill a log with them.
        log_level="error",
        access_log=False,
        server_header=False,
        # Whose address a proxy tells is of no interest here.
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=GRACE,
    )
    uvicorn.Server(config).run(sockets=[listener])
