"""Servers that are not PostgreSQL 14 or newer, on a port of their own on 127.0.0.1."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """Keep a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """Keep a port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def of_version(version: str) -> Iterator[int]:
    """Speak as much of PostgreSQL's protocol as it takes to be connected to."""

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("!I", len(body) + 4) + body

    def setting(name: str, value: str) -> bytes:
        return message(b"S", f"{name}\0{value}\0".encode())

    welcome = (
        message(b"R", struct.pack("!I", 0))
        + setting("server_version", version)
        + setting("client_encoding", "UTF8")
        + setting("standard_conforming_strings", "on")
        + message(b"K", struct.pack("!II", 1, 1))
        + message(b"Z", b"I")
    )

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            with client:
                while client.recv(4096):
                    client.sendall(welcome)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
