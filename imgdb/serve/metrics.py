"""What Prometheus reads: how many requests there were, and how long each took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = {"DELETE", "GET", "HEAD", "POST"}


class RequestTimes:
    """Notes each request of an application by its method, the name of its route, and status."""

    def __init__(self, app: ASGIApp, seconds: Histogram) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # A path or method that somebody made up gets no series of its own.
            route = getattr(scope.get("route"), "name", "other")
            method = scope["method"] if scope["method"] in METHODS else "other"
            taken = time.perf_counter() - started
            self._seconds.labels(method, route, str(status)).observe(taken)


def add_metrics(app: FastAPI) -> None:
    """Measure the application, and tell Prometheus at /metrics."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    seconds = Histogram(
        "imgdb_request_seconds",
        "How long answers took.",
        ("method", "route", "status"),
        registry=registry,
    )
    app.add_middleware(RequestTimes, seconds=seconds)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
