"""A TCP port for a server that listens on a Unix socket, for clients that know no such sockets."""

import contextlib
import socket
import threading
from collections.abc import Iterator


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(path: str) -> Iterator[int]:
    """Yield a port of 127.0.0.1 that leads to the socket, until the block ends.

    The server sees this process at the other end, and lets in the same users.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threads: list[threading.Thread] = []

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.socket(socket.AF_UNIX)
                server.connect(path)
                stack.callback(client.close)
                stack.callback(server.close)
                for ends in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=_pump, args=ends, daemon=True))
                    threads[-1].start()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
    for thread in threads:
        thread.join()
