"""`imgdb serve` in a process of its own, and requests to it as any program could send them."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from commands import Command

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A server that runs for the block; `address` holds its token, `origin` does not.

    `folder` is where it has its temporary files.
    """

    def __init__(
        self,
        dsn: str,
        *options: str | os.PathLike[str],
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        env = {"IMGDB_DSN": dsn, **({"TMPDIR": str(folder)} if folder else {}), **(env or {})}
        self.command = Command("serve", "--port", "0", "--jobs", "2", *options, env=env)
        self.address = self._first_line()
        parts = urlsplit(self.address)
        self.port = parts.port
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.token = parts.query.removeprefix("token=")

    def _first_line(self) -> str:
        # The line is written when the server listens.
        while b"\n" not in (said := self.command.process.output()[0]):
            self.command.go_on()
        return said.decode().splitlines()[0]

    def workers(self) -> list[int]:
        """Wait until both of its workers have started; return their pids."""
        while len(found := self.command.children()) < 2:
            self.command.go_on()
        return found

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = "",
        **headers: str,
    ) -> Reply:
        """Send a request; by default with the right token, None sends none."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["Authorization"] = f"Bearer {token or self.token}"
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def get(self, path: str, **given: Any) -> Reply:
        return self.ask("GET", path, **given)

    def post(self, path: str, body: bytes, **given: Any) -> Reply:
        return self.ask("POST", path, body, **given)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.command.process.poll() is None:
            self.command.process.send_signal(signal.SIGTERM)
            self.command.process.wait(60)
        self.command.__exit__(kind, error, trace)
